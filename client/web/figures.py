"""The numbers behind the page's figures; templates/figures.html draws them as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from client.budget import Cost, cost
from client.ledger import Limits
from client.statement import Given, Statement
from common.privacy import Mechanism
from common.statistics import sensitivity

LATEST: Final = 40
"""Contributions in a figure; more would be thinner than a line."""


@dataclass(frozen=True, slots=True)
class Line:
    """A curve in a box of width 100 and height 100, y downwards."""

    points: str
    """For a polyline."""
    area: str
    """For a polygon down to the box's lower edge."""


def curve(values: Sequence[float]) -> Line | None:
    """Return falling losses as a curve; None for fewer than two."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return None
    low, high = min(finite), max(finite)
    span = (high - low) or 1.0
    at = [(100 * i / (len(finite) - 1), 94 - 88 * (value - low) / span) for i, value in enumerate(finite)]
    points = " ".join(f"{x:.2f},{y:.2f}" for x, y in at)
    return Line(points, f"0,100 {points} 100,100")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One budget: how much is spent, how far one more round would go."""

    title: str
    against: str
    """Whom it counts against."""
    spent: str
    allowed: str
    share: float
    """Of the budget, 0 to 100."""
    next_share: float
    """After one more round like the last, 0 to 100."""
    another: str
    """In words; empty before the first."""
    over: bool
    """Whether more is spent than is allowed by now."""


def gauges(found: Statement) -> tuple[Gauge, Gauge]:
    """Return both budgets."""
    return (
        _gauge(found, "central", "Against a curious server", "It follows the rules and reads everything it gets."),
        _gauge(found, "local", "Against a lying server", "It breaks the rules; your own noise is all that is left."),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One contribution in the staircase: x from left to right, y downwards, in a box of 100 by 100."""

    x: float
    width: float
    y: float
    height: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Staircase:
    """How ε rose, contribution by contribution, to where it is allowed to."""

    steps: tuple[Step, ...]
    limit: float | None
    """y of the budget; None after a withdrawal."""
    top: str
    """ε at the upper edge."""


def staircase(found: Statement) -> Staircase | None:
    """Return ε against a curious server after each contribution; None before the first."""
    if not found.given:
        return None
    given = found.given[-LATEST:]
    before = len(found.given) - len(given)
    told = [one.contribution for one in found.given]
    values = [cost(told[: before + i + 1]).central for i in range(len(given))]
    allowed = found.allowed.central if found.allowed else 0.0
    top = 1.12 * max([allowed, *(value for value in values if math.isfinite(value))]) or 1.0
    width = min(100 / len(given), 12.0)
    steps = tuple(
        Step(x=i * width, width=width * 0.86, y=100 - height, height=height, label=_epsilon(value))
        for i, (value, height) in enumerate((value, min(100.0, 100 * value / top)) for value in values)
    )
    return Staircase(steps=steps, limit=100 - 100 * allowed / top if found.allowed else None, top=_epsilon(top))


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What exactly was in one contribution, to scale: the length of the person's vector beside that of the noise."""

    given: Given
    central: str
    local: str
    signal: str
    """At most."""
    noise: str
    """Of this device alone, as a root mean square."""
    signal_share: float
    """Of the larger one, 0 to 100."""
    noise_share: float
    each: str
    """Standard deviation of the noise on each number, in units of the vector."""


def content(one: Given) -> Content:
    """Return what one contribution held.

    The vector's length is at most S = √3 (`common.statistics.sensitivity`); the noise of one share on D padded numbers
    has the root mean square length σ √D / s, in the same unit.
    """
    what = one.contribution
    padded = Mechanism(
        length=what.length, scale=what.scale, share_variance=what.share_variance, modulus_bits=what.modulus_bits
    ).padded
    each = math.sqrt(what.share_variance) / what.scale
    signal, noise = sensitivity(), each * math.sqrt(padded)
    largest = max(signal, noise)
    return Content(
        given=one,
        central=_epsilon(one.cost.central),
        local=_epsilon(one.cost.local),
        signal=f"{signal:.2f}",
        noise=f"{noise:.3g}",
        signal_share=100 * signal / largest,
        noise_share=100 * noise / largest,
        each=f"{each:.3g}",
    )


def _gauge(found: Statement, name: Literal["central", "local"], title: str, against: str) -> Gauge:
    spent, allowed = _number(found.spent, name), _number(found.allowed, name) if found.allowed else 0.0
    another = _number(found.another, name) if found.another else 0.0
    return Gauge(
        title=title,
        against=against,
        spent=_epsilon(spent),
        allowed=_epsilon(allowed) if found.allowed else "nothing",
        share=_share(spent, allowed),
        next_share=_share(another, allowed),
        another=_epsilon(another) if found.another else "",
        over=found.allowed is not None and spent > allowed,
    )


def _number(found: Cost | Limits, name: Literal["central", "local"]) -> float:
    return found.central if name == "central" else found.local


def _share(value: float, allowed: float) -> float:
    if value <= 0:
        return 0.0
    return min(100.0, 100 * value / allowed) if allowed > 0 else 100.0


def _epsilon(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "without limit"
