"""How two versions of a prior differ, in numbers that an operator can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from server.sanity import mixture_covariance, mixture_mean

if TYPE_CHECKING:
    from common.prior import Prior


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """From one version to another."""

    people: int
    rounds_added: tuple[str, ...]
    rounds_removed: tuple[str, ...]
    cohorts: tuple[int, int]
    directions: tuple[int, int]
    mean_moved: float
    """Distance of the means over √(total variance of the first): 1 is as far as a person typically is from the mean."""
    variance_ratio: float
    """Total variance of the second over that of the first."""
    angle: float
    """Largest principal angle between the leading directions of both, in degrees; 0 for the same subspace."""


def difference(first: Prior, second: Prior) -> Difference:
    """Compare two versions over the same public basis."""
    before, after = mixture_covariance(first), mixture_covariance(second)
    moved = float(np.linalg.norm(mixture_mean(second) - mixture_mean(first)))
    return Difference(
        people=second.people - first.people,
        rounds_added=tuple(sorted(set(second.rounds) - set(first.rounds))),
        rounds_removed=tuple(sorted(set(first.rounds) - set(second.rounds))),
        cohorts=(len(first.cohorts), len(second.cohorts)),
        directions=(directions(first), directions(second)),
        mean_moved=moved / float(np.sqrt(np.trace(before))),
        variance_ratio=float(np.trace(after) / np.trace(before)),
        angle=_angle(first, second),
    )


def directions(prior: Prior) -> int:
    """Count the directions of all cohorts."""
    return sum(len(cohort.spectrum) for cohort in prior.cohorts)


def _angle(first: Prior, second: Prior) -> float:
    """Compare the spans of the largest cohorts' directions, as many as both have (Björck and Golub 1973)."""
    bases = [prior.largest.basis for prior in (first, second)]
    kept = min(basis.shape[1] for basis in bases)
    if kept == 0:
        return 0.0
    cosines = np.linalg.svd(bases[0][:, :kept].T @ bases[1][:, :kept], compute_uv=False)
    return float(np.degrees(np.arccos(np.clip(cosines.min(), -1.0, 1.0))))
