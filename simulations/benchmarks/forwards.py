"""``forwards``: forward passes to target by the published algorithm, by others', and by ours with and without a prior.

The same pictures, seeds, engine and evaluation draws for all searches of a newcomer. The priors are made of people who
learned with forward passes only, by the same statistics and the same update as a federation's (`priors`), without noise
and with what rounds at ε = 1, 4 and 8 have. What was learned is kept (`searches`): a run that was killed goes on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from client.learn.published import PUBLISHED_FORWARDS
from server.settings import CLIPS
from simulations.basis import public_basis
from simulations.benchmarks.framework import Bar, Report
from simulations.benchmarks.intervals import medians_interval
from simulations.benchmarks.priors import DELTA, people_for_a_prior, prior_of
from simulations.benchmarks.races import Raced, counted, race
from simulations.benchmarks.searches import KEPT, Search, Trial, displacement, searcher
from simulations.benchmarks.ways import (
    ALONE,
    BORROWED,
    FULL,
    KINDS,
    REFERENCE,
    SMALL,
    Kind,
    Size,
    largest,
    longer_searches,
    trial_of,
    without_noise,
)
from simulations.population import Person, crowd, owner_of_many, people
from simulations.workers import workers


def run(
    *, full: bool, seed: int, kept: Path = KEPT, kinds: Sequence[Kind] = KINDS, minutes: float | None = None
) -> Report:
    """Run the benchmark on objects and on styles, or on one of the two; no search is begun after ``minutes``."""
    size, told, end = FULL if full else SMALL, Console(stderr=True), time.time()
    end += 60 * (size.minutes if minutes is None else minutes)
    trial = trial_of(size, kept)
    searcher(kept)  # its int8 shards are made once, not by every worker
    newcomers = people(size.newcomers, size.newcomers, seed)  # crowds and owners are apart from all of them
    searches: dict[Kind, list[Search]] = {}
    needed: list[str] = []
    with workers(2) as pool:
        for kind in kinds:
            learned = learned_by_crowd(pool, trial, kind, newcomers, size, seed, told)
            searches[kind] = priors(learned, kind, trial, size, seed)
            needed += first_priors(learned, kind, trial, size, seed)
        if "style" in kinds:
            owner = owner_of_many(newcomers, size.borrowed, seed)
            searches["style"].insert(0, Search(name=BORROWED, way="borrowed", owner=owner))
        raced = race(pool, trial, newcomers, searches, size, seed, end, told)
    return report(raced, needed, size, seed, full=full)


def learned_by_crowd(
    pool: ProcessPoolExecutor,
    trial: Trial,
    kind: Kind,
    newcomers: Sequence[Person],
    size: Size,
    seed: int,
    told: Console,
) -> NDArray[np.float64]:
    """Let people who own nothing of the newcomers' learn; shape (people, width)."""
    crowded = crowd(kind, size.others[-1], newcomers, seed)
    found = pool.map(displacement, [trial] * len(crowded), crowded)
    return np.stack(counted(found, len(crowded), f"people learn, {kind}", told)).astype(np.float64)


def priors(learned: NDArray[np.float64], kind: Kind, trial: Trial, size: Size, seed: int) -> list[Search]:
    """Return searches with the priors of all sizes and ε, as far as there are any: noise leaves few."""
    engine = searcher(trial.kept)
    basis = public_basis(engine).astype(np.float64)
    drawn = np.random.default_rng(seed)
    crowds = [learned[:count] for count in size.others]
    crowds += [learned[drawn.integers(len(learned), size=count)] for count in size.redrawn]
    there: list[Search] = []
    for prior_of_them, rows in zip(without_noise(size), crowds, strict=True):
        for epsilon in (math.inf, *size.epsilons):
            name = prior_of_them + (f", ε = {epsilon:g}" if math.isfinite(epsilon) else "")
            made = prior_of(rows, kind, backbone=engine.fingerprint, public_basis=basis, epsilon=epsilon, seed=seed)
            if made is not None:
                there.append(Search(name=name, way="ours", prior=made))
    return there


def first_priors(learned: NDArray[np.float64], kind: Kind, trial: Trial, size: Size, seed: int) -> list[str]:
    """Say how many people a first prior takes, at every ε."""
    engine = searcher(trial.kept)
    basis = public_basis(engine).astype(np.float64)
    found = []
    for epsilon in size.epsilons:
        people_needed = people_for_a_prior(
            learned, kind, backbone=engine.fingerprint, public_basis=basis, epsilon=epsilon, seed=seed
        )
        count = "none of a million" if people_needed is None else f"{people_needed:,}"
        found.append(f"{kind}, ε = {epsilon:g}: {count}")
    return found


def report(raced: Sequence[Raced], needed: Sequence[str], size: Size, seed: int, *, full: bool) -> Report:
    """Put the medians side by side, and the promises beside them."""
    ratios: dict[str, float] = {}
    bars: list[Bar] = []
    for kind in KINDS:
        by_name = {each.search.name: each for each in raced if each.kind == kind}
        for name, bound in ((ALONE, 1 / 3), (largest(size), 1 / 10)):
            if _who_ran(by_name, name, REFERENCE) < size.fewest:  # no prior yet, or no time for more
                continue
            ratio, ends = beside_published(by_name[name], by_name, size)
            what = f"{kind}: median forwards to target, {name}, over the published"
            bars += [Bar.known(what, ratio, bound, "at most"), *ends]
            if math.isfinite(ratio[0]):
                ratios[f"{kind}: {name} / published"] = ratio[0]
    rows = [each.row() for each in raced]
    return Report(
        name="forwards", seed=seed, full=full, rows=rows, ratios=ratios, bars=bars, notes=_notes(needed, size)
    )


def _who_ran(by_name: dict[str, Raced], *names: str) -> int:
    """Return how many newcomers searched in all these ways."""
    return len(set.intersection(*(set(by_name[name].found) if name in by_name else set() for name in names)))


def beside_published(
    mine: Raced, by_name: dict[str, Raced], size: Size
) -> tuple[tuple[float, float, float], list[Bar]]:
    """Hold a search against the published algorithm's of all budgets.

    Returns:
        Median forwards to target over those of the longest that as many ran, with an interval: who did not meet it
        counts as its budget; and what is promised of end shares, beside every budget that enough ran.
    """
    ratio, ends, everybody = (math.inf, math.inf, math.inf), [], len(by_name[REFERENCE].found)
    budgets = {each.name: forwards for forwards, each in longer_searches(size, mine.kind).items()}
    for name, budget in {REFERENCE: size.published, **budgets}.items():
        rival = by_name.get(name)
        if rival is None or len(rival.found) < size.fewest:
            continue
        fewer, gained = compared(mine, rival, budget)
        if len(rival.found) >= everybody:
            ratio = fewer
        what = f"{mine.kind}: median end share, {mine.search.name}, less the published"
        what += f", {budget:,} forwards" if name in budgets else ""
        ends.append(Bar.known(what, gained, 0.0, "at least"))
    return ratio, ends


def compared(mine: Raced, other: Raced, budget: int) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Compare two searches on those who ran both: medians, with bootstrap intervals.

    Returns:
        Forwards to target over the other's, who has a budget and counts as that where it was not met; and what mine
        ended with more.
    """
    both = [(mine.found[number], other.found[number]) for number in sorted(mine.found.keys() & other.found.keys())]
    forwards = medians_interval(
        [one.reached or math.inf for one, _ in both],
        [another.reached or budget for _, another in both],
        np.divide,
        mine.seed,
    )
    shares = [one.share for one, _ in both], [another.share for _, another in both]
    return forwards, medians_interval(*shares, np.subtract, mine.seed)


def _notes(needed: Sequence[str], size: Size) -> list[str]:
    least = size.others[-1]
    return [
        (
            f"budgets {size.forwards} forwards, the published algorithm and evolution {size.published}, the published "
            f"one's own {PUBLISHED_FORWARDS}; everybody searches to the end; a dash is a median that never met the "
            "target, and a ratio to the published algorithm, of its longest budget that as many ran, counts it as that "
            "budget"
        ),
        "low, high: bootstrap intervals (95 %) of the median over newcomers; one seed of searches",
        (
            f"of: of {size.newcomers} newcomers, as many in turn as time was for (another run goes on); "
            "bars compare those who ran both searches"
        ),
        "end share: median share of the gradient's improvement that the token has which a search ends with",
        f"priors: of people who learned in {_taught(size)}; none owns a newcomer's object or picture",
        *(f"{count:,} (redrawn): {count:,} people drawn from the {least} with replacement" for count in size.redrawn),
        f"noise: ε a round and person at δ = {DELTA:g}, rounds of at most 128; clips as an operator's are: {_clips()}",
        f"{BORROWED}: one token that the gradient learned from {size.borrowed} pictures of the style, no newcomer's",
        "where noise leaves no prior there is no row: newcomers search as without one",
        f"people until there is a first prior (125 doubled, redrawn): {'; '.join(needed)}",
        "the gradient's forward passes each had a backward one, not counted",
        "the lexicon is made once for a backbone and costs 8,900 forwards more, which no person spends",
    ]


def _taught(size: Size) -> str:
    return ", ".join(f"{forwards} forwards ({kind})" for kind, forwards in size.taught.items())


def _clips() -> str:
    return ", ".join(f"{CLIPS[kind]:g} ({kind})" for kind in KINDS)
