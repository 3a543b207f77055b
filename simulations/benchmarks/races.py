"""Newcomers search in every way, in turns: whenever time is up, as many of each kind were measured."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from rich.console import Console

from simulations.benchmarks.framework import Value
from simulations.benchmarks.intervals import median_interval
from simulations.benchmarks.searches import Found, Search, Trial, found, found_by_all, is_kept
from simulations.benchmarks.ways import (
    ALONE,
    BORROWED,
    FIRST,
    GRADIENT,
    LATER,
    REFERENCE,
    WHOLE,
    Kind,
    Size,
    largest,
    longer_searches,
    without_noise,
)
from simulations.population import Person

T = TypeVar("T")

Lot = tuple[Sequence[Person], Search]
"""Newcomers of a kind who search in the same way, in step with each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raced:
    """What one search found on newcomers of a kind, by their numbers: on all, or on those whose turn it was."""

    kind: Kind
    search: Search
    found: dict[int, Found]
    seed: int

    def row(self) -> dict[str, Value]:
        """Return the table's row: medians with their bootstrap intervals over newcomers."""
        everybody = list(self.found.values())
        forwards = median_interval([each.reached or math.inf for each in everybody], self.seed)
        shares = median_interval([each.share for each in everybody], self.seed)
        prior = self.search.prior
        return {
            "kind": self.kind,
            "search": self.search.name,
            "median": _finite(forwards[0]),
            "low": _finite(forwards[1]),
            "high": _finite(forwards[2]),
            "reached": sum(each.reached is not None for each in everybody),
            "of": len(everybody),
            "end share": shares[0],
            "share low": shares[1],
            "share high": shares[2],
            "prior's directions": None if prior is None else len(prior.cohorts[0].spectrum),
            "began with it": None if prior is None else sum(each.start.startswith("cohort") for each in everybody),
        }


def race(
    pool: ProcessPoolExecutor,
    trial: Trial,
    newcomers: Sequence[Person],
    searches: dict[Kind, list[Search]],
    size: Size,
    seed: int,
    end: float,
    told: Console,
) -> list[Raced]:
    """Let newcomers of the kinds that ``searches`` has learn in every way, until it is ``end`` on the clock.

    They take turns, and what matters most comes first (`in_turn`): whenever it ends, as many of each kind were
    measured.
    """
    longer = {kind: longer_searches(size, kind) for kind in searches}
    lots = in_turn(newcomers, searches, longer, size)
    tasks = [(person, way) for some, way in lots for person in some]
    everybody, ways = zip(*lots, strict=True)
    reached = pool.map(_in_time, [trial] * len(lots), everybody, ways, [end] * len(lots))
    measured = counted(chain.from_iterable(reached), len(tasks), "searches", told)
    raced = []
    for kind, some in searches.items():
        for search in (*FIRST, *longer[kind].values(), *LATER, *some):
            ends = {
                person.number: result
                for (person, way), result in zip(tasks, measured, strict=True)
                if person.kind == kind and way is search and result is not None
            }
            if ends:
                raced.append(Raced(kind=kind, search=search, found=ends, seed=seed))
    return raced


def in_turn(
    newcomers: Sequence[Person],
    searches: dict[Kind, list[Search]],
    longer: dict[Kind, dict[int, Search]],
    size: Size,
) -> list[Lot]:
    """Return who searches how, in the order in which they do (`Size.foremost`), and who in step with whom."""
    by_kind = {kind: [person for person in newcomers if person.kind == kind] for kind in searches}
    turns = [person for both in zip(*by_kind.values(), strict=True) for person in both]
    ways = {kind: (*FIRST, *some, *LATER) for kind, some in searches.items()}
    main = {ALONE, largest(size), BORROWED}
    sizes = {*without_noise(size)} - main
    shorter, whole = list[Lot](), list[Lot]()
    for kind, some in by_kind.items():
        published = [way for way in ways[kind] if way.name == REFERENCE] + [*longer[kind].values()]
        for way in published:
            lots = [(some[at : at + size.abreast], way) for at in range(0, len(some), size.abreast)]
            (whole if way.name == WHOLE else shorter).extend(lots)

    def alone(names: set[str], some: Sequence[Person]) -> list[Lot]:
        return [((person,), way) for person in some for way in ways[person.kind] if way.name in names]

    left = {way.name for some in ways.values() for way in some} - {GRADIENT, REFERENCE, *main, *sizes}
    foremost = len(by_kind) * size.foremost
    # The gradient is what all others are measured by: two searches of somebody's at once would both compute it.
    first = [*alone({GRADIENT}, turns), *alone(main, turns), *shorter, *alone(sizes, turns)]
    return [*first, *alone(left, turns[:foremost]), *alone(left, turns[foremost:]), *whole]


def _in_time(trial: Trial, some: Sequence[Person], search: Search, end: float) -> Sequence[Found | None]:
    """Search, unless it is too late to begin; what was found earlier is always in time."""
    if time.time() < end:
        return found_by_all(trial, some, search)
    return [found(trial, person, search) if is_kept(trial, person, search) else None for person in some]


def counted(results: Iterable[T], count: int, what: str, told: Console, every: float = 60) -> list[T]:
    """Return results as they come, and say once a minute how far things are."""
    begun = said = time.monotonic()
    found: list[T] = []
    for result in results:
        found.append(result)
        now = time.monotonic()
        if now - said > every or len(found) == count:
            told.print(f"{what}: {len(found)} of {count}, {(now - begun) / 60:.1f} minutes")
            said = now
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
