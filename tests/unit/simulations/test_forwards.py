"""Newcomers take turns until time is up, and rows say of how many they are."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from client.learn.published import PUBLISHED_FORWARDS
from simulations.benchmarks import forwards, races
from simulations.benchmarks.forwards import compared
from simulations.benchmarks.races import Raced
from simulations.benchmarks.searches import Found, Search, Trial
from simulations.benchmarks.ways import (
    ALONE,
    FIRST,
    GRADIENT,
    KINDS,
    LATER,
    REFERENCE,
    SMALL,
    WHOLE,
    as_published,
    largest,
)
from simulations.population import people
from tests.unit.simulations.conftest import Inline

SIZE = replace(SMALL, newcomers=3, redrawn=(9,), foremost=1, patient={"style": (20_000, PUBLISHED_FORWARDS)}, abreast=2)
LONGER = as_published(20_000)
QUIET = Console(file=io.StringIO())
TRIAL = Trial(kept=None, descent=1, forwards=1, published=1, taught={"object": 1, "style": 1})
NO_END, OVER = math.inf, 0.0


def result(reached=10, share=0.9, start="anchor"):
    return Found(reached=reached, share=share, forwards=100, token=np.zeros(2, np.float32), start=start)


@pytest.fixture
def done(monkeypatch):
    """Record who searched how."""
    order = []

    def search(_trial, person, way):
        order.append((person.kind, person.number, way.name))
        return result()

    monkeypatch.setattr(races, "found", search)
    monkeypatch.setattr(races, "found_by_all", lambda trial, some, way: [search(trial, each, way) for each in some])
    monkeypatch.setattr(races, "is_kept", lambda _trial, person, _way: person.number == 0)
    return order


def race(end):
    best = Search(name=largest(SIZE), way="ours")
    names = ("ours, prior of 9 (redrawn)", "ours, prior of 9 (redrawn), ε = 1")
    searches = {kind: [*(Search(name=name, way="ours") for name in names), best] for kind in KINDS}
    return races.race(Inline, TRIAL, people(3, 3, 0), searches, SIZE, 0, end, QUIET)


def test_everybody_searches_in_the_ways_that_matter_before_the_foremost_do_in_all(done):
    raced = race(NO_END)
    ways = len(FIRST) + len(LATER) + 3
    assert len(done) == len(set(done)) == 6 * ways + 6
    assert {name for _, _, name in done[:6]} == {GRADIENT}, "whoever searches before it computes it too"
    assert {name for _, _, name in done[6 : 6 * 3]} == {ALONE, largest(SIZE)}
    published = [("object", number, REFERENCE) for number in (0, 1, 2)]
    published += [("style", number, way) for way in (REFERENCE, LONGER) for number in (3, 4, 5)]
    assert done[6 * 3 : 6 * 3 + 9] == published
    assert {name for _, _, name in done[6 * 3 + 9 : 6 * 4 + 9]} == {"ours, prior of 9 (redrawn)"}
    left = done[6 * 4 + 9 :]
    foremost, rest = left[: 2 * (ways - 5)], left[2 * (ways - 5) : -3]
    assert {number for _, number, _ in foremost} == {0, 3}  # the first with an object, the first with a style
    assert {number for _, number, _ in rest} == {1, 2, 4, 5}
    assert done[-3:] == [("style", number, WHOLE) for number in (3, 4, 5)]
    assert [len(each.found) for each in raced] == [3] * (2 * ways + 2)


def test_the_published_algorithm_goes_in_step_by_lots_of_a_kind():
    names = (largest(SIZE), "ours, prior of 9 (redrawn)")
    some = {kind: [Search(name=name, way="ours") for name in names] for kind in KINDS}
    longer = {kind: races.longer_searches(SIZE, kind) for kind in KINDS}
    lots = races.in_turn(people(3, 3, 0), some, longer, SIZE)
    abreast = [[person.number for person in lot] for lot, way in lots if way.way == "published"]
    assert abreast == [[0, 1], [2], [3, 4], [5], [3, 4], [5], [3, 4], [5]]
    assert all(len(lot) == 1 for lot, way in lots if way.way != "published")


def test_when_time_is_up_only_what_is_kept_is_counted(done):
    raced = race(OVER)
    assert {number for _, number, _ in done} == {0}
    assert {each.kind for each in raced} == {"object"}
    assert all(each.row()["of"] == 1 for each in raced)


def test_one_kind_alone_runs_what_it_would_beside_the_other(done):
    race(NO_END)
    both = list(done)
    done.clear()
    best = {"style": [Search(name=largest(SIZE), way="ours")]}
    raced = races.race(Inline, TRIAL, people(3, 3, 0), best, SIZE, 0, NO_END, QUIET)
    redrawn = ("ours, prior of 9 (redrawn)", "ours, prior of 9 (redrawn), ε = 1")
    assert done == [each for each in both if each[0] == "style" and each[2] not in redrawn]
    assert {each.kind for each in raced} == {"style"}


def raced(name, reached, shares, kind="object"):
    found = {number: result(*each) for number, each in enumerate(zip(reached, shares, strict=True)) if each[1]}
    return Raced(kind=kind, search=Search(name=name, way="ours"), found=found, seed=0)


def test_two_searches_are_compared_on_those_who_ran_both():
    mine = raced(ALONE, [10, 20, 30, None], [0.8, 0.9, 1.0, None])
    other = raced(REFERENCE, [None, 200, None, 600], [None, 0.5, 0.7, 0.6])
    (ratio, low, high), (gained, *around) = compared(mine, other, 400)
    assert (ratio, low, high) == (25 / 300, 30 / 400, 20 / 200)
    assert [gained, *around] == pytest.approx([0.95 - 0.6, 0.3, 0.4])


def test_a_target_that_nobody_met_has_no_median_and_breaks_its_bar():
    rows = [
        each
        for kind in KINDS
        for each in (raced(REFERENCE, [None] * 3, [0.5] * 3, kind), raced(ALONE, [None, None, 9], [0.6] * 3, kind))
    ]
    report = forwards.report(rows, [], SIZE, 0, full=False)
    assert [row["median"] for row in report.rows] == [None] * 4
    assert [row["reached"] for row in report.rows] == [0, 1, 0, 1]
    assert [bar.holds for bar in report.bars] == [False, True] * 2
    assert report.ratios == {}


def test_a_published_search_that_met_nothing_counts_as_its_budget():
    rows = [
        each
        for kind in KINDS
        for each in (raced(REFERENCE, [None] * 3, [0.5] * 3, kind), raced(ALONE, [24] * 3, [0.6] * 3, kind))
    ]
    report = forwards.report(rows, [], SIZE, 0, full=False)
    assert report.ratios[f"object: {ALONE} / published"] == 24 / SIZE.published
    assert all(bar.holds for bar in report.bars)


def test_of_a_few_nothing_is_promised():
    rows = [raced(REFERENCE, [400, 400], [0.5] * 2, "style"), raced(ALONE, [24] * 3, [0.6] * 3, "style")]
    assert len(forwards.report(rows, [], replace(SIZE, fewest=2), 0, full=False).bars) == 2
    few = forwards.report(rows, [], replace(SIZE, fewest=3), 0, full=False)
    assert (few.bars, few.ratios, [row["of"] for row in few.rows]) == ([], {}, [2, 3])


@pytest.mark.parametrize(
    ("ran", "fewest", "budget", "beside"), [(3, 3, 20_000, 2), (2, 2, SIZE.published, 2), (2, 3, SIZE.published, 1)]
)
def test_forwards_are_held_against_the_longest_budget_that_as_many_ran_and_ends_against_all(
    ran, fewest, budget, beside
):
    rows = [
        raced(REFERENCE, [None] * 3, [0.5] * 3, "style"),
        raced(LONGER, [None] * ran, [0.9] * ran, "style"),
        raced(ALONE, [24] * 3, [0.6] * 3, "style"),
    ]
    report = forwards.report(rows, [], replace(SIZE, fewest=fewest), 0, full=False)
    assert report.ratios == {f"style: {ALONE} / published": 24 / budget}
    ends = [bar for bar in report.bars if "end share" in bar.what]
    assert [bar.holds for bar in ends] == [True, False][:beside]
