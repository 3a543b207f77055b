"""How likely is it that this came from that person? The likelihood ratio behind membership and matching.

LiRA (Carlini, Chien, Nasr, Song, Terzis and Tramèr, IEEE S&P 2022, arXiv:2112.03570, section 4): model what the
adversary observes by one Gaussian if the candidate is behind it and by another if somebody else is, fitted on people
whose secrets the adversary knows ("shadows"), and score by the ratio. Here the Gaussians are those of two learnings
of one concept (as in probabilistic linear discriminant analysis: Ioffe, ECCV 2006), by coordinates: with μ and s² the
population's mean and variance and κ the correlation between two learnings of one person's concept, given a reference
r an observation y = x + N(0, ν²) is

    candidate      y ~ N(μ + κ (r − μ), s² (1 − κ²) + ν²)
    somebody else  y ~ N(μ, s² + ν²)

s² and κ are fitted once for each block of coordinates: with a few dozen shadows, whitening hundreds of coordinates
one by one made the attack worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_CLOSEST: Final = 1 - 1e-3
"""No reference is taken to be nearer to the truth than this: an adversary must not be surer than its model."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Population:
    """What the adversary learned from its shadows; all of shape (width,)."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    correlation: NDArray[np.float64]
    """κ."""


def fit(first: NDArray[np.float64], second: NDArray[np.float64], blocks: Sequence[int]) -> Population:
    """Fit the model on shadows.

    Args:
        first: what shadows' devices hold, shape (shadows, width).
        second: what else is known of the same people, the same shape.
        blocks: widths of the blocks, adding up to the width.
    """
    both = np.concatenate((first, second))
    mean, spread = both.mean(axis=0), both.var(axis=0, ddof=1)
    together = ((first - mean) * (second - mean)).mean(axis=0)
    variance, correlation = np.empty(len(mean)), np.empty(len(mean))
    for start, end in pairwise(np.cumsum((0, *blocks))):
        here = slice(start, end)
        variance[here] = spread[here].mean()
        correlation[here] = np.clip(together[here].mean() / spread[here].mean(), 0.0, _CLOSEST)
    return Population(mean=mean, variance=variance, correlation=correlation)


def log_ratios(
    population: Population,
    observed: NDArray[np.float64],
    references: NDArray[np.float64],
    noise: NDArray[np.float64] | float,
) -> NDArray[np.float64]:
    """Score each observation with each reference; shape (observations, references).

    Args:
        population: the model.
        observed: y, shape (observations, width).
        references: r, shape (references, width).
        noise: ν², of all coordinates or of each, shape (width,).
    """
    centred = observed - population.mean
    expected = population.correlation * (references - population.mean)
    alien = population.variance + noise
    own = population.variance * (1 - population.correlation**2) + noise
    cross = (centred / own) @ expected.T
    here = np.sum(centred**2 * (1 / alien - 1 / own) + np.log(alien / own), axis=1)
    there = np.sum(expected**2 / own, axis=1)
    return np.asarray(cross + 0.5 * (here[:, None] - there[None, :]), dtype=np.float64)


def top_one(scores: NDArray[np.float64]) -> float:
    """Give the share of observations whose own reference, in the same place, scores best: shape (n, n)."""
    return float(np.mean(scores.argmax(axis=1) == np.arange(len(scores))))


def detected(inside: NDArray[np.float64], outside: NDArray[np.float64], false_alarms: float) -> float:
    """Give the share of members found at that rate of false alarms: the measure that LiRA asks for.

    Args:
        inside: scores of those who are behind what was observed.
        outside: scores of those who are not.
        false_alarms: highest rate.
    """
    allowed = int(false_alarms * len(outside))
    threshold = np.sort(outside)[len(outside) - 1 - allowed]
    return float(np.mean(inside > threshold))
