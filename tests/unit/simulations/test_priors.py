"""Priors with the noise of real rounds: none where the noise would hide everything."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulations.benchmarks.priors import people_for_a_prior, prior_of, rounds_noise

WIDTH, DIMENSIONS = 24, 8
BASIS = np.eye(WIDTH)[:, :DIMENSIONS]
SHARED = {"backbone": "ab" * 32, "public_basis": BASIS}


def displacements(people, spread=0.4, seed=0):
    rows = np.zeros((people, WIDTH))
    rows[:, :2] = spread * np.random.default_rng(seed).standard_normal((people, 2))
    rows[:, 0] += 1
    return rows


def test_without_noise_a_prior_is_its_peoples_mean_and_directions():
    rows = displacements(100)
    prior = prior_of(rows, "object", **SHARED, clip=4.0)
    assert prior is not None
    assert prior.people == 100
    np.testing.assert_allclose(prior.cohorts[0].mean, rows.mean(axis=0)[:DIMENSIONS], atol=1e-9)
    assert np.abs(prior.cohorts[0].basis[2:, :2]).max() < 0.1


def test_a_sum_of_more_rounds_has_the_noise_of_each():
    one = rounds_noise(1.0, 128, DIMENSIONS)
    assert rounds_noise(1.0, 3 * 128, DIMENSIONS) == pytest.approx(3 * one)
    assert rounds_noise(4.0, 128, DIMENSIONS) < one / 8
    assert rounds_noise(math.inf, 128, DIMENSIONS) == 0


def test_noise_moves_a_prior_and_hides_what_a_wide_clip_makes_small():
    rows = displacements(1000)
    exact, noisy, wide = (
        prior_of(rows, "object", **SHARED, epsilon=epsilon, clip=clip)
        for epsilon, clip in ((math.inf, 2.0), (8.0, 2.0), (8.0, 4.0))
    )
    assert exact is not None
    assert noisy is not None
    apart = np.linalg.norm(exact.cohorts[0].mean - noisy.cohorts[0].mean)
    assert 0.005 < apart < 0.1  # 4.6 in each of eight numbers of a sum of 1,000, times the clip: 0.026
    assert wide is None


def test_the_noise_is_drawn_from_the_seed():
    rows = displacements(1000)
    found = [prior_of(rows, "object", **SHARED, epsilon=8.0, clip=2.0, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (prior.cohorts[0].mean for prior in found if prior is not None)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_copies_are_people():
    rows = displacements(40)
    doubled = prior_of(np.concatenate([rows, rows[:10]]), "object", **SHARED)
    copied = prior_of(rows, "object", **SHARED, copies=np.array([2] * 10 + [1] * 30))
    assert doubled is not None
    assert copied is not None
    assert copied.people == 50
    np.testing.assert_allclose(copied.cohorts[0].mean, doubled.cohorts[0].mean, atol=1e-9)


def test_a_first_prior_takes_more_people_the_smaller_epsilon_and_the_wider_the_clip():
    rows = displacements(100)
    needed = {
        (epsilon, clip): people_for_a_prior(rows, "object", **SHARED, epsilon=epsilon, clip=clip)
        for epsilon, clip in ((8.0, 2.0), (1.0, 2.0), (8.0, 4.0), (math.inf, 2.0))
    }
    assert needed[math.inf, 2.0] == 125
    assert 125 < needed[8.0, 2.0] < needed[1.0, 2.0]
    assert needed[8.0, 2.0] < needed[8.0, 4.0]
