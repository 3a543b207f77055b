"""Laws of the update under noise: whatever noise does to a sum, a prior made of it is sound."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from common.errors import ConfigError, PriorError
from common.mixture import m_step, responsibilities, total
from common.prior import check_cohorts, check_prior
from common.statistics import blocks, sensitivity
from server.update import RoundSum, next_prior, pool, read_sum

BACKBONE = "ab" * 32
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.lists(st.integers(4, 60), min_size=1, max_size=4)
SPREADS = st.sampled_from([1e-6, 0.1, 1.0, 5.0, 40.0, 1e4])
"""Standard deviation of the noise in each number of a sum, from none to speak of to nothing else."""


def people(seed, count, dimensions, clip):
    rng = np.random.default_rng(seed)
    scales = clip * 0.6 * np.exp(-np.arange(dimensions) / 2)
    return (
        rng.normal(size=(count, dimensions)) * scales / 2 + clip * 0.3 * rng.normal(size=dimensions) / dimensions**0.5
    )


def noisy_sum(rows, cohorts, name, clip, deviation, seed):
    plain = np.sum([blocks(x, responsibilities(x, cohorts), clip) for x in rows], axis=0)
    noise = deviation * np.random.default_rng(seed).normal(size=len(plain))
    return RoundSum(round_id=name, total=plain + noise, clip=clip, people=len(rows), noise_variance=deviation**2)


def update(previous, sums, dimensions, cohorts=1, directions=6):
    return next_prior(
        previous,
        sums,
        backbone=BACKBONE,
        kind="object",
        public_basis=np.eye(dimensions + 2)[:, :dimensions],
        minimum_people=4,
        max_directions=directions,
        cohorts=cohorts,
        created="2025-01-31T12:00:00Z",
    )


def run_rounds(seed, sizes, dimensions, cohorts, deviation, clip=4.0):
    prior, sums, versions = None, [], []
    rows = people(seed, sum(sizes), dimensions, clip)
    for index, part in enumerate(np.split(rows, np.cumsum(sizes)[:-1])):
        announced = prior.cohorts if prior else ()
        sums.append(noisy_sum(part, announced, f"r{index}", clip, deviation, [seed, index]))
        prior = update(prior, sums, dimensions, cohorts) or prior
        versions.append(prior)
    return sums, versions


@given(seed=SEEDS, sizes=SIZES, dimensions=st.integers(1, 12), cohorts=st.integers(1, 4), deviation=SPREADS)
@settings(max_examples=80)
def test_every_version_is_sound_and_counts_the_people_that_were_there(seed, sizes, dimensions, cohorts, deviation):
    _, versions = run_rounds(seed, sizes, dimensions, cohorts, deviation)
    for index, prior in enumerate(versions):
        if prior is None or (index and prior is versions[index - 1]):
            continue
        check_prior(prior, backbone=BACKBONE, width=dimensions + 2)
        assert prior.people == sum(sizes[: index + 1])
        for cohort in prior.cohorts:
            np.testing.assert_allclose(cohort.basis.T @ cohort.basis, np.eye(cohort.spectrum.size), atol=1e-10)
            assert cohort.residual > 0
            assert np.all(cohort.spectrum >= cohort.residual * (1 - 1e-12))
        assert sum(cohort.weight for cohort in prior.cohorts) == pytest.approx(1)


@given(
    seed=SEEDS,
    dimensions=st.integers(1, 8),
    cohorts=st.integers(2, 5),
    size=st.integers(4, 100),
    deviation=st.sampled_from([1.0, 30.0, 1000.0]),
)
@settings(max_examples=80)
def test_cohorts_of_negative_or_tiny_count_and_indefinite_moments_are_fitted_safely(
    seed, dimensions, cohorts, size, deviation
):
    """Noise far above the people: any sign of counts, any eigenvalues; what comes out may be searched with."""
    rng = np.random.default_rng(seed)
    length = cohorts * (1 + dimensions + dimensions * (dimensions + 1) // 2)
    item = RoundSum(
        round_id="r",
        total=deviation * rng.normal(size=length) + np.eye(length)[0] * size,
        clip=1.0,
        people=size,
        noise_variance=deviation**2,
    )
    groups = read_sum(item, dimensions, cohorts)
    assert total(groups).people == pytest.approx(size)
    check_cohorts(m_step(groups, 4), dimensions=dimensions)


@given(seed=SEEDS, sizes=SIZES, dimensions=st.integers(1, 8), cohorts=st.integers(1, 3))
@settings(max_examples=40)
def test_without_noise_the_count_that_is_known_changes_nothing(seed, sizes, dimensions, cohorts):
    sums, versions = run_rounds(seed, sizes, dimensions, cohorts, 0.0)
    unknown = [RoundSum(round_id=item.round_id, total=item.total, clip=item.clip) for item in sums]
    again = update(None, unknown, dimensions, cohorts)
    for left, right in zip(versions[-1].cohorts, again.cohorts, strict=True):
        for field in dataclasses.fields(left):
            np.testing.assert_array_equal(getattr(left, field.name), getattr(right, field.name))


@given(seed=SEEDS, sizes=SIZES, dimensions=st.integers(2, 8))
@settings(max_examples=40)
def test_vanishing_noise_gives_the_mean_and_the_variance_of_plain_sums(seed, sizes, dimensions):
    _, plain = run_rounds(seed, sizes, dimensions, 1, 0.0)
    _, quiet = run_rounds(seed, sizes, dimensions, 1, 1e-7)
    (left,), (right,) = plain[-1].cohorts, quiet[-1].cohorts
    np.testing.assert_allclose(right.mean, left.mean, atol=1e-4)

    def power(cohort):
        return cohort.spectrum.sum() + (dimensions - cohort.spectrum.size) * cohort.residual

    assert power(right) == pytest.approx(power(left), rel=1e-3)
    assert right.spectrum.size <= left.spectrum.size
    np.testing.assert_allclose(right.spectrum[:1], left.spectrum[: min(1, right.spectrum.size)], rtol=0.5)


@given(seed=SEEDS, sizes=SIZES, cohorts=st.integers(1, 3), deviation=SPREADS, data=st.data())
@settings(max_examples=40)
def test_the_order_of_rounds_does_not_matter(seed, sizes, cohorts, deviation, data):
    sums, _ = run_rounds(seed, sizes, 5, cohorts, deviation)
    shuffled = data.draw(st.permutations(sums))
    for left, right in zip(pool(sums, dimensions=5), pool(shuffled, dimensions=5), strict=True):
        scale = 1 + deviation
        assert left.people == pytest.approx(right.people, rel=1e-9, abs=1e-9 * scale)
        np.testing.assert_allclose(left.sum_x, right.sum_x, rtol=1e-7, atol=1e-7 * scale)
        np.testing.assert_allclose(left.sum_xx, right.sum_xx, rtol=1e-7, atol=1e-6 * scale)
        np.testing.assert_allclose(left.noise, right.noise, rtol=1e-12)


@given(seed=SEEDS, sizes=SIZES, cohorts=st.integers(1, 4), deviation=SPREADS)
@settings(max_examples=40)
def test_the_noise_of_everybody_is_that_of_the_rounds_and_the_count_is_exact(seed, sizes, cohorts, deviation):
    sums, _ = run_rounds(seed, sizes, 3, cohorts, deviation)
    everybody = total(pool(sums, dimensions=3))
    assert everybody.people == pytest.approx(sum(sizes), rel=1e-9)
    blocks_summed = sum(len(item.total) // 10 for item in sums)
    assert everybody.noise.sum_x == pytest.approx(blocks_summed * deviation**2 * 4.0**2, rel=1e-9)
    assert everybody.noise.sum_xx == pytest.approx(blocks_summed * deviation**2 * 4.0**4, rel=1e-9)


@given(seed=SEEDS, size=st.integers(4, 60), deviation=st.sampled_from([0.5, 5.0, 50.0]), data=st.data())
@settings(max_examples=40)
def test_one_device_that_adds_what_it_likes_spoils_the_round_only(seed, size, deviation, data):
    """A vector far beyond S shows in the count, the mean or the power, whose noise is known."""
    honest = noisy_sum(people(seed, size, 3, 4.0), (), "r", 4.0, deviation, [seed, 1])
    read_sum(honest, 3, 1)
    entry = data.draw(st.sampled_from([0, 1, 3, 4, 7, 9]), label="count, mean, or a diagonal entry of the moments")
    assume(entry != 3 or size)
    lie = np.eye(10)[entry] * (3 * size + 40 * deviation) * data.draw(st.sampled_from([1, -1]))
    assert np.linalg.norm(lie) > sensitivity()
    with pytest.raises(PriorError, match="of round r is not what"):
        read_sum(dataclasses.replace(honest, total=honest.total + lie), 3, 1)


def test_a_noisy_sum_of_nobody_knows_how_many_is_refused():
    with pytest.raises(ConfigError, match="say how many people"):
        RoundSum(round_id="r", total=np.zeros(10), clip=1.0, noise_variance=1.0)
