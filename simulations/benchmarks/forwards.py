"""``forwards``: forward passes to target by the published algorithm, by others', and by ours with and without a prior.

The same pictures, seeds, engine and evaluation draws for all searches of a newcomer. The priors are made of people who
learned with forward passes only, by the same statistics and the same update as a federation's (`priors`), without noise
and with what rounds at ε = 1, 4 and 8 have. What was learned is kept (`searches`): a run that was killed goes on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from client.learn.published import PUBLISHED_FORWARDS
from client.quiet import quiet
from server.settings import CLIPS
from simulations.basis import public_basis
from simulations.benchmarks.framework import Bar, Report, Value
from simulations.benchmarks.intervals import median_interval, medians_interval
from simulations.benchmarks.priors import DELTA, people_for_a_prior, prior_of
from simulations.benchmarks.searches import KEPT, Found, Search, Trial, displacement, found, is_kept, searcher
from simulations.population import Person, crowd, owner_of_many, people

T = TypeVar("T")
Kind = Literal["object", "style"]
KINDS: Final[tuple[Kind, ...]] = ("object", "style")
GRADIENT, REFERENCE, ALONE = "gradient", "published (ZOODiP)", "ours, no prior"
WHOLE = f"{REFERENCE}, its own budget"
"""The published algorithm for as many forwards as its paper spends."""
BORROWED = "others' token, unsearched"
"""What others can know of a style at most: the gradient's token of many pictures of it, none of them a newcomer's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many people, and how long their searches."""

    others: tuple[int, ...]
    """Sizes of the priors; each is of the first so many of the same people."""
    redrawn: tuple[int, ...]
    """Sizes of priors of more people than learned: drawn from them with replacement."""
    epsilons: tuple[float, ...]
    borrowed: int
    """Pictures of the style that one token is learned from, for everybody to take as it is."""
    newcomers: int
    """Of each kind."""
    foremost: int
    """When everybody has searched by the gradient, as published (for longer too, where everybody is to), and with and
    without priors that nothing was added to, so many search in every other way too; then the others."""
    descent: int
    """Steps of the gradient."""
    forwards: int
    published: int
    """Budget of the published algorithm and of evolution."""
    patient: dict[Kind, dict[int, int]]
    """By kind and longer budget of the published algorithm, how many newcomers it has that for. `PUBLISHED_FORWARDS`,
    its own, take half an hour of a core each."""
    taught: dict[str, int]
    """Budget of the people whom priors are made of."""
    minutes: float
    """No search is begun later: what is missing then is left out, and the next run goes on with it."""


SMALL = Size(
    others=(8,),
    redrawn=(),
    epsilons=(1.0,),
    borrowed=12,
    newcomers=1,
    foremost=1,
    descent=30,
    forwards=240,
    published=240,
    patient={},
    taught={"object": 104, "style": 104},
    minutes=60,
)
FULL = Size(
    others=(30, 100, 300),
    redrawn=(1000,),
    epsilons=(1.0, 4.0, 8.0),
    borrowed=100,
    newcomers=30,
    foremost=5,
    descent=120,
    forwards=1000,
    published=3000,
    patient={"style": {20_000: 30, PUBLISHED_FORWARDS: 6}},
    taught={"object": 160, "style": 240},
    minutes=90,
)


FIRST: Final = (
    Search(name=GRADIENT, way="gradient"),
    Search(name=ALONE, way="ours"),
    Search(name=REFERENCE, way="published"),
    Search(name="ours, no lexicon", way="no lexicon"),
)
LATER: Final = (Search(name="ours, random axes", way="random axes"), Search(name="evolution (CMA-ES)", way="evolution"))


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


def run(*, full: bool, seed: int, kept: Path = KEPT) -> Report:
    """Run the benchmark on objects and on styles."""
    size, told, end = FULL if full else SMALL, Console(stderr=True), time.time()
    end += 60 * size.minutes
    trial = trial_of(size, kept)
    searcher(kept)  # its int8 shards are made once, not by every worker
    newcomers = people(size.newcomers, size.newcomers, seed)
    searches: dict[Kind, list[Search]] = {}
    needed: list[str] = []
    with ProcessPoolExecutor(2, get_context("spawn"), initializer=quiet) as pool:
        for kind in KINDS:
            learned = learned_by_crowd(pool, trial, kind, newcomers, size, seed, told)
            searches[kind] = priors(learned, kind, trial, size, seed)
            needed += first_priors(learned, kind, trial, size, seed)
        owner = owner_of_many(newcomers, size.borrowed, seed)
        searches["style"].insert(0, Search(name=BORROWED, way="borrowed", owner=owner))
        raced = race(pool, trial, newcomers, searches, size, seed, end, told)
    return report(raced, needed, size, seed, full=full)


def trial_of(size: Size, kept: Path) -> Trial:
    """Return how long everybody searches."""
    return Trial(kept=kept, descent=size.descent, forwards=size.forwards, published=size.published, taught=size.taught)


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
    return np.stack(_counted(found, len(crowded), f"people learn, {kind}", told)).astype(np.float64)


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
    """Let newcomers learn in every way, until it is ``end`` on the clock.

    They take turns, and what matters most comes first (`in_turn`): whenever it ends, as many of each kind were
    measured.
    """
    longer = {kind: longer_searches(size, kind) for kind in KINDS}
    tasks = in_turn(newcomers, searches, longer, size)
    everybody, ways = zip(*tasks, strict=True)
    reached = pool.map(_in_time, [trial] * len(tasks), everybody, ways, [end] * len(tasks))
    measured = _counted(reached, len(tasks), "searches", told)
    raced = []
    for kind in KINDS:
        for search in (*FIRST, *longer[kind].values(), *LATER, *searches[kind]):
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
    by_kind = _by_kind(newcomers)
    turns = [person for both in zip(*by_kind.values(), strict=True) for person in both]
    foremost = turns[: len(KINDS) * size.foremost]
    main, then = (ALONE, largest(size), BORROWED), (*without_noise(size), REFERENCE)

    def late(task: tuple[Person, Search]) -> int:
        person, search = task
        if search.name == GRADIENT:  # what all others are measured by: two at once would both compute it
            return 0
        if search.name in main:
            return 1
        if search.name in then:
            return 2
        if search.patience is not None:
            return 3 if size.patient[person.kind][search.patience] == size.newcomers else 6
        return 4 if person in foremost else 5

    tasks = [(person, search) for person in turns for search in (*FIRST, *searches[person.kind], *LATER)]
    for kind, some in longer.items():
        for budget, search in some.items():
            tasks += [(person, search) for person in by_kind[kind][: size.patient[kind][budget]]]
    return sorted(tasks, key=late)  # stable: turns stay


def _in_time(trial: Trial, person: Person, search: Search, end: float) -> Found | None:
    """Search, unless it is too late to begin; what was found earlier is always in time."""
    return found(trial, person, search) if time.time() < end or is_kept(trial, person, search) else None


def _by_kind(newcomers: Sequence[Person]) -> dict[Kind, list[Person]]:
    return {kind: [person for person in newcomers if person.kind == kind] for kind in KINDS}


def _counted(results: Iterable[T], count: int, what: str, told: Console, every: float = 60) -> list[T]:
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


def report(raced: Sequence[Raced], needed: Sequence[str], size: Size, seed: int, *, full: bool) -> Report:
    """Put the medians side by side, and the promises beside them."""
    ratios: dict[str, float] = {}
    bars: list[Bar] = []
    for kind in KINDS:
        by_name = {each.search.name: each for each in raced if each.kind == kind}
        for name, bound in ((ALONE, 1 / 3), (largest(size), 1 / 10)):
            if name not in by_name or REFERENCE not in by_name:  # no prior yet, or no time
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


def beside_published(
    mine: Raced, by_name: dict[str, Raced], size: Size
) -> tuple[tuple[float, float, float], list[Bar]]:
    """Hold a search against the published algorithm's of all budgets that as many ran.

    Returns:
        Median forwards to target over those of the longest, with an interval: who did not meet it counts as its budget;
        and what is promised of end shares, beside every budget.
    """
    ratio, ends, everybody = (math.inf, math.inf, math.inf), [], len(by_name[REFERENCE].found)
    budgets = {each.name: forwards for forwards, each in longer_searches(size, mine.kind).items()}
    for name, budget in {REFERENCE: size.published, **budgets}.items():
        rival = by_name.get(name)
        if rival is None or len(rival.found) < everybody:
            continue
        ratio, gained = compared(mine, rival, budget)
        what = f"{mine.kind}: median end share, {mine.search.name}, less the published"
        what += f", {budget:,} forwards" if name in budgets else ""
        ends.append(Bar.known(what, gained, 0.0, "at least"))
    return ratio, ends


def longer_searches(size: Size, kind: Kind) -> dict[int, Search]:
    """Return the published algorithm's searches with longer budgets than everybody's, by budget, the shortest first."""
    return {
        forwards: Search(name=as_published(forwards), way="published", patience=forwards)
        for forwards in sorted(size.patient.get(kind, {}))
    }


def as_published(forwards: int) -> str:
    """Return the name of the published algorithm's search with a longer budget than everybody's."""
    return WHOLE if forwards == PUBLISHED_FORWARDS else f"{REFERENCE}, {forwards:,} forwards"


def largest(size: Size) -> str:
    """Return the name of the search with the prior of the most people who learned."""
    return with_prior(size.others[-1])


def without_noise(size: Size) -> list[str]:
    """Return the names of the searches with priors that no noise was added to."""
    return [*map(with_prior, size.others), *(with_prior(count, redrawn=True) for count in size.redrawn)]


def with_prior(count: int, *, redrawn: bool = False) -> str:
    """Return the name of the search with a prior of so many people."""
    return f"ours, prior of {count:,}" + (" (redrawn)" if redrawn else "")


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


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
