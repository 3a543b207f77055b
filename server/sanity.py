"""Whether a round's sum looks like people's: what makes the server withhold it, in words for the operator.

Clipping bounds what any one device can add; nothing bounds what many devices add together, and masks hide who they are.
What is left to look at is the sum itself (design, section 4). It is compared with itself, where it is absurd for any
population, and with what rounds of as many people would leave if they were those of the earlier rounds: a parametric
bootstrap (Efron 1979) of the fitted mixture, clipped and noised as announced. Population drift is expected, so only
what lies far outside is withheld, and the operator decides.

A few devices among many stay below this, and within the clip: tests/statistical/test_sanity.py says which are noticed.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from common.errors import PriorError
from common.mixture import total
from common.statistics import Moments, block_length
from server.update import read_sum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.prior import Prior
    from server.update import RoundSum

DRAWS: Final = 200
"""Simulated rounds: enough for a mean and a standard deviation of each statistic."""
SURPRISE: Final = 6.0
"""Standard deviations above simulated rounds that are withheld; how often honest rounds are, and poisoned ones are not,
is measured in tests/statistical/test_sanity.py."""
_FREEDOM: Final = 4.0
"""Of Student's t: simulated people have its tails and the prior's covariance, since displacements have heavier tails
than a Gaussian, and a single odd person must not look like poison."""
_CROWD: Final = 4096
"""People drawn once, from whom the rounds are drawn."""
_SURE: Final = 4.0
"""Standard deviations of the noise by which a sum must be absurd before it is called so."""
_FULL: Final = 0.9
"""Mean squared norm, over C²: above it nearly everybody was cut off by the clip."""
_NOTHING: Final = 1e-6
"""The same: below it nobody moved at all."""
_ALIKE: Final = 1e-3
"""Total variance over mean squared norm: below it everybody said the same."""


def suspicions(item: RoundSum, previous: Prior | None, earlier: Moments | None, *, dimensions: int) -> list[str]:
    """Say what is wrong with a round's sum; nothing, if it looks like people.

    Args:
        item: the sum.
        previous: the prior made of the earlier rounds, if there is one.
        earlier: all earlier rounds together, if there are any.
        dimensions: p.
    """
    try:
        found = total(read_sum(item, dimensions, max(1, len(item.total) // block_length(dimensions))))
    except PriorError as error:
        return [str(error)]
    absurd = _absurd(found, item.clip)
    if absurd or previous is None or earlier is None:
        return absurd
    seed = np.frombuffer(hashlib.sha256(item.round_id.encode()).digest(), np.uint32)
    return _unlike(found, earlier, previous, item.clip, np.random.default_rng(seed))


def _absurd(found: Moments, bound: float) -> list[str]:
    """Look for what no population would do."""
    people, dimensions = found.people, len(found.sum_x)
    power, slack = float(np.trace(found.sum_xx)) / people, _SURE * math.sqrt(dimensions * found.noise.sum_xx) / people
    spread = power - float(found.sum_x @ found.sum_x) / people**2
    if power - slack > _FULL * bound**2:
        return [
            f"nearly all of {people:.0f} people were cut off by the clip of {bound:g}: garbage, or a clip too small"
        ]
    if power + slack < _NOTHING * bound**2:
        return [f"{people:.0f} people sent zeros"]
    if spread + slack + _SURE * dimensions * found.noise.sum_x / people**2 < _ALIKE * power:
        return [f"{people:.0f} people sent the same"]
    return []


def _unlike(found: Moments, earlier: Moments, previous: Prior, bound: float, rng: np.random.Generator) -> list[str]:
    """Compare a sum with simulated ones of as many people of the earlier rounds' population."""
    ruler = _ruler(found, earlier, previous)
    crowd = draw_people(previous, _CROWD, bound, rng)
    observed = _measure(found, earlier, ruler)
    simulated = np.array([_measure(*_simulate(found, earlier, crowd, rng), ruler) for _ in range(DRAWS)])
    scores = (observed - simulated.mean(axis=0)) / np.maximum(simulated.std(axis=0), 1e-12)
    scores[0] = abs(scores[0])  # too little length is as strange as too much
    names = ("their mean squared length", "their mean", "a direction of theirs")
    strange = [
        f"{name} by {score:.0f} standard deviations"
        for name, score in zip(names, scores, strict=True)
        if not score < SURPRISE
    ]
    return [f"unlike {found.people:.0f} of the earlier people: {', '.join(strange)}"] if strange else []


def _simulate(
    found: Moments, earlier: Moments, crowd: NDArray[np.float64], rng: np.random.Generator
) -> tuple[Moments, Moments]:
    """Draw a round's moments, and those of the earlier rounds, both with their noise."""
    rows = crowd[rng.integers(len(crowd), size=max(1, round(found.people)))]
    now = Moments(float(len(rows)), rows.sum(axis=0), rows.T @ rows)
    # The earlier people's mean varies by Σ/N: a sample of n, of which the deviation is scaled by √(n/N).
    again = crowd[rng.integers(len(crowd), size=len(rows))]
    shrink, count = math.sqrt(len(rows) / earlier.people), earlier.people
    mean = crowd.mean(axis=0) + shrink * (again.mean(axis=0) - crowd.mean(axis=0))
    second = crowd.T @ crowd / len(crowd)
    second = second + shrink * (again.T @ again / len(again) - second)
    return _noised(now, found, rng), _noised(Moments(count, count * mean, count * second), earlier, rng)


def _noised(moments: Moments, like: Moments, rng: np.random.Generator) -> Moments:
    """Add noise as in another group's sums."""
    dimensions = len(moments.sum_x)
    matrix = math.sqrt(like.noise.sum_xx) * rng.standard_normal((dimensions, dimensions))
    return moments._replace(
        sum_x=moments.sum_x + math.sqrt(like.noise.sum_x) * rng.standard_normal(dimensions),
        sum_xx=moments.sum_xx + (matrix + matrix.T) / 2,
    )


def _measure(now: Moments, before: Moments, ruler: _Ruler) -> NDArray[np.float64]:
    """Give how mean squared lengths differ, how far the means are apart, and the largest variance; shape (3,)."""
    mean, centre = now.sum_x / now.people, before.sum_x / before.people
    power = float(np.trace(now.sum_xx)) / now.people - float(np.trace(before.sum_xx)) / before.people
    step = ruler.of_means @ (mean - centre)
    cross = np.outer(mean, centre)
    around = ruler.of_people @ (now.sum_xx / now.people - cross - cross.T + np.outer(centre, centre)) @ ruler.of_people
    return np.array([power, math.sqrt(float(step @ step)), float(np.linalg.eigvalsh((around + around.T) / 2)[-1])])


class _Ruler(NamedTuple):
    """Units: shapes (p, p)."""

    of_means: NDArray[np.float64]
    """Undoes the covariance of the difference of two means."""
    of_people: NDArray[np.float64]
    """Undoes people's covariance, or where noise hides it, the noise's."""


def _ruler(found: Moments, earlier: Moments, previous: Prior) -> _Ruler:
    covariance = mixture_covariance(previous)
    dimensions, share = len(covariance), 1 / found.people + 1 / earlier.people
    entry = found.noise.sum_x / found.people**2 + earlier.noise.sum_x / earlier.people**2
    hidden = math.sqrt(2 * dimensions * found.noise.sum_xx) / found.people
    return _Ruler(
        of_means=_inverse_root(covariance * share + entry * np.eye(dimensions)),
        of_people=_inverse_root(covariance + hidden * np.eye(dimensions)),
    )


def _inverse_root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors / np.sqrt(np.maximum(values, 1e-12))) @ vectors.T, dtype=np.float64)


def mixture_mean(prior: Prior) -> NDArray[np.float64]:
    """Give the mean of the whole mixture; shape (p,)."""
    return np.asarray(np.sum([cohort.weight * cohort.mean for cohort in prior.cohorts], axis=0), dtype=np.float64)


def mixture_covariance(prior: Prior) -> NDArray[np.float64]:
    """Give the covariance of the whole mixture, within cohorts and between them; shape (p, p)."""
    centre = mixture_mean(prior)
    dimensions = len(centre)
    parts = []
    for cohort in prior.cohorts:
        within = (cohort.basis * (cohort.spectrum - cohort.residual)) @ cohort.basis.T + cohort.residual * np.eye(
            dimensions
        )
        off = cohort.mean - centre
        parts.append(cohort.weight * (within + np.outer(off, off)))
    return np.asarray(np.sum(parts, axis=0), dtype=np.float64)


def draw_people(prior: Prior, count: int, bound: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw people of a mixture, as clipped; shape (count, p)."""
    weights = np.array([cohort.weight for cohort in prior.cohorts])
    chosen = rng.choice(len(weights), size=count, p=weights / weights.sum())
    rows = np.empty((count, len(prior.cohorts[0].mean)))
    stretch = np.sqrt((_FREEDOM - 2) / rng.chisquare(_FREEDOM, (count, 1)))
    for index, cohort in enumerate(prior.cohorts):
        here = np.flatnonzero(chosen == index)
        rest = math.sqrt(cohort.residual) * rng.standard_normal((len(here), rows.shape[1]))
        known = rng.standard_normal((len(here), len(cohort.spectrum))) * np.sqrt(cohort.spectrum)
        off = rest - rest @ cohort.basis @ cohort.basis.T + known @ cohort.basis.T
        rows[here] = cohort.mean + stretch[here] * off
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows * np.minimum(1.0, bound / np.maximum(lengths, 1e-300)), dtype=np.float64)
