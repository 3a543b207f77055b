"""What a prior says of people is no artefact of the noise, and is found where there is enough of it.

Seeded; the false-alarm rate of each claim is `common.denoising`'s, 0.01 for each version, and counted here over many.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from common.denoising import is_off_centre, is_spread, noise_floor
from common.mixture import leads, m_step, mean_and_covariance, stands
from common.privacy import Randomness, decode, draw_share, encode, noise_variance, plan, reduce
from common.statistics import Moments, Noise, block_length, blocks, svec
from server.update import RoundSum, next_prior, read_sum

TRIALS = 2000


def moments(rows, deviation, rng):
    """A noised sum of rows in the unit ball, read back; as `blocks` would add up, without the loop."""
    plain = np.concatenate([[len(rows)], rows.sum(axis=0), svec(rows.T @ rows)])
    noisy = plain + deviation * rng.normal(size=len(plain))
    item = RoundSum(round_id="r", total=noisy, clip=1.0, people=len(rows), noise_variance=deviation**2)
    return read_sum(item, rows.shape[1], 1)[0]


@pytest.mark.parametrize("dimensions", [4, 24])
@pytest.mark.parametrize("centre", [0.0, 0.7])
def test_noise_alone_rarely_makes_a_direction_a_spread_or_a_mean(dimensions, centre):
    """People who are all alike: whatever varies is noise. Promised 1 %; more than 38 in 2,000 has odds of 1e-4."""
    rows = np.zeros((300, dimensions))
    rows[:, 0] = centre
    found = np.zeros(3)
    for seed in range(TRIALS):
        noised = moments(rows, 11.0, np.random.default_rng([seed, dimensions]))
        covariance = mean_and_covariance(noised)[1]
        found += leads(noised), is_spread(noised, covariance), is_off_centre(noised) and centre == 0
    assert np.all(found <= 38)


@pytest.mark.parametrize("dimensions", [1, 2, 4, 16, 48])
@pytest.mark.parametrize("centre", [0.0, 0.3, 0.6, 1.0])
def test_the_floor_is_the_quantile_that_it_says(dimensions, centre):
    """Noise drawn 6,000 times: its largest eigenvalue's quantile of 0.99 is known to some 3 % then."""
    rng, mean = np.random.default_rng(dimensions), np.eye(dimensions)[0] * centre
    largest = []
    for _ in range(12):
        square = rng.normal(size=(500, dimensions, dimensions))
        cross = mean[:, None] * rng.normal(size=(500, 1, dimensions))
        whole = (square + square.transpose(0, 2, 1)) / 2 - cross - cross.transpose(0, 2, 1)
        largest.append(np.linalg.eigvalsh(whole)[:, -1])
    people = 1e9  # so that e eᵀ/n vanishes
    exact = Moments(
        people=people,
        sum_x=people * mean,
        sum_xx=np.zeros((dimensions, dimensions)),
        noise=Noise(sum_x=1.0, sum_xx=1.0),
    )
    level = noise_floor(exact).level * (people - 1)
    assert 0.97 < level / np.quantile(largest, 0.99) < 1.03 * (1.2 if dimensions > 2 else 1.35)


def population(rng, people, dimensions, centre=0.4, power=0.35):
    """Displacements in the unit ball whose variance decays, and the covariance they come from."""
    variances = np.exp(-np.arange(dimensions) / 2.5)
    variances *= power / variances.sum()
    turn = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
    offset = rng.normal(size=dimensions)
    rows = (
        centre * offset / np.linalg.norm(offset) + rng.normal(size=(people, dimensions)) * np.sqrt(variances) @ turn.T
    )
    return rows / np.maximum(1, np.linalg.norm(rows, axis=1))[:, None]


def divergence(truth, cohort):
    """Kullback-Leibler divergence of a cohort's covariance from the true one."""
    projector = cohort.basis @ cohort.basis.T
    estimate = cohort.basis @ np.diag(cohort.spectrum) @ cohort.basis.T
    ratio = np.linalg.solve(estimate + cohort.residual * (np.eye(len(truth)) - projector), truth)
    return 0.5 * (np.trace(ratio) - len(truth) - np.linalg.slogdet(ratio)[1])


@pytest.mark.parametrize(("dimensions", "deviation"), [(8, 10.0), (8, 20.0), (16, 20.0), (48, 10.0)])
def test_knowing_the_noise_beats_taking_it_for_people(dimensions, deviation):
    """The same noised sums of 2,000 people, read as what they are, as if they were plain, and without directions."""
    knowing, blind, sphere = [], [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        rows = population(rng, 2000, dimensions)
        truth = np.cov(rows.T)
        noised = moments(rows, deviation, rng)
        knowing.append(divergence(truth, m_step([noised], 8)[0]))
        blind.append(divergence(truth, m_step([noised._replace(noise=type(noised.noise)())], 8)[0]))
        variance = np.trace(truth) / dimensions
        sphere.append(0.5 * (dimensions * math.log(variance) - np.linalg.slogdet(truth)[1]))
    assert np.mean(knowing) < 0.97 * np.mean(blind)
    assert np.mean(knowing) < np.mean(sphere)


def test_a_noised_mean_comes_nearer_when_it_is_shrunk():
    plain, believed = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        rows = population(rng, 400, 16, centre=0.15)
        noised = moments(rows, 11.0, rng)
        truth = rows.mean(axis=0)
        plain.append(np.sum((noised.sum_x / 400 - truth) ** 2))
        believed.append(np.sum((m_step([noised], 4)[0].mean - truth) ** 2))
    assert np.mean(believed) < 0.8 * np.mean(plain)


def test_through_the_mechanism_as_it_runs_few_people_get_no_prior_and_many_get_one():
    """Real encodings and shares, ε = 4 in four dimensions: 16 people say nothing, a thousand say where people are."""
    dimensions, randomness = 4, Randomness(bytes(32))
    rng = np.random.default_rng(5)

    def held(people, name):
        mechanism = plan(length=block_length(dimensions), people=people, honest=people // 2, epsilon=4.0, delta=1e-6)
        total = np.zeros(mechanism.padded, dtype=np.int64)
        for x in rows[name]:
            integers = encode(blocks(x, np.ones(1), 1.0), mechanism, seed=b"s", randomness=randomness)
            total += reduce(integers + draw_share(mechanism, randomness), mechanism)
        return RoundSum(
            round_id=str(name),
            total=decode(reduce(total, mechanism), mechanism, seed=b"s"),
            clip=1.0,
            people=people,
            noise_variance=noise_variance(mechanism, people),
        )

    sizes = [16, *[128] * 8]
    everybody = population(rng, sum(sizes), dimensions, centre=0.5)
    rows = np.split(everybody, np.cumsum(sizes)[:-1])
    sums = [held(people, name) for name, people in enumerate(sizes)]
    settings = {
        "backbone": "ab" * 32,
        "kind": "object",
        "public_basis": np.eye(6)[:, :dimensions],
        "minimum_people": 8,
        "max_directions": 3,
        "cohorts": 1,
        "created": "2025-01-31T12:00:00Z",
    }
    assert next_prior(None, sums[:1], **settings) is None
    prior = next_prior(None, sums, **settings)
    assert prior.people == sum(sizes)
    (cohort,) = prior.cohorts
    mean, covariance = everybody.mean(axis=0), np.cov(everybody.T)
    assert np.linalg.norm(cohort.mean - mean) < 0.1
    power = cohort.spectrum.sum() + (dimensions - cohort.spectrum.size) * cohort.residual
    assert power == pytest.approx(np.trace(covariance), rel=0.25)
    assert cohort.spectrum.size >= 1
    assert abs(cohort.basis[:, 0] @ np.linalg.eigh(covariance)[1][:, -1]) > 0.9


def test_the_noise_a_sum_carries_is_the_noise_that_is_stated():
    """What `RoundSum.noise_variance` is told: 64 people's shares and roundings, within 4.9 standard errors."""
    mechanism = plan(length=2000, people=64, honest=30, epsilon=1.0, delta=1e-6)
    randomness, zero = Randomness(bytes(32)), np.zeros(2000)
    vector = np.full(2000, 1 / math.sqrt(2000))
    total = np.zeros(mechanism.padded, dtype=np.int64)
    for index in range(64):
        part = encode(vector if index % 2 else zero, mechanism, seed=b"s", randomness=randomness)
        total += reduce(part + draw_share(mechanism, randomness), mechanism)
    errors = decode(reduce(total, mechanism), mechanism, seed=b"s") - 32 * vector
    assert abs(np.mean(errors**2) / noise_variance(mechanism, 64) - 1) < 4.9 * math.sqrt(2 / 2000)


def test_many_people_and_little_noise_make_a_prior():
    assert stands(moments(population(np.random.default_rng(1), 3000, 8), 5.0, np.random.default_rng(2)))
