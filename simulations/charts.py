"""Small charts as inline SVG: they take their colours from the page's style sheet, so dark mode is free.

Classes used: ``axis``, ``grid``, ``tick``, ``label``, ``target``, and one per series (``with_prior`` and so on).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[float, float]]
Scale = Callable[[float], float]

TICKS_PER_DECADE = (1, 2, 5)
WIDE_RANGE = 20
"""An axis whose ends differ by more than this factor is logarithmic."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The outer size of a chart and the room that its labels take, in SVG units."""

    width: int = 460
    height: int = 250
    left: int = 52
    right: int = 14
    top: int = 14
    bottom: int = 40


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its style class, its name in words, its points (x ascending)."""

    key: str
    label: str
    points: Points


@dataclass(frozen=True, slots=True)
class Spread:
    """A median between quartiles; None where it was never reached."""

    key: str
    label: str
    low: float | None
    middle: float | None
    high: float | None


def axis(values: Sequence[float], start: float, end: float, *, logarithmic: bool) -> tuple[Scale, list[float]]:
    """Return the map from values to SVG units and the values worth a tick."""
    low, high = min(values), max(values)
    if high <= low:
        low, high = low - (abs(low) * 0.1 or 1), high + (abs(high) * 0.1 or 1)
    if logarithmic:
        base, span = math.log10(low), math.log10(high / low)
        decades = range(math.floor(base), math.ceil(math.log10(high)) + 1)
        ticks = [m * 10.0**decade for decade in decades for m in TICKS_PER_DECADE]
        return lambda v: start + (end - start) * (math.log10(v) - base) / span, _within(ticks, low, high)
    step = _round_step((high - low) / 4)
    ticks = [step * i for i in range(math.floor(low / step), math.ceil(high / step) + 1)]
    return lambda v: start + (end - start) * (v - low) / (high - low), _within(ticks, low, high)


def _within(ticks: list[float], low: float, high: float) -> list[float]:
    slack = 1e-9 * (abs(low) + abs(high))
    return [tick for tick in ticks if low - slack <= tick <= high + slack]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)


def number(value: float) -> str:
    """Write a number as a reader wants it: 1,200 and 12k, 0.05 and not 0.050000."""
    if abs(value) >= 10_000:
        return f"{value / 1000:,.4g}k"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def line_chart(
    series: Sequence[Series], *, x_label: str, y_label: str, target: float | None = None, frame: Frame | None = None
) -> str:
    """Draw lines over a logarithmic or linear x axis; ``target`` is a dashed level."""
    box = frame or Frame()
    drawn = [Series(s.key, s.label, [p for p in s.points if all(map(math.isfinite, p))]) for s in series]
    points = [point for one in drawn for point in one.points]
    if not points:
        return '<p class="none">nothing was measured</p>'
    positive = [x for x, _ in points if x > 0]
    logarithmic = bool(positive) and max(positive) / min(positive) > WIDE_RANGE
    xs = [max(x, min(positive)) if logarithmic else x for x, _ in points]
    ys = [y for _, y in points] + ([target] if target is not None else [])
    x, x_ticks = axis(xs, box.left, box.width - box.right, logarithmic=logarithmic)
    y, y_ticks = axis(ys, box.height - box.bottom, box.top, logarithmic=False)
    parts = [_grid(box, x, x_ticks, y, y_ticks), _names(box, x_label, y_label)]
    if target is not None:
        parts.append(_target(box, y(target)))
    for one in drawn:
        path = " ".join(f"{x(max(px, min(xs))):.1f},{y(py):.1f}" for px, py in one.points)
        title = f"<title>{escape(one.label)}</title>"
        parts.append(f'<polyline class="line {escape(one.key)}" points="{path}">{title}</polyline>' if path else "")
    return _svg(box, f"{y_label} against {x_label}", parts)


def bar_chart(values: Sequence[float], *, x_label: str, y_label: str, frame: Frame | None = None) -> str:
    """Draw bars numbered from 1, from zero upwards."""
    box = frame or Frame()
    kept = [value if math.isfinite(value) else 0.0 for value in values]
    if not kept:
        return '<p class="none">nothing was measured</p>'
    y, y_ticks = axis([0.0, max(*kept, 1e-12)], box.height - box.bottom, box.top, logarithmic=False)
    room = (box.width - box.left - box.right) / len(kept)
    every = max(1, math.ceil(len(kept) / 12))
    numbered = [float(i) for i in range(1, len(kept) + 1) if i == 1 or i % every == 0]
    parts = [
        _grid(box, lambda v: box.left + room * (v - 0.5), numbered, y, y_ticks, upright=False),
        _names(box, x_label, y_label),
    ]
    for i, value in enumerate(kept):
        left, top = box.left + room * i + min(2.0, room * 0.1), y(max(value, 0.0))
        size = f'width="{max(room - min(4.0, room * 0.2), 0.5):.1f}" height="{box.height - box.bottom - top:.1f}"'
        title = f"<title>{i + 1}: {number(value)}</title>"
        parts.append(f'<rect class="bar" x="{left:.1f}" y="{top:.1f}" {size} rx="2">{title}</rect>')
    return _svg(box, f"{y_label} by {x_label}", parts)


def spread_chart(spreads: Sequence[Spread], *, x_label: str) -> str:
    """Draw medians between quartiles, one row each, over a logarithmic axis that begins below the least."""
    box = Frame(width=720, height=46 + 54 * len(spreads), left=180, right=70, top=6)
    known = [v for s in spreads for v in (s.low, s.middle, s.high) if v is not None and math.isfinite(v) and v > 0]
    if not known:
        return '<p class="none">nobody reached the target</p>'
    x, ticks = axis([min(known) / 1.3, max(known) * 1.1], box.left, box.width - box.right, logarithmic=True)
    parts = [_grid(box, x, ticks, lambda _: 0.0, [])]
    for i, spread in enumerate(spreads):
        y = box.top + 27 + 54 * i
        parts.append(_text("name", box.left - 16, y + 4, spread.label, "end"))
        parts.append(_spread(spread, box, x, y))
    middle = (box.left + box.width - box.right) / 2
    parts.append(_text("label", middle, box.height - 4, x_label, "middle"))
    return _svg(box, x_label, parts)


def _usable(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None


def _spread(spread: Spread, box: Frame, x: Scale, y: float) -> str:
    middle = _usable(spread.middle)
    if middle is None:
        return _text("tick", box.left + 16, y + 4, "median not reached", "start")
    low, high = _usable(spread.low) or middle, _usable(spread.high)
    end = x(high) if high is not None else box.width - box.right  # open: that quartile never got there
    title = f"<title>{number(low)} to {number(high) if high else 'never'}, median {number(middle)}</title>"
    key = escape(spread.key)
    span = f'<line class="span {key}" x1="{x(low):.1f}" x2="{end:.1f}" y1="{y}" y2="{y}">{title}</line>'
    dot = f'<circle class="dot {key}" cx="{x(middle):.1f}" cy="{y}" r="7">{title}</circle>'
    return span + dot + _text("value", x(middle), y - 13, number(middle), "middle")


def _grid(box: Frame, x: Scale, xs: list[float], y: Scale, ys: list[float], *, upright: bool = True) -> str:
    bottom, right = box.height - box.bottom, box.width - box.right
    parts = []
    for tick in ys:
        at = f"{y(tick):.1f}"
        parts.append(f'<line class="grid" x1="{box.left}" x2="{right}" y1="{at}" y2="{at}"/>')
        parts.append(_text("tick", box.left - 8, y(tick) + 4, number(tick), "end"))
    for tick in xs:
        at = f"{x(tick):.1f}"
        if upright:
            parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{box.top}" y2="{bottom}"/>')
        parts.append(_text("tick", x(tick), bottom + 16, number(tick), "middle"))
    parts.append(f'<line class="axis" x1="{box.left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    return "".join(parts)


def _names(box: Frame, x_label: str, y_label: str) -> str:
    middle, turned = (box.left + box.width - box.right) / 2, (box.top + box.height - box.bottom) / 2
    upright = _text("label", 0, 0, y_label, "middle")
    return (
        _text("label", middle, box.height - 4, x_label, "middle")
        + f'<g transform="translate(12 {turned}) rotate(-90)">{upright}</g>'
    )


def _target(box: Frame, at: float) -> str:
    line = f'<line class="target" x1="{box.left}" x2="{box.width - box.right}" y1="{at:.1f}" y2="{at:.1f}"/>'
    return line + _text("tick", box.left + 6, at - 5, "target", "start")


def _text(kind: str, x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(box: Frame, what: str, parts: Sequence[str]) -> str:
    opening = f'<svg viewBox="0 0 {box.width} {box.height}" role="img" aria-label="{escape(what)}">'
    return opening + "".join(parts) + "</svg>"
