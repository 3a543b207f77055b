"""Charts as SVG, made here: a few shapes, colours from the style sheet, and every number also as text for a reader."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH: Final = 720
HEIGHT: Final = 220
_LEFT: Final = 44
_BOTTOM: Final = 26
_TOP: Final = 12


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one name; its class in the style sheet gives the colour."""

    name: str
    style: str
    values: Sequence[float]


def bars(title: str, labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """Stack series into one bar for each label."""
    totals = [math.fsum(one.values[index] for one in series) for index in range(len(labels))]
    top = _nice(max(totals, default=0.0))
    shapes, step = [], (WIDTH - _LEFT) / max(1, len(labels))
    for index, label in enumerate(labels):
        base, x = 0.0, _LEFT + index * step + step * 0.15
        for one in series:
            height = _scale(one.values[index], top)
            if height > 0:
                said = f"{label}: {_text(one.values[index])} {one.name}"
                y = HEIGHT - _BOTTOM - base - height
                shapes.append(
                    f'<rect class="{one.style}" x="{x:.1f}" y="{y:.1f}" width="{step * 0.7:.1f}" '
                    f'height="{height:.1f}" rx="2"><title>{escape(said)}</title></rect>'
                )
            base += height
    return _frame(title, labels, top, shapes, series)


def lines(title: str, labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """Draw each series as a line over the labels; what is not finite is left out."""
    top = _nice(max((value for one in series for value in one.values if math.isfinite(value)), default=0.0))
    shapes, step = [], (WIDTH - _LEFT) / max(1, len(labels))
    for one in series:
        points = [
            (_LEFT + (index + 0.5) * step, HEIGHT - _BOTTOM - _scale(value, top), value)
            for index, value in enumerate(one.values)
            if math.isfinite(value)
        ]
        if len(points) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
            shapes.append(f'<polyline class="{one.style} line" points="{path}"/>')
        shapes += [
            f'<circle class="{one.style}" cx="{x:.1f}" cy="{y:.1f}" r="3.5">'
            f"<title>{escape(one.name)}: {_text(value)}</title></circle>"
            for x, y, value in points
        ]
    return _frame(title, labels, top, shapes, series)


def _frame(title: str, labels: Sequence[str], top: float, shapes: Sequence[str], series: Sequence[Series]) -> Markup:
    """Put axes, a legend and a description around the shapes."""
    if not labels:
        return Markup("<figure><figcaption><b>{}</b></figcaption><p>Nothing to show yet.</p></figure>").format(title)
    bottom, step = HEIGHT - _BOTTOM, (WIDTH - _LEFT) / max(1, len(labels))
    grid = [
        f'<line class="grid" x1="{_LEFT}" x2="{WIDTH}" y1="{bottom - _scale(value, top):.1f}" '
        f'y2="{bottom - _scale(value, top):.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{bottom - _scale(value, top) + 4:.1f}" text-anchor="end">{_text(value)}</text>'
        for value in (0.0, top / 2, top)
    ]
    every = max(1, math.ceil(len(labels) / 8))
    names = [
        f'<text x="{_LEFT + (index + 0.5) * step:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(label)}</text>'
        for index, label in enumerate(labels)
        if index % every == 0
    ]
    described = "; ".join(
        f"{one.name}: {', '.join(_text(value) for value in one.values)}" for one in series if len(one.values) <= 40
    )
    legend = "".join(f'<li><i class="{one.style}"></i>{escape(one.name)}</li>' for one in series)
    return Markup(  # noqa: S704 - everything that is not a number was escaped above
        f'<figure><figcaption><b>{escape(title)}</b><ul class="legend">{legend}</ul></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}. {escape(described)}">'
        f"{''.join(grid)}{''.join(shapes)}{''.join(names)}</svg></figure>"
    )


def _scale(value: float, top: float) -> float:
    return max(0.0, value) / top * (HEIGHT - _BOTTOM - _TOP)


def _nice(value: float) -> float:
    """Give the least of 1, 2, 4 or 5 times a power of ten that is not below the value."""
    if not value > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 4, 5, 10) if factor * power >= value * (1 - 1e-12))


def _text(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "no noise"
