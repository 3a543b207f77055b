"""``update``: how well the next prior finds the directions in which people differ, by how many there are and by ε.

People are drawn from one Gaussian of four known directions in 16 dimensions; their sums carry the noise that rounds of
128 people at that ε have. The error is the mean over the true directions of sin² of the angle to the prior's leading
four; a direction that the prior does not keep counts 1. Beside it stands the least that is possible to first order:

    sin² ≥ (p − k) (λ ρ / n + v / 2n²) / (λ − ρ)²

the intrinsic Cramér-Rao bound of subspaces (Smith, IEEE Trans. Signal Process. 53(5), 2005, section IV) for n people
without noise, plus what noise of variance v in each number of svec(Σ x xᵀ) turns a direction by (Davis and Kahan; the
same as 1 − cos² of Benaych-Georges and Nadakuditi, Adv. Math. 227, 2011). An unbiased estimate that keeps everything
would meet it; one that keeps only what stands above the noise is worse where the noise hides a direction.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from common.statistics import svec
from server.update import RoundSum, next_prior
from simulations.benchmarks.framework import Bar, Report, Value
from simulations.benchmarks.priors import rounds_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIMENSIONS: Final = 16
CLIP: Final = 1.0
SPECTRUM: Final = np.array([0.08, 0.04, 0.02, 0.01])
RESIDUAL: Final = 0.002
"""People are of mean length 0.42, so that the clip cuts off one in a thousand."""
SIZES: Final = (30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
EPSILONS: Final = (math.inf, 4.0, 1.0)
REPEATS: Final = (3, 12)
"""Populations for each cell: short form, long form."""


def run(*, full: bool, seed: int) -> Report:
    """Fit to each number of people and ε."""
    rng = np.random.default_rng(seed)
    cells = [(epsilon, people) for epsilon in EPSILONS for people in SIZES]
    rows = [_cell(epsilon, people, REPEATS[full], rng) for epsilon, people in cells]
    exact = [row for row in rows if row["epsilon"] is None and row["people"] and int(row["people"]) >= 1_000]
    most = max(_number(row["error"]) / _number(row["least"]) for row in exact)
    noisy = {row["people"]: row for row in rows if row["epsilon"] == 1.0}
    return Report(
        name="update",
        seed=seed,
        full=full,
        rows=rows,
        ratios={
            "error over the least possible, no noise, from 1,000 people on, at most": most,
            "the same at epsilon 1 and 100,000 people": _number(noisy[100_000]["error"])
            / _number(noisy[100_000]["least"]),
        },
        bars=[Bar("error over the least possible without noise, from 1,000 people on", most, 1.5, "at most")],
        notes=[
            f"{DIMENSIONS} dimensions, clip {CLIP:g}, true variances {SPECTRUM.tolist()} above {RESIDUAL:g}",
            "people: in rounds of 128 at most, each with the noise planned for it; 30 are one round of 30",
            "error: mean sin² to the prior's first four directions, mean over populations; 1 for one that is not kept",
            "no prior yet: in this share of the populations, where the error is 1",
            "least: to first order, at most 1; see the module",
        ],
    )


def _cell(epsilon: float, people: int, repeats: int, rng: np.random.Generator) -> dict[str, Value]:
    variance = rounds_noise(epsilon, people, DIMENSIONS)
    found = [_fit(people, variance, rng) for _ in range(repeats)]
    errors = [1.0 if basis is None else _error(*basis) for basis in found]
    kept = [0 if basis is None else min(basis[0].shape[1], len(SPECTRUM)) for basis in found]
    return {
        "epsilon": epsilon if math.isfinite(epsilon) else None,
        "people": people,
        "error": round(float(np.mean(errors)), 7),
        "least": round(least(people, variance), 7),
        "kept": round(float(np.mean(kept)), 2),
        "no prior yet": round(sum(basis is None for basis in found) / repeats, 2),
    }


def _fit(
    people: int, variance: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Draw people, sum them up and fit; the prior's basis and the true one, or None while there is no prior."""
    truth = np.linalg.qr(rng.standard_normal((DIMENSIONS, DIMENSIONS)))[0][:, : len(SPECTRUM)]
    rows = math.sqrt(RESIDUAL) * rng.standard_normal((people, DIMENSIONS))
    rows += (rng.standard_normal((people, len(SPECTRUM))) * np.sqrt(SPECTRUM - RESIDUAL)) @ truth.T
    rows *= np.minimum(1.0, CLIP / np.linalg.norm(rows, axis=1, keepdims=True))
    total = np.concatenate(([float(people)], rows.sum(axis=0) / CLIP, svec(rows.T @ rows) / CLIP**2))
    total += math.sqrt(variance) * rng.standard_normal(len(total))
    prior = next_prior(
        None,
        [RoundSum(round_id="all", total=total, clip=CLIP, people=people, noise_variance=variance)],
        backbone="ab" * 32,
        kind="object",
        public_basis=np.eye(DIMENSIONS),
        minimum_people=8,
        max_directions=DIMENSIONS,
        cohorts=1,
        created="2025-01-31T12:00:00+00:00",
    )
    return None if prior is None else (prior.cohorts[0].basis, truth)


def _error(basis: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    inside = basis[:, : len(SPECTRUM)].T @ truth
    return 1 - float(np.sum(inside**2)) / len(SPECTRUM)


def least(people: int, variance: float) -> float:
    """Give the least error possible to first order, as the module states it; the mean over the true directions."""
    others = DIMENSIONS - len(SPECTRUM)
    turned = SPECTRUM * RESIDUAL / people + variance * CLIP**4 / (2 * people**2)
    return float(np.minimum(1.0, others * turned / (SPECTRUM - RESIDUAL) ** 2).mean())


def _number(value: Value) -> float:
    return float(value) if value is not None else math.nan
