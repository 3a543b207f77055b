"""Priors of what people learned, with the noise of real rounds or without any, for benchmarks.

By the same statistics and the same update as a federation's, without its messages.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from client.contribution import Announcement, contribution
from common.crowd import colluders
from common.errors import PriorError
from common.prior import Kind, Prior
from common.privacy import noise_variance
from common.statistics import block_length
from server.rounds import TOLERANCE, planned
from server.settings import CLIPS, MOST_PEOPLE
from server.update import RoundSum, next_prior

DIRECTIONS: Final = 16
"""Most directions of a cohort, as an operator's default is."""
DELTA: Final = 1e-6


def rounds_noise(epsilon: float, people: int, dimensions: int) -> float:
    """Give the variance of each number of the total of all rounds, in units of the sum squared.

    Rounds are as large as can be (`MOST_PEOPLE`), each with the noise planned for it at ``epsilon`` and `DELTA`.
    That is what one person's contribution costs.
    """
    if math.isinf(epsilon):
        return 0.0
    size = min(people, MOST_PEOPLE)
    fewest = max(8, math.ceil((1 - TOLERANCE) * size))
    length = block_length(dimensions)
    mechanism = planned(length=length, people=size, honest=fewest - colluders(size), epsilon=epsilon, delta=DELTA)
    return noise_variance(mechanism, size) * math.ceil(people / size)


def prior_of(
    displacements: NDArray[np.floating],
    kind: Kind,
    *,
    backbone: str,
    public_basis: NDArray[np.float64],
    epsilon: float = math.inf,
    clip: float | None = None,
    seed: int = 0,
    copies: NDArray[np.int64] | None = None,
) -> Prior | None:
    """Return the prior of so many people's displacements; None where a server would say "no prior yet".

    Args:
        displacements: shape (people, width).
        kind: of what they taught.
        backbone: SHA-256 (hex) of the weights.
        public_basis: P, shape (width, dimensions).
        epsilon: what a round costs each of its people; infinite is no noise.
        clip: C, in units of the embedding; None for an operator's default.
        seed: of the noise.
        copies: how many people have each of the displacements, shape (people,); one each unless it is said.
    """
    if clip is None:
        clip = CLIPS[kind]
    announced = Announcement(
        round_id="benchmark",
        backbone=backbone,
        kind=kind,
        prior_version=0,
        public_basis=public_basis,
        cohorts=(),
        clip=clip,
    )
    people = len(displacements) if copies is None else int(copies.sum())
    each = [contribution(displacement, announced) for displacement in displacements]
    total: NDArray[np.float64] = np.sum(each, axis=0) if copies is None else copies.astype(np.float64) @ np.array(each)
    variance = rounds_noise(epsilon, people, public_basis.shape[1])
    total += math.sqrt(variance) * np.random.default_rng(seed).standard_normal(len(total))
    summed = RoundSum(
        round_id="benchmark",
        total=total,
        clip=clip,
        people=people if variance else None,
        noise_variance=variance,
    )
    try:
        return next_prior(
            None,
            [summed],
            backbone=backbone,
            kind=kind,
            public_basis=public_basis,
            minimum_people=2,
            max_directions=DIRECTIONS,
            cohorts=1,
            created="2026-01-01T00:00:00Z",
        )
    except PriorError:  # the server would leave such a sum out
        return None


def people_for_a_prior(
    displacements: NDArray[np.floating],
    kind: Kind,
    *,
    backbone: str,
    public_basis: NDArray[np.float64],
    epsilon: float,
    clip: float | None = None,
    seed: int = 0,
) -> int | None:
    """Return how many people it takes until there is a first prior: 125 times a power of two; None above a million.

    People are drawn from those who learned, with replacement; arguments are `prior_of`'s.
    """
    drawn = np.random.default_rng(seed)
    odds = np.full(len(displacements), 1 / len(displacements))
    for people in (125 << power for power in range(14)):
        copies = drawn.multinomial(people, odds)
        found = prior_of(
            displacements,
            kind,
            backbone=backbone,
            public_basis=public_basis,
            epsilon=epsilon,
            clip=clip,
            seed=seed,
            copies=copies,
        )
        if found is not None:
            return people
    return None
