"""Laws of the update: what the server makes of sums is what numpy makes of the raw rows, in any order of rounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.mixture import mean_and_covariance, responsibilities, total
from common.prior import check_prior
from common.statistics import blocks
from server.update import RoundSum, next_prior, pool

BACKBONE = "ab" * 32
CLIP = 30.0


def people(seed, count, dimensions):
    rng = np.random.default_rng(seed)
    scales = np.exp(-np.arange(dimensions) / 3)
    return rng.normal(size=(count, dimensions)) * scales + rng.normal(size=dimensions)


def encode(rows, cohorts, name):
    vectors = [blocks(x, responsibilities(x, cohorts), CLIP) for x in rows]
    return RoundSum(round_id=name, total=np.sum(vectors, axis=0), clip=CLIP)


def update(previous, sums, dimensions, cohorts=1):
    return next_prior(
        previous,
        sums,
        backbone=BACKBONE,
        kind="object",
        public_basis=np.eye(dimensions + 2)[:, :dimensions],
        minimum_people=2,
        max_directions=6,
        cohorts=cohorts,
        created="2025-01-31T12:00:00Z",
    )


def run_rounds(rows, sizes, dimensions, cohorts):
    """Play rounds as they happen: each is encoded under the version made of those before it."""
    prior, sums, versions = None, [], []
    for index, part in enumerate(np.split(rows, np.cumsum(sizes)[:-1])):
        sums.append(encode(part, prior.cohorts if prior else (), f"r{index}"))
        prior = update(prior, sums, dimensions, cohorts)
        versions.append(prior)
    return sums, versions


SIZES = st.lists(st.integers(2, 40), min_size=1, max_size=5)
SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS, sizes=SIZES, dimensions=st.integers(1, 12), cohorts=st.integers(1, 4))
@settings(max_examples=60)
def test_pooled_moments_are_those_of_the_raw_rows(seed, sizes, dimensions, cohorts):
    rows = people(seed, sum(sizes), dimensions)
    sums, _ = run_rounds(rows, sizes, dimensions, cohorts)
    everybody = total(pool(sums, dimensions=dimensions))
    mean, covariance = mean_and_covariance(everybody)
    assert everybody.people == pytest.approx(len(rows), rel=1e-12)
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(covariance, np.atleast_2d(np.cov(rows.T)), rtol=1e-7, atol=1e-9)


@given(seed=SEEDS, sizes=SIZES, dimensions=st.integers(1, 12))
@settings(max_examples=60)
def test_one_cohort_is_the_plain_mean_and_the_slow_eigenvectors(seed, sizes, dimensions):
    rows = people(seed, sum(sizes), dimensions)
    _, versions = run_rounds(rows, sizes, dimensions, 1)
    (cohort,) = versions[-1].cohorts
    np.testing.assert_allclose(cohort.mean, rows.mean(axis=0), rtol=1e-9, atol=1e-11)
    covariance = np.atleast_2d(np.cov(rows.T))
    # Each kept direction is an eigenvector of the raw rows' covariance, whatever was done to the eigenvalues.
    image = covariance @ cohort.basis
    values = np.sum(cohort.basis * image, axis=0)
    np.testing.assert_allclose(image, cohort.basis * values, atol=1e-8 * np.trace(covariance))
    kept = np.sort(np.linalg.eigvalsh(covariance))[::-1][: values.size]
    np.testing.assert_allclose(values, kept, rtol=1e-6, atol=1e-9)
    dimensions_left = dimensions - values.size
    trace = cohort.spectrum.sum() + dimensions_left * cohort.residual
    assert trace == pytest.approx(np.trace(covariance), rel=1e-7)


@given(seed=SEEDS, sizes=SIZES, dimensions=st.integers(1, 12), cohorts=st.integers(1, 4))
@settings(max_examples=60)
def test_every_version_is_sound_and_counts_everybody(seed, sizes, dimensions, cohorts):
    _, versions = run_rounds(people(seed, sum(sizes), dimensions), sizes, dimensions, cohorts)
    for index, prior in enumerate(versions):
        check_prior(prior, backbone=BACKBONE, width=dimensions + 2)
        assert prior.version == index + 1
        assert prior.people == sum(sizes[: index + 1])
        assert len(prior.cohorts) <= min(cohorts, max(1, prior.people // 20))
        for cohort in prior.cohorts:
            np.testing.assert_allclose(cohort.basis.T @ cohort.basis, np.eye(cohort.spectrum.size), atol=1e-10)
            assert np.all(cohort.spectrum >= cohort.residual * (1 - 1e-12))


@given(seed=SEEDS, sizes=SIZES, cohorts=st.integers(1, 3), data=st.data())
@settings(max_examples=40)
def test_the_order_of_rounds_does_not_matter(seed, sizes, cohorts, data):
    sums, _ = run_rounds(people(seed, sum(sizes), 5), sizes, 5, cohorts)
    shuffled = data.draw(st.permutations(sums))
    for left, right in zip(pool(sums, dimensions=5), pool(shuffled, dimensions=5), strict=True):
        assert left.people == pytest.approx(right.people, rel=1e-12)
        np.testing.assert_allclose(left.sum_x, right.sum_x, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(left.sum_xx, right.sum_xx, rtol=1e-9, atol=1e-9)
