"""Newcomers search in every way, in turns: whenever time is up, as many of each kind were measured."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console

from simulations.benchmarks.framework import Value
from simulations.benchmarks.intervals import median_interval
from simulations.benchmarks.searches import Found, Search, Trial, found, is_kept
from simulations.benchmarks.ways import (
    ALONE,
    BORROWED,
    FIRST,
    GRADIENT,
    LATER,
    REFERENCE,
    Kind,
    Size,
    largest,
    longer_searches,
    without_noise,
)
from simulations.population import Person

T = TypeVar("T")


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
    tasks = in_turn(newcomers, searches, longer, size)
    everybody, ways = zip(*tasks, strict=True)
    reached = pool.map(_in_time, [trial] * len(tasks), everybody, ways, [end] * len(tasks))
    measured = counted(reached, len(tasks), "searches", told)
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
) -> list[tuple[Person, Search]]:
    """Return who searches how, in the order in which they do (`Size.foremost`)."""
    by_kind = {kind: [person for person in newcomers if person.kind == kind] for kind in searches}
    turns = [person for both in zip(*by_kind.values(), strict=True) for person in both]
    ways = {kind: (*FIRST, *some, *LATER) for kind, some in searches.items()}
    main, sizes = {ALONE, largest(size), BORROWED}, {*without_noise(size), REFERENCE}
    # The gradient is what all others are measured by: two searches of somebody's at once would both compute it.
    rounds = ({GRADIENT}, main, sizes - main)
    soon = set[str]().union(*rounds)
    tasks = [(person, way) for names in rounds for person in turns for way in ways[person.kind] if way.name in names]
    patient = [
        (way, by_kind[kind][: size.patient[kind][budget]])
        for kind, some in longer.items()
        for budget, way in some.items()
    ]
    tasks += [(person, way) for way, some in patient if len(some) == size.newcomers for person in some]
    foremost = len(by_kind) * size.foremost
    for some in (turns[:foremost], turns[foremost:]):
        tasks += [(person, way) for person in some for way in ways[person.kind] if way.name not in soon]
    return tasks + [(person, way) for way, some in patient if len(some) < size.newcomers for person in some]


def _in_time(trial: Trial, person: Person, search: Search, end: float) -> Found | None:
    """Search, unless it is too late to begin; what was found earlier is always in time."""
    return found(trial, person, search) if time.time() < end or is_kept(trial, person, search) else None


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
