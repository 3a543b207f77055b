"""Whether the daemon may work now: the person's conditions, joined with AND, against what the machine says.

What a machine cannot tell does not hinder: a desktop has no battery, many systems show no temperature. Learning
heeds idleness, power, heat and hours; a round lasts seconds and costs bandwidth, so it heeds power, network and hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from client.settings import Conditions

Work = Literal["learning", "rounds"]


class Machine(Protocol):
    """What is asked of the machine; None where it cannot tell."""

    def idle_seconds(self) -> float | None:
        """Seconds since somebody touched keyboard or mouse."""
        ...

    def on_power(self) -> bool | None:
        """Whether the charger is connected, or there is no battery."""
        ...

    def hottest(self) -> float | None:
        """The hottest part's temperature in °C."""
        ...

    def metered(self) -> bool | None:
        """Whether the network costs by volume."""
        ...

    def now(self) -> datetime:
        """Date and time by the clock on the wall."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindrance:
    """One condition that does not hold."""

    name: str
    """As in shoal.toml."""
    reason: str
    """In words: "on battery"."""


def hindrances(conditions: Conditions, machine: Machine, work: Work) -> tuple[Hindrance, ...]:
    """Return every condition that does not hold; the work may be done where there is none."""
    found = [_power(conditions, machine), _hours(conditions, machine)]
    if work == "learning":
        found += [_idle(conditions, machine), _heat(conditions, machine)]
    else:
        found.append(_network(conditions, machine))
    return tuple(one for one in found if one is not None)


def in_words(found: tuple[Hindrance, ...]) -> str:
    """Return them as the person reads them."""
    return "; ".join(one.reason for one in found)


def unknown(conditions: Conditions, machine: Machine) -> Iterator[str]:
    """Give the names of conditions that are set but that this machine cannot tell, so that they never hinder."""
    asked = {
        "idle_minutes": (conditions.idle_minutes > 0, machine.idle_seconds),
        "on_power": (conditions.on_power, machine.on_power),
        "hottest": (conditions.hottest > 0, machine.hottest),
        "unmetered": (conditions.unmetered, machine.metered),
    }
    yield from (name for name, (wanted, ask) in asked.items() if wanted and ask() is None)


def _power(conditions: Conditions, machine: Machine) -> Hindrance | None:
    if not conditions.on_power or machine.on_power() is not False:
        return None
    return Hindrance(name="on_power", reason="on battery: connect the charger")


def _hours(conditions: Conditions, machine: Machine) -> Hindrance | None:
    span, now = conditions.span(), machine.now()
    if span is None:
        return None
    minute, (first, last) = 60 * now.hour + now.minute, span
    inside = first <= minute < last if first <= last else minute >= first or minute < last  # over midnight
    return None if inside else Hindrance(name="hours", reason=f"outside the hours {conditions.hours}")


def _idle(conditions: Conditions, machine: Machine) -> Hindrance | None:
    seconds = machine.idle_seconds() if conditions.idle_minutes else None
    if seconds is None or seconds >= 60 * conditions.idle_minutes:
        return None
    return Hindrance(
        name="idle_minutes",
        reason=f"somebody is at the computer: it waits for {conditions.idle_minutes:g} idle minutes",
    )


def _heat(conditions: Conditions, machine: Machine) -> Hindrance | None:
    degrees = machine.hottest() if conditions.hottest else None
    if degrees is None or degrees <= conditions.hottest:
        return None
    return Hindrance(name="hottest", reason=f"{degrees:.0f} °C, above {conditions.hottest:g}: it waits to cool down")


def _network(conditions: Conditions, machine: Machine) -> Hindrance | None:
    if not conditions.unmetered or machine.metered() is not True:
        return None
    return Hindrance(name="unmetered", reason="the network costs by volume")
