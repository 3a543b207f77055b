"""Write what benchmarks measured into docs/, and keep their files in docs/measured/: nobody types a number twice.

for name in bending foresight forwards quality timesteps step memory large taste; do make bench NAME=$name FULL=1; done
python -m simulations.benchmarks.document
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

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
KINDS: Final = ("object", "style")


def measured(reports: dict[str, dict[str, Any]]) -> str:
    """Give the tables of a document's benchmarks, from their files."""
    kinds = {"forwards": _forwards, "quality": _quality}
    found = [
        _by_kind(one, kinds[name]) if name in kinds else _whole(one, _step if name == "step" else dict)
        for name, one in reports.items()
    ]
    return "\n\n".join(found)


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
    rows = [
        {
            "promise": bar["what"],
            "measured": _between(bar["value"], bar["low"], bar["high"]) if "low" in bar else bar["value"],
            "bound": bar["bound"],
            "holds": "yes" if bar["holds"] else "NO",
        }
        for bar in report["bars"]
    ]
    return table(rows)


def main() -> None:
    """Renew the tables: of what was measured anew, and as kept of the rest."""
    KEPT.mkdir(parents=True, exist_ok=True)
    for document, names in DOCUMENTS.items():
        found = {name: read(name, BENCH if (BENCH / f"{name}.json").exists() else KEPT) for name in names}
        for name, report in found.items():
            told = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
            (KEPT / f"{name}.json").write_text(told, encoding="utf-8")
        document.write_text(insert(document.read_text(encoding="utf-8"), measured(found)), encoding="utf-8")
        print(f"written to {document}")


if __name__ == "__main__":
    main()
