"""Exact samples of the discrete Gaussian, with integers alone.

Canonne, Kamath and Steinke (NeurIPS 2020, arXiv:2004.00010v5), Algorithms 1 to 3. N_Z(0, σ²) puts mass proportional to
exp(−x²/2σ²) on every integer x. No floating-point number takes part, so nothing of Mironov's attack on rounded noise
(CCS 2012) applies; every probability is a ratio of integers, and each coin is thrown by comparing uniform integers.

Why not Skellam noise, whose sums are Skellam again (Agarwal, Kairouz and Liu, NeurIPS 2021, arXiv:2110.04995)? Its
Rényi bound has a further term in the L1 norm, exact Poisson samplers are more work than this file, and from a variance
of 8 on the sum of shares is so near a discrete Gaussian that the difference costs less than 10⁻³⁰ (`accounting`).

A limit: running time depends on the values drawn, as with every published exact sampler. What can be timed from
outside is the drawing of a whole share of thousands of numbers, not a single one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from common.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.privacy.randomness import Randomness


def bernoulli_exp(numerator: int, denominator: int, randomness: Randomness) -> bool:
    """Throw a coin that shows True with probability exp(−γ) exactly, γ = numerator/denominator ≥ 0.

    Algorithm 1.
    """
    while numerator > denominator:  # exp(−γ) = exp(−1)^⌊γ⌋ · exp(−(γ − ⌊γ⌋))
        if not bernoulli_exp(1, 1, randomness):
            return False
        numerator -= denominator
    k = 1
    while randomness.below(k * denominator) < numerator:  # A ~ Bernoulli(γ/k)
        k += 1
    return k % 2 == 1


def discrete_laplace(scale: int, randomness: Randomness) -> int:
    """Draw from the discrete Laplace distribution: mass proportional to exp(−|x|/scale).

    Algorithm 2 with s = 1 and t = scale.
    """
    while True:
        low = randomness.below(scale)
        if not bernoulli_exp(low, scale, randomness):
            continue
        high = 0
        while bernoulli_exp(1, 1, randomness):
            high += 1
        magnitude = low + scale * high
        negative = randomness.below(2) == 1
        if not (negative and magnitude == 0):  # zero must not count twice
            return -magnitude if negative else magnitude


def discrete_gaussian(variance: int, root: int, randomness: Randomness) -> int:
    """Draw from N_Z(0, σ²), σ² = variance.

    Algorithm 3.

    Args:
        variance: σ² ≥ 1.
        root: t = ⌊σ⌋ + 1.
        randomness: of the device.
    """
    denominator = 2 * variance * root * root
    while True:
        drawn = discrete_laplace(root, randomness)
        # (|y| − σ²/t)² / 2σ² = (|y| t − σ²)² / 2σ²t²
        if bernoulli_exp((abs(drawn) * root - variance) ** 2, denominator, randomness):
            return drawn


def draw(variance: int, count: int, randomness: Randomness) -> NDArray[np.int64]:
    """Draw `count` independent samples of N_Z(0, σ²), shape (count,); all 0 for σ² = 0.

    Raises:
        ConfigError: a negative variance.
    """
    if variance < 0:
        raise ConfigError(f"noise of variance {variance}: give 0 or more")
    if variance == 0:
        return np.zeros(count, dtype=np.int64)
    root = math.isqrt(variance) + 1
    return np.array([discrete_gaussian(variance, root, randomness) for _ in range(count)], dtype=np.int64)
