"""Write what benchmarks measured into docs/, and keep their files in docs/measured/: nobody types a number twice.

Files of another seed than the last go on to stand beside it, in docs/measured/seed-N, and of what takes other time and
memory on another processor those of another one, in a folder of its name. What has one kind of newcomers alone takes
that kind's place in what its seed has, and stands beside the last one at once.

for name in bending foresight forwards quality timesteps step memory large taste; do make bench NAME=$name FULL=1; done
python -m simulations.benchmarks.document
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simulations.benchmarks.framework import Value, cell
from simulations.benchmarks.tables import BENCH, bars, insert, read, source, table

DOCUMENTS: Final = {
    Path("docs/learning.md"): ("bending", "foresight", "forwards", "quality", "timesteps"),
    Path("docs/engines.md"): ("step", "memory", "large"),
    Path("docs/taste.md"): ("taste",),
}
"""Which benchmarks each of the documents has the tables of."""
KEPT: Final = Path("docs/measured")
"""The files that the documents' tables were made from."""
SEEDED: Final = ("forwards", "quality")
"""Benchmarks whose newcomers are other people with every seed: all seeds stand side by side."""
MACHINED: Final = ("step", "memory")
"""Benchmarks of what a processor takes: all processors stand one after the other."""
KINDS: Final = ("object", "style")
BESIDE: Final = re.compile(
    r"(?P<kind>\w+): (?P<score>\w+), .+, (?:over the gradient's|less (?P<rival>published.*)) \(at least\)"
)
"""Promises of pictures: shares of the gradient's, or what they are more than the published algorithm's."""


def measured(reports: dict[str, dict[str, Any]], beside: Mapping[str, Sequence[dict[str, Any]]] | None = None) -> str:
    """Give the tables of a document's benchmarks, from their files.

    Args:
        reports: by the benchmarks' names.
        beside: reports with other seeds or of other processors, by the benchmarks' names.
    """
    kinds = {"forwards": _forwards, "quality": _quality}
    found = []
    for name, one in reports.items():
        further = (beside or {}).get(name, [])
        shown = [one, *further] if name in MACHINED else [one]
        short = _step if name == "step" else dict
        found += [_by_kind(each, kinds[name]) if name in kinds else _whole(each, short) for each in shown]
        if further and name in SEEDED:
            seeds = sorted((one, *further), key=lambda each: int(each["seed"]))
            found += ["**All seeds**", *([_searches(seeds)] if name == "forwards" else []), _kept(seeds)]
            found += [together] if name == "quality" and (together := _together(seeds)) else []
    return "\n\n".join(found)


def others(kept: Path, name: str) -> list[dict[str, Any]]:
    """Read what a benchmark measured with other seeds than the last, or on other processors."""
    return [read(name, path.parent) for path in sorted(kept.glob(f"*/{name}.json"))]


def _searches(reports: Sequence[dict[str, Any]]) -> str:
    """Put side by side what everybody ran with more than one seed, or with the only one that has the kind."""
    whole = max(row["of"] for row in reports[0]["rows"])
    rows = [{(row["kind"], row["search"]): row for row in one["rows"] if row["of"] == whole} for one in reports]
    ran = Counter(place for one in rows for place in one)
    seeds = Counter(kind for report in reports for kind in _kinds(report))
    found = [
        {"kind": kind, "search": search}
        | {_seed(report): _told(one.get((kind, search))) for report, one in zip(reports, rows, strict=True)}
        for kind, search in dict.fromkeys(chain(*sorted(rows, key=len, reverse=True)))
        if ran[kind, search] >= min(2, seeds[kind])
    ]
    head = f"{whole} newcomers of each kind with each; median forwards to target, met by, median end share:"
    return f"{head}\n\n{table(found)}"


def _kept(reports: Sequence[dict[str, Any]]) -> str:
    """Put what came of promises with every seed side by side."""
    values = [{bar["what"]: bar for bar in report["bars"]} for report in reports]
    bounds = {what: bar["bound"] for one in reversed(values) for what, bar in one.items()}
    promises = [
        {"promise": what, "bound": bound}
        | {_seed(report): _held(one.get(what)) for report, one in zip(reports, values, strict=True)}
        for what, bound in bounds.items()
    ]
    return table(promises)


def _together(reports: Sequence[dict[str, Any]]) -> str:
    """Give what pictures are beside the gradient's and the published algorithm's over all seeds that have an interval.

    A ratio of means over everybody is the mean of the seeds' ratios, each weighed by the gradient's sum, and a
    difference that of theirs, each weighed by who ran both; intervals follow from theirs, which are of other people.
    """
    found: dict[str, list[tuple[float, dict[str, Any], int]]] = {}
    for report in reports:
        rows = {(row["kind"], row["pictures"]): row for row in report["rows"]}
        for bar in report["bars"]:
            told = BESIDE.fullmatch(bar["what"])
            if told and bar.get("low") is not None:
                other = rows[told["kind"], told["rival"] or "gradient"]
                weight = other["of"] * (1 if told["rival"] else other[told["score"]])
                found.setdefault(bar["what"], []).append((weight, bar, other["of"]))
    lines = []
    for what, seeds in found.items():
        if len(seeds) > 1:
            weights, ones, counts = zip(*seeds, strict=True)
            people = {"promise": what, "seeds": len(seeds), "newcomers": sum(counts)}
            lines.append(people | _promised(_pooled(np.array(weights), ones)))
    return f"What several seeds tell with an interval, together:\n\n{table(lines)}" if lines else ""


def _pooled(weights: NDArray[np.float64], ones: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one promise of the same one, to be at least something, of other people each."""
    weights = weights / weights.sum()
    value = float(weights @ np.array([one["value"] for one in ones]))
    half = float(np.linalg.norm(weights * np.array([one["high"] - one["low"] for one in ones]))) / 2
    known = {"value": value, "low": value - half, "high": value + half}
    return ones[0] | known | {"holds": value >= ones[0]["bound"]}


def _kinds(report: dict[str, Any]) -> set[str]:
    return {row["kind"] for row in report["rows"]}


def _seed(report: dict[str, Any]) -> str:
    return f"seed {report['seed']}"


def _told(row: dict[str, Any] | None) -> str | None:
    return None if row is None else f"{_whole_number(row['median'])}; {row['reached']}; {_two(row['end share'])}"


def _held(bar: dict[str, Any] | None) -> str | None:
    return None if bar is None else cell(bar["value"]) + ("" if bar["holds"] else ", NO")


def _whole(report: dict[str, Any], short: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
    """Give a table of all rows, shortened, and, where something was promised, one of the promises."""
    parts = [source(report, report["name"]), table([short(row) for row in report["rows"]])]
    return "\n\n".join([*parts, _promises(report), bars(report)] if report["bars"] else parts)


def _by_kind(report: dict[str, Any], short: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
    """Give a table for each kind, of shortened rows, and one of the promises."""
    parts = [source(report, report["name"])]
    for kind in KINDS:
        parts.append(f"**{kind.capitalize()}s**")
        parts.append(table([short(row) for row in report["rows"] if row["kind"] == kind]))
    return "\n\n".join((*parts, _promises(report), bars(report)))


def _forwards(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "search": row["search"],
        "median (interval)": _between(row["median"], row["low"], row["high"], beyond="∞", said=_whole_number),
        "met": f"{row['reached']} of {row['of']}",
        "end share (interval)": _between(row["end share"], row["share low"], row["share high"]),
        "prior's directions": row["prior's directions"],
        "began with it": row["began with it"],
    }


def _step(row: dict[str, Any]) -> dict[str, Any]:
    names = ("loop", "engine", "forwards", "seconds", "seconds a forward", "times faster", "slope cosine")
    return {"backbone, latents": f"{row['backbone']}, {row['latents']}"} | {name: row[name] for name in names}


def _quality(row: dict[str, Any]) -> dict[str, Any]:
    names = ("cosine", "likeness", "colours", "agreement")
    what = {name: _between(row[name], row[f"{name} low"], row[f"{name} high"]) for name in names}
    return {"pictures": row["pictures"], "of": row["of"]} | {f"{name} (interval)": each for name, each in what.items()}


def _two(value: Value) -> str:
    return f"{value:.2f}" if isinstance(value, float) else cell(value)


def _whole_number(value: Value) -> str:
    return f"{value:,.0f}" if isinstance(value, float) else cell(value)


def _between(middle: Value, low: Value, high: Value, beyond: str = "-", said: Callable[[Value], str] = _two) -> str:
    if middle is None and low is None:
        return cell(None)
    return f"{said(middle)} ({said(low)} to {beyond if high is None else said(high)})"


def _promises(report: dict[str, Any]) -> str:
    """Write each promise with what was measured."""
    return table([_promised(bar) for bar in report["bars"]])


def _promised(bar: dict[str, Any]) -> dict[str, Any]:
    return {
        "promise": bar["what"],
        "measured": _between(bar["value"], bar["low"], bar["high"], beyond="∞", said=cell)
        if "low" in bar
        else bar["value"],
        "bound": bar["bound"],
        "holds": "yes" if bar["holds"] else "NO",
    }


def keep(report: dict[str, Any], kept: Path, name: str) -> None:
    """Write a benchmark's file, beside the last one's if that had another seed, or was of another processor.

    What has one kind of newcomers alone takes that kind's place in what is kept of its seed, and goes beside a last one
    of another seed that has both.
    """
    path, own = kept / f"{name}.json", _aside(report, name)
    aside = None if own is None else kept / own / path.name
    before = read(name, kept) if path.is_file() else None
    last = None if before is None else _aside(before, name)
    if name in SEEDED:
        alone = before is not None and _kinds(report) < _kinds(before)
        same = before if last == own else read(name, aside.parent) if aside is not None and aside.is_file() else None
        report = report if same is None else _renewed(same, report)
        if alone and last != own and aside is not None:
            path, aside, last = aside, None, None
    if last is not None and last != own:
        (kept / last).mkdir(exist_ok=True)
        path.replace(kept / last / path.name)
    if aside is not None:
        aside.unlink(missing_ok=True)  # the last word on this seed or processor is this one
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _renewed(one: dict[str, Any], newer: dict[str, Any]) -> dict[str, Any]:
    """Return the newer of two reports of a seed, with what the other has of a kind that the newer one lacks.

    What it says of itself is the newer one's but for notes, which are of the kind that is kept too.
    """
    lacking = _kinds(one) - _kinds(newer)
    if not lacking:
        return newer
    rows = [*(row for row in one["rows"] if row["kind"] in lacking), *newer["rows"]]
    bars = [*(bar for bar in one["bars"] if _kind_of(bar["what"]) in lacking), *newer["bars"]]
    ratios = {what: ratio for what, ratio in one["ratios"].items() if _kind_of(what) in lacking} | newer["ratios"]
    return newer | {
        "rows": sorted(rows, key=lambda row: KINDS.index(row["kind"])),
        "bars": sorted(bars, key=lambda bar: KINDS.index(_kind_of(bar["what"]))),
        "ratios": dict(sorted(ratios.items(), key=lambda named: KINDS.index(_kind_of(named[0])))),
        "notes": list(dict.fromkeys((*one["notes"], *newer["notes"]))),
    }


def _kind_of(what: str) -> str:
    return next(kind for kind in KINDS if what.startswith(kind))


def _aside(report: dict[str, Any], name: str) -> str | None:
    """Return the folder that a report goes to when another one takes its place; None where it is done with then."""
    if name in SEEDED:
        return f"seed-{report['seed']}"
    if name in MACHINED:
        return "-".join(re.findall(r"[a-z0-9]+", report["machine"]["processor"].lower()))
    return None


def main() -> None:
    """Renew the tables: of what was measured anew, and as kept of the rest."""
    KEPT.mkdir(parents=True, exist_ok=True)
    for document, names in DOCUMENTS.items():
        for name in names:
            if (BENCH / f"{name}.json").exists():
                keep(read(name, BENCH), KEPT, name)
        found = {name: read(name, KEPT) for name in names}
        told = measured(found, {name: others(KEPT, name) for name in (*SEEDED, *MACHINED)})
        document.write_text(insert(document.read_text(encoding="utf-8"), told), encoding="utf-8")
        print(f"written to {document}")


if __name__ == "__main__":
    main()
