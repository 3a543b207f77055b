"""Likelihood ratios are those of the model, and the measures count as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulations.attacks.likelihood import Population, detected, fit, log_ratios, top_one

WIDTH = 12


def two_learnings(rng, people, correlation):
    """Two noisy sights of the same people: variance 4, the given correlation."""
    common = rng.standard_normal((people, WIDTH)) * math.sqrt(correlation)
    first, second = (common + rng.standard_normal((people, WIDTH)) * math.sqrt(1 - correlation) for _ in range(2))
    return 1 + 2 * first, 1 + 2 * second


def test_the_model_is_found():
    population = fit(*two_learnings(np.random.default_rng(0), 4000, 0.6), [WIDTH - 3, 3])
    assert population.mean == pytest.approx(np.ones(WIDTH), abs=0.1)
    assert population.variance == pytest.approx(np.full(WIDTH, 4.0), rel=0.05)
    assert population.correlation == pytest.approx(np.full(WIDTH, 0.6), abs=0.03)


def log_normal(y, mean, variance):
    return float(np.sum(-0.5 * (y - mean) ** 2 / variance - 0.5 * np.log(2 * math.pi * variance)))


def test_a_ratio_is_that_of_two_gaussians():
    rng = np.random.default_rng(1)
    population = Population(
        mean=rng.normal(size=WIDTH), variance=rng.uniform(1, 2, WIDTH), correlation=rng.uniform(0, 1, WIDTH)
    )
    seen, references, noise = rng.normal(size=(3, WIDTH)), rng.normal(size=(5, WIDTH)), rng.uniform(0, 1, WIDTH)
    found = log_ratios(population, seen, references, noise)
    for i, y in enumerate(seen):
        for j, r in enumerate(references):
            mean = population.mean + population.correlation * (r - population.mean)
            own = population.variance * (1 - population.correlation**2) + noise
            expected = log_normal(y, mean, own) - log_normal(y, population.mean, population.variance + noise)
            assert found[i, j] == pytest.approx(expected)


def test_people_are_named_by_what_they_have_in_common():
    first, second = two_learnings(np.random.default_rng(2), 200, 0.8)
    population = fit(first[:100], second[:100], [WIDTH])
    scores = log_ratios(population, first[100:], second[100:], 0.0)
    assert top_one(scores) > 0.5
    unrelated = log_ratios(population, first[100:], np.roll(second[100:], 1, axis=0), 0.0)
    assert top_one(unrelated) < 0.1  # 100 candidates: more than 9 right by chance with probability 10⁻⁷


def test_members_are_counted_at_a_rate_of_false_alarms():
    outside = np.arange(100.0)
    assert detected(np.array([98.5, 97.0, 100.0, 50.0]), outside, 0.01) == 0.5
    assert detected(outside, outside, 0.1) == pytest.approx(0.1)
    assert detected(np.zeros(10), np.zeros(50), 0.01) == 0.0
