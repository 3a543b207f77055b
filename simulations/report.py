"""Writes a demo's report as one HTML file: its style, pictures and charts inside, nothing to fetch.

The numbers are those of ``report.json`` (`DemoReport`); a part that is missing is left out.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simulations.charts import Series, Spread, bar_chart, line_chart, number, spread_chart

SEARCHES = {
    "with_prior": "with the prior",
    "without_prior": "without a prior",
    "zoodip_reference": "published algorithm",
}
"""Searches in the order in which they are shown; further ones follow under their own names."""
STAGES = ("before", "while", "after")
STYLE = Path(__file__).with_name("report.css")

Pictures = Mapping[str, Mapping[str, NDArray[np.uint8]]]
"""By newcomer's label, then ``photos`` (n, side, side, 3), ``gradient`` (1, ...) or a search (before, while, after)."""


class Quartiles(TypedDict, total=False):
    """Forwards to target over the newcomers; None where that quartile never reached it."""

    median: float | None
    q1: float | None
    q3: float | None
    reached: int
    """Newcomers who reached the target."""


class Newcomer(TypedDict, total=False):
    """One new person's comparison; ``curves`` holds (forwards, loss) by search."""

    label: str
    kind: str
    class_word: str
    start: str
    target: float
    gradient_loss: float
    forwards: Mapping[str, int | None]
    curves: Mapping[str, Sequence[tuple[float, float]]]


class DemoReport(TypedDict, total=False):
    """What ``report.json`` holds."""

    people: int
    rounds: int
    new_people: int
    forwards_to_target: Mapping[str, Quartiles]
    target: str
    gradient_baseline_loss: float
    seconds: float
    peak_memory_mb: float
    newcomers: Sequence[Newcomer]
    spectra: Mapping[str, Sequence[float]]
    """Variance along the prior's directions, descending, by kind."""
    history: Sequence[Mapping[str, Any]]
    """The rounds, one row each, all with the same columns."""
    notes: Sequence[str]
    """Paragraphs of analysis."""


def write_report(path: Path, report: DemoReport, pictures: Pictures | None = None) -> None:
    """Write the page; see `DemoReport` and `Pictures` for what goes in.

    Args:
        path: where the page goes; folders are made.
        report: the content of report.json.
        pictures: uint8 pictures by newcomer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(report, pictures or {}), encoding="utf-8")


def page(report: DemoReport, pictures: Pictures) -> str:
    """Return the whole page."""
    sections = [
        _header(report),
        _results(report),
        _newcomers(report, pictures),
        _rounds(report),
        _spectra(report),
        _notes(report),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shoal: report of a demo</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE.read_text(encoding='utf-8')}</style></head><body><main>{''.join(sections)}"
        "<footer>Pictures and numbers of one seeded run on simulated people.</footer></main></body></html>\n"
    )


def _label(search: str) -> str:
    return SEARCHES.get(search, search.replace("_", " "))


def _ordered(searches: Mapping[str, Any]) -> list[str]:
    return [s for s in SEARCHES if s in searches] + [s for s in searches if s not in SEARCHES]


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _count(value: float | None) -> str:
    known = _known(value)
    return "not reached" if known is None else f"{known:,.0f}"


def _header(report: DemoReport) -> str:
    facts = [_speedup(report)]
    if "people" in report:
        facts.append((number(report["people"]), "people learned and contributed"))
    if "rounds" in report:
        facts.append((number(report["rounds"]), "rounds made the prior"))
    newcomers = report.get("new_people", len(report.get("newcomers", ())))
    if newcomers:
        facts.append((number(newcomers), "new people learned"))
    if "seconds" in report:
        facts.append((f"{report['seconds'] / 60:.1f} min", "the whole run"))
    if "peak_memory_mb" in report:
        facts.append((f"{number(report['peak_memory_mb'])} MB", "peak memory"))
    boxes = [
        f'<div class="fact{" first" if i == 0 and facts[0] else ""}"><b>{escape(b)}</b><span>{escape(s)}</span></div>'
        for i, (b, s) in enumerate(fact for fact in facts if fact)
    ]
    return (
        "<header><h1>What people teach each other</h1><p>Each person’s model learned from a few pictures by forward"
        " passes alone. What they shared became a prior; new people then learned with it and without it.</p>"
        f'<div class="facts">{"".join(boxes)}</div></header>'
    )


def _speedup(report: DemoReport) -> tuple[str, str] | None:
    medians = {name: _known(q.get("median")) for name, q in report.get("forwards_to_target", {}).items()}
    alone, together = medians.get("without_prior"), medians.get("with_prior")
    if not alone or not together:
        return None
    ratio = alone / together
    what = "fewer forwards with the prior" if ratio >= 1 else "of the forwards saved: the prior did not help"
    return (f"{ratio:.1f}×" if ratio >= 1 else "none"), what


def _results(report: DemoReport) -> str:
    found = report.get("forwards_to_target", {})
    if not found:
        return ""
    spreads = [
        Spread(s, _label(s), found[s].get("q1"), found[s].get("median"), found[s].get("q3")) for s in _ordered(found)
    ]
    rows = [
        [
            f'<span class="swatch {escape(s)}"></span>{escape(_label(s))}',
            _count(found[s].get("median")),
            _count(found[s].get("q1")),
            _count(found[s].get("q3")),
            str(found[s].get("reached", "")),
        ]
        for s in _ordered(found)
    ]
    head = ["search", "median", "lower quartile", "upper quartile", "reached by"]
    target = f"Target: {escape(report['target'])}." if "target" in report else ""
    if "gradient_baseline_loss" in report:
        target += f" The gradient’s own loss: {report['gradient_baseline_loss']:.4f}."
    chart = spread_chart(spreads, x_label="forward passes to the target: median and quartiles over the new people")
    return (
        f"<h2>Forward passes to the target</h2><p>{target}</p>"
        f'<div class="card">{chart}</div><div class="card scroll">{_table(head, rows)}</div>'
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already; the head is text."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _newcomers(report: DemoReport, pictures: Pictures) -> str:
    people = report.get("newcomers", ())
    if not people:
        return ""
    seen = _ordered({s: None for person in people for s in person.get("curves", {})})
    legend = "".join(f'<span><i class="swatch {escape(s)}"></i>{escape(_label(s))}</span>' for s in seen)
    cards = "".join(_newcomer(person, pictures.get(person.get("label", ""), {})) for person in people)
    return (
        "<h2>New people, one by one</h2><p>Drawn from the same noise before, while and after learning. The curve is the"
        f' loss on draws that no search saw.</p><div class="legend">{legend}</div>{cards}'
    )


def _newcomer(person: Newcomer, pictures: Mapping[str, NDArray[np.uint8]]) -> str:
    curves = person.get("curves", {})
    chart = line_chart(
        [Series(s, _label(s), [(float(f), float(v)) for f, v in curves[s]]) for s in _ordered(curves)],
        x_label="forward passes",
        y_label="loss",
        target=person.get("target"),
    )
    about = ", ".join(escape(str(person[key])) for key in ("kind", "class_word") if person.get(key))
    begun = f"Started from {escape(str(person['start']))}. " if person.get("start") else ""
    reached = person.get("forwards", {})
    text = "; ".join(f"{escape(_label(s))} {_count(reached[s])}" for s in _ordered(reached))
    return (
        f'<div class="card person"><div><h3>{escape(person.get("label", ""))}<small>{about}</small></h3>'
        f'<p class="saved">{begun}{f"Forwards to target: {text}." if text else ""}</p>'
        f"{_strips(pictures)}</div><div>{chart}</div></div>"
    )


def _strips(pictures: Mapping[str, NDArray[np.uint8]]) -> str:
    parts = []
    if "photos" in pictures:
        parts.append(_strip("photos", "their pictures", pictures["photos"], ()))
    for search in _ordered({s: None for s in pictures if s not in {"photos", "gradient"}}):
        after = "after" if search == "with_prior" else ""
        parts.append(_strip(after, _label(search), pictures[search], STAGES))
    if "gradient" in pictures:
        parts.append(_strip("", "gradient, the yardstick", pictures["gradient"], ("after",)))
    return f'<div class="strip">{"".join(parts)}</div>' if parts else ""


def _strip(kind: str, what: str, pixels: NDArray[np.uint8], captions: Sequence[str]) -> str:
    figures = []
    for i, picture in enumerate(pixels):
        caption = captions[i] if i < len(captions) else ""
        text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        last = ' class="after"' if kind == "after" and i == len(pixels) - 1 else ""
        alt = escape(f"{what} {caption}".strip())
        figures.append(f'<figure{last}><img src="{png_address(picture)}" alt="{alt}">{text}</figure>')
    name = ' class="photos"' if kind == "photos" else ""
    return f'<div{name}><span>{escape(what)}</span><div class="row">{"".join(figures)}</div></div>'


def png_address(pixels: NDArray[np.uint8]) -> str:
    """Return a picture, uint8 of shape (height, width, 3), as a ``data:`` address."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _rounds(report: DemoReport) -> str:
    history = report.get("history", ())
    if not history:
        return ""
    head = list(history[0])
    rows = [[_cell(row.get(column)) for column in head] for row in history]
    table = _table([column.replace("_", " ") for column in head], rows)
    return f'<h2>Rounds</h2><p>Each made a signed version of the prior.</p><div class="card scroll">{table}</div>'


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number(value) if math.isfinite(value) else "-"
    return escape(str(value))


def _spectra(report: DemoReport) -> str:
    spectra = report.get("spectra", {})
    if not spectra:
        return ""
    charts = {kind: bar_chart(list(v), x_label="direction", y_label="variance") for kind, v in spectra.items()}
    cards = "".join(f'<div class="card"><h3>{escape(kind)}</h3>{chart}</div>' for kind, chart in charts.items())
    about = "Variance of what people learned along the prior’s leading directions: searches probe where it is large."
    return f'<h2>Spectrum of the prior</h2><p>{about}</p><div class="two">{cards}</div>'


def _notes(report: DemoReport) -> str:
    notes = report.get("notes", ())
    return "<h2>Notes</h2>" + "".join(f"<p>{escape(note)}</p>" for note in notes) if notes else ""
