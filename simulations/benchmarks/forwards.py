"""``forwards``: forward passes to target by the published algorithm, by ours, and by ours with others' prior.

The same pictures, seeds, engine and evaluation draws for all searches of a newcomer. The prior is made of
people who learned with forward passes only, by the same statistics and the same update as a federation's.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.backbone.engine import TorchEngine
from client.contribution import Announcement, contribution
from client.learn.settings import Settings
from client.quiet import quiet
from client.vault import Vault
from common.prior import Prior
from server.update import RoundSum, next_prior
from simulations.basis import public_basis
from simulations.benchmarks.framework import Bar, Report
from simulations.demo import MODEL, SEARCHES, quartiles
from simulations.population import Person, people, write_pictures
from simulations.work import NAME, Comparison, Job, compare, learn_and_keep

CLIP, DIRECTIONS = 4.0, 16
"""As an operator's defaults are (`server.settings.RunSettings`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many people, and how long their searches."""

    others: int
    newcomers: int
    forwards: int
    reference_budget: int


SMALL = Size(others=8, newcomers=2, forwards=320, reference_budget=600)
FULL = Size(others=60, newcomers=12, forwards=Settings().forwards, reference_budget=9000)


def run(*, full: bool, seed: int) -> Report:
    """Run the benchmark on objects."""
    size = FULL if full else SMALL
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            model=MODEL,
            people=Path(folder),
            settings=Settings(forwards=size.forwards),
            reference_budget=size.reference_budget,
        )
        found = people(size.others + size.newcomers, 0, seed)
        for person in found:
            write_pictures(person, job.people / str(person.number) / "photos")
        others, newcomers = found[: size.others], found[size.others :]
        with ProcessPoolExecutor(2, get_context("spawn"), initializer=quiet) as pool:
            list(pool.map(learn_and_keep, [job] * len(others), others))
            prior = prior_of(job, others)
            count = len(newcomers)
            compared = list(pool.map(compare, [job] * count, newcomers, [prior] * count))
    return report(compared, size, seed, full=full)


def prior_of(job: Job, others: list[Person]) -> Prior | None:
    """Make a prior of people's tokens as one round without noise would."""
    engine = TorchEngine(job.model)
    basis = public_basis(engine).astype(np.float64)
    announced = Announcement(
        round_id="benchmark",
        backbone=engine.fingerprint,
        kind="object",
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
        kind="object",
        public_basis=basis,
        minimum_people=2,
        max_directions=DIRECTIONS,
        cohorts=1,
        created="2026-01-01T00:00:00Z",
    )


def _vector(job: Job, person: Person, announced: Announcement) -> NDArray[np.float64]:
    return contribution(Vault(job.people / str(person.number)).concept(NAME).displacement, announced)


def report(compared: list[Comparison], size: Size, seed: int, *, full: bool) -> Report:
    """Put the medians side by side."""
    rows: list[dict[str, Any]] = []
    for search in SEARCHES:
        forwards = [c.forwards[search] for c in compared]
        ends = [_share_reached(c, search) for c in compared]
        rows.append(
            {"search": search} | quartiles(forwards) | {"of": len(compared), "end share": float(np.median(ends))}
        )
    medians = {row["search"]: row["median"] for row in rows}
    ratios = {}
    for search in ("without_prior", "with_prior"):
        top, bottom = medians[search], medians["zoodip_reference"]
        if top and bottom:
            ratios[f"{search} / zoodip_reference"] = top / bottom
    if medians["with_prior"] and medians["without_prior"]:
        ratios["with_prior / without_prior"] = medians["with_prior"] / medians["without_prior"]
    fewer = ratios.get("with_prior / without_prior", float("nan"))
    return Report(
        name="forwards",
        seed=seed,
        full=full,
        rows=rows,
        ratios=ratios,
        bars=[Bar("median forwards to target with the prior, over those without", fewer, 1.0, "below")],
        notes=[
            (
                f"prior of {size.others} people; budgets {size.forwards} forwards, the published algorithm "
                f"{size.reference_budget}; an empty quartile never met the target within its budget"
            ),
            "end share: median share of the gradient's improvement that a search's last measured token attains",
        ],
    )


def _share_reached(comparison: Comparison, search: str) -> float:
    """Return the share of the gradient's improvement at the end of a search."""
    last = comparison.curves[search][-1][1]
    return (comparison.anchor_loss - last) / (comparison.anchor_loss - comparison.gradient_loss)
