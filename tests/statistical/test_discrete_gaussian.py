"""The sampler draws from the discrete Gaussian and from nothing else.

Seeded, so that a run repeats itself; each test would raise a false alarm with probability 1e-6 under a fresh seed,
unless it says otherwise. Each comes with a sampler that is nearly right and must be told from it.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from common.privacy import Mechanism, Randomness, draw_share
from common.privacy.discrete_gaussian import bernoulli_exp, discrete_laplace, draw

ALARM = 1e-6
COUNT = 30_000


def chance(value):
    return Randomness(bytes([value]) * 32)


def gaussian(variance, reach):
    x = np.arange(-reach, reach + 1)
    mass = np.exp(-(x**2) / (2 * variance))
    return mass / mass.sum()


def laplace(scale, reach):
    mass = np.exp(-np.abs(np.arange(-reach, reach + 1)) / scale)
    return mass / mass.sum()


def chance_of_a_fit(samples, mass):
    """Give Pearson's chi-squared p-value of integers against exact masses on −reach, ..., reach.

    Neighbouring cells are joined until each expects 25 samples or more.
    """
    reach = len(mass) // 2
    counts = np.bincount(np.clip(samples, -reach, reach) + reach, minlength=len(mass))
    cell = np.minimum(np.cumsum(mass) * len(samples) // 25, len(samples) // 25 - 1).astype(int)
    expected, found = np.bincount(cell, mass) * len(samples), np.bincount(cell, counts)
    kept = expected > 0
    statistic = np.sum((found[kept] - expected[kept]) ** 2 / expected[kept])
    return float(stats.chi2.sf(statistic, kept.sum() - 1))


@pytest.mark.parametrize("variance", [1, 2, 7, 100, 5000])
def test_samples_fit_the_exact_masses(variance):
    samples = draw(variance, COUNT, chance(variance % 251))
    assert chance_of_a_fit(samples, gaussian(variance, 20 * math.isqrt(variance) + 20)) > ALARM


def test_the_fit_has_teeth():
    """A rounded continuous Gaussian, 0.9 of the variance, and a zero that counts twice are all found out."""
    mass, x, rng = gaussian(1, 30), np.arange(-30, 31), np.random.default_rng(1)
    assert chance_of_a_fit(np.round(rng.normal(size=COUNT)).astype(int), mass) < ALARM
    assert chance_of_a_fit(rng.choice(x, size=COUNT, p=gaussian(0.9, 30)), mass) < ALARM
    doubled = mass * np.where(x == 0, 2.0, 1.0)
    assert chance_of_a_fit(rng.choice(x, size=COUNT, p=doubled / doubled.sum()), mass) < ALARM


@pytest.mark.parametrize("scale", [1, 2, 13])
def test_laplace_samples_fit_the_exact_masses(scale):
    randomness = chance(scale)
    samples = np.array([discrete_laplace(scale, randomness) for _ in range(COUNT // 4)])
    assert chance_of_a_fit(samples, laplace(scale, 30 * scale)) > ALARM
    assert chance_of_a_fit(samples, laplace(0.9 * scale, 30 * scale)) < ALARM


@pytest.mark.parametrize(("numerator", "denominator"), [(0, 1), (1, 10), (1, 2), (1, 1), (3, 2), (5, 1)])
def test_coins_have_the_exponential_chance(numerator, denominator):
    randomness, throws = chance(denominator), 20_000
    shown = sum(bernoulli_exp(numerator, denominator, randomness) for _ in range(throws))
    assert stats.binomtest(shown, throws, math.exp(-numerator / denominator)).pvalue > ALARM


def test_samples_are_symmetric():
    samples = draw(50, COUNT, chance(9))
    positive, negative = int(np.sum(samples > 0)), int(np.sum(samples < 0))
    assert stats.binomtest(positive, positive + negative, 0.5).pvalue > ALARM


@pytest.mark.parametrize("survivors", [1, 3, 12])
def test_the_sum_of_the_survivors_shares_has_the_promised_variance(survivors):
    """Of discrete Gaussians with σ² ≥ 3 the variance is σ² to 1 in 10²⁰; the sum's fourth moment is a Gaussian's.

    So the mean square of 8,192 numbers lies within 4.9 √(2/8192), 8 %, of n σ², up to 1 in 10⁶.
    """
    mechanism = Mechanism(length=8192, scale=10.0, share_variance=37, modulus_bits=16)
    randomness = chance(survivors)
    total = sum(draw_share(mechanism, randomness) for _ in range(survivors)).astype(float)
    ratio = np.mean(total**2) / (survivors * 37)
    tolerance = 4.9 * math.sqrt(2 / len(total))
    assert abs(ratio - 1) < tolerance
    assert abs(0.7 - ratio) > tolerance, "0.7 of the variance would be seen"


def test_coordinates_of_a_share_do_not_depend_on_each_other():
    share = draw_share(Mechanism(length=2**14, scale=10.0, share_variance=90, modulus_bits=16), chance(3)).astype(float)
    for lag in (1, 2, 64):
        correlation = np.mean(share[lag:] * share[:-lag]) / 90
        assert abs(correlation) < 4.9 / math.sqrt(len(share) - lag)
