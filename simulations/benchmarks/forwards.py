"""``forwards``: forward passes to target by the published algorithm, by others', and by ours with and without a prior.

The same pictures, seeds, engine and evaluation draws for all searches of a newcomer. The priors are made of people who
learned with forward passes only, by the same statistics and the same update as a federation's, without noise.
"""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from client.contribution import Announcement, contribution
from client.learn.settings import Settings
from client.quiet import quiet
from common.prior import Prior
from server.update import RoundSum, next_prior
from simulations.basis import public_basis
from simulations.benchmarks.framework import Bar, Report
from simulations.demo import MODEL, quartiles
from simulations.population import Person, people, write_pictures
from simulations.trials import Course, evolution, ours, reference, target_of
from simulations.vaults import virtual_vault
from simulations.work import NAME, Job, engine_of, latents_of, learn_and_keep

CLIP, DIRECTIONS = 4.0, 16
"""As an operator's defaults are (`server.settings.RunSettings`)."""

Kind = Literal["object", "style"]
REFERENCE, ALONE = "published (ZOODiP)", "ours, no prior"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many people, and how long their searches."""

    others: tuple[int, ...]
    """Sizes of the priors; each is of the first so many of the same people."""
    newcomers: int
    """Of each kind."""
    forwards: int
    reference_budget: int


SMALL = Size(others=(8,), newcomers=1, forwards=240, reference_budget=300)
FULL = Size(others=(30, 90), newcomers=30, forwards=400, reference_budget=4000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """One newcomer's searches: forwards to target, and what share of the gradient's improvement each ended with."""

    kind: Kind
    reached: dict[str, int | None]
    shares: dict[str, float]


def run(*, full: bool, seed: int) -> Report:
    """Run the benchmark on objects and on styles."""
    size = FULL if full else SMALL
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            model=MODEL,
            people=Path(folder),
            settings=Settings(forwards=size.forwards),
            reference_budget=size.reference_budget,
        )
        everyone = people(size.others[-1] + size.newcomers, size.others[-1] + size.newcomers, seed)
        for person in everyone:
            write_pictures(person, job.people / str(person.number) / "photos")
        with ProcessPoolExecutor(2, get_context("spawn"), initializer=quiet) as pool:
            races = [race for kind in ("object", "style") for race in _races(pool, job, everyone, kind, size)]
    return report(races, size, seed, full=full)


def _races(pool: ProcessPoolExecutor, job: Job, everyone: Sequence[Person], kind: Kind, size: Size) -> list[Race]:
    found = [person for person in everyone if person.kind == kind]
    others, newcomers = found[: size.others[-1]], found[size.others[-1] :]
    list(pool.map(learn_and_keep, [job] * len(others), others))
    priors = {f"ours, prior of {count}": prior_of(job, others[:count], kind) for count in size.others}
    return list(pool.map(race, [job] * len(newcomers), newcomers, [priors] * len(newcomers)))


def race(job: Job, person: Person, priors: dict[str, Prior | None]) -> Race:
    """Let one newcomer learn in every way."""
    engine, yardstick = engine_of(job.model, int8=True), engine_of(job.model, int8=False)
    latents, word, kind, seed = latents_of(engine, job, person), person.class_word, person.kind, person.number
    target = target_of(yardstick, engine, latents, engine.anchor(word), kind, seed)
    settings = replace(job.settings, seed=seed)
    wordless = copy.copy(engine)
    wordless.lexicon = None
    courses: dict[str, Course] = {
        REFERENCE: reference(engine, latents, word, kind, target, job.reference_budget, seed),
        "evolution (CMA-ES)": evolution(engine, latents, word, kind, target, job.reference_budget, seed),
        "ours, no lexicon": ours(wordless, latents, word, kind, target, settings, None)[0],
        ALONE: ours(engine, latents, word, kind, target, settings, None)[0],
    }
    for name, prior in priors.items():
        courses[name] = ours(engine, latents, word, kind, target, settings, prior)[0]
    whole = target.anchor_loss - target.gradient_loss
    return Race(
        kind=kind,
        reached={name: course.reached for name, course in courses.items()},
        shares={name: (target.anchor_loss - course.points[-1][1]) / whole for name, course in courses.items()},
    )


def prior_of(job: Job, others: Sequence[Person], kind: Kind) -> Prior | None:
    """Make a prior of people's tokens as one round without noise would."""
    engine = engine_of(job.model, int8=True)
    basis = public_basis(engine).astype(np.float64)
    announced = Announcement(
        round_id="benchmark",
        backbone=engine.fingerprint,
        kind=kind,
        prior_version=0,
        public_basis=basis,
        cohorts=(),
        clip=CLIP,
    )
    total: NDArray[np.float64] = np.sum([_vector(job, person, announced) for person in others], axis=0)
    return next_prior(
        None,
        [RoundSum(round_id="benchmark", total=total, clip=announced.clip)],
        backbone=engine.fingerprint,
        kind=kind,
        public_basis=basis,
        minimum_people=2,
        max_directions=DIRECTIONS,
        cohorts=1,
        created="2026-01-01T00:00:00Z",
    )


def _vector(job: Job, person: Person, announced: Announcement) -> NDArray[np.float64]:
    return contribution(virtual_vault(job.people / str(person.number)).concept(NAME).displacement, announced)


def report(races: list[Race], size: Size, seed: int, *, full: bool) -> Report:
    """Put the medians side by side."""
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    bars: list[Bar] = []
    for kind in ("object", "style"):
        some = [race for race in races if race.kind == kind]
        for search in some[0].reached:
            forwards = [race.reached[search] for race in some]
            share = float(np.median([race.shares[search] for race in some]))
            rows.append({"kind": kind, "search": search} | quartiles(forwards) | {"of": len(some), "end share": share})
        medians = {row["search"]: row["median"] or float("inf") for row in rows if row["kind"] == kind}
        last = list(medians)[-1]
        for search, bound in ((ALONE, 1 / 3), (last, 1 / 10)):
            ratio = _ratio(medians[search], medians[REFERENCE], size)
            what = f"{kind}: median forwards to target, {search}, over the published"
            bars.append(Bar(what, ratio, bound, "at most"))
            if math.isfinite(ratio):
                ratios[f"{kind}: {search} / published"] = ratio
        if math.isfinite(medians[last]) and math.isfinite(medians[ALONE]):
            ratios[f"{kind}: {last} / no prior"] = medians[last] / medians[ALONE]
    notes = [
        (
            f"budgets {size.forwards} forwards, the published algorithm and evolution {size.reference_budget}; "
            "an empty quartile never met the target within its budget, and a ratio to it counts it as its budget"
        ),
        "end share: median share of the gradient's improvement that a search's last measured token attains",
        "the lexicon is made once for a backbone and costs 2,900 forwards more, which no person spends",
    ]
    return Report(name="forwards", seed=seed, full=full, rows=rows, ratios=ratios, bars=bars, notes=notes)


def _ratio(forwards: float, published: float, size: Size) -> float:
    """Return how many forwards a search needs for each of the published algorithm's, whose budget bounds it."""
    return forwards / min(published, size.reference_budget)
