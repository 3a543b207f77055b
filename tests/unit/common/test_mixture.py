from __future__ import annotations

import math

import numpy as np
import pytest

from common.mixture import halve, log_density, m_step, mean_and_covariance, responsibilities, shape_of, shrinkage, total
from common.prior import MINIMUM_VARIANCE, Cohort, check_cohorts
from common.statistics import Moments, Noise


def moments_of(rows):
    return Moments(people=float(len(rows)), sum_x=rows.sum(axis=0), sum_xx=rows.T @ rows)


def dense(cohort):
    """The covariance matrix that a cohort stands for, written out."""
    projector = cohort.basis @ cohort.basis.T
    scaled = cohort.basis @ np.diag(cohort.spectrum) @ cohort.basis.T
    return scaled + cohort.residual * (np.eye(len(projector)) - projector)


def some_cohort(rng, dimensions, directions, *, weight=1.0, mean=0.0):
    return Cohort(
        weight=weight,
        mean=mean + rng.normal(size=dimensions),
        basis=np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0][:, :directions],
        spectrum=np.sort(rng.uniform(0.5, 3.0, size=directions))[::-1],
        residual=0.3,
    )


@pytest.mark.parametrize("directions", [0, 2, 5])
def test_log_density_is_that_of_the_dense_gaussian(directions):
    rng = np.random.default_rng(directions)
    cohort, x = some_cohort(rng, 5, directions), rng.normal(size=5)
    covariance, difference = dense(cohort), x - cohort.mean
    slow = -0.5 * (difference @ np.linalg.solve(covariance, difference) + np.linalg.slogdet(2 * np.pi * covariance)[1])
    assert log_density(x, cohort) == pytest.approx(slow, rel=1e-12)


def test_responsibilities_are_bayes_rule():
    rng = np.random.default_rng(3)
    cohorts = [some_cohort(rng, 3, 2, weight=0.7), some_cohort(rng, 3, 1, weight=0.3)]
    x = rng.normal(size=3)
    joint = np.array([cohort.weight * math.exp(log_density(x, cohort)) for cohort in cohorts])
    np.testing.assert_allclose(responsibilities(x, cohorts), joint / joint.sum(), rtol=1e-12)


def test_a_point_far_from_every_cohort_still_belongs_somewhere():
    rng = np.random.default_rng(4)
    tight = [
        Cohort(weight=0.5, mean=np.full(3, at), basis=np.eye(3)[:, :1], spectrum=np.array([1e-12]), residual=1e-12)
        for at in (-1e2, 1e2)
    ]
    shares = responsibilities(rng.normal(size=3) + 1e3, tight)
    np.testing.assert_array_equal(shares, [0.0, 1.0])


def test_an_empty_cohort_attracts_nobody():
    rng = np.random.default_rng(5)
    cohorts = [some_cohort(rng, 3, 1, weight=1.0), some_cohort(rng, 3, 1, weight=0.0)]
    np.testing.assert_array_equal(responsibilities(np.zeros(3), cohorts), [1.0, 0.0])


def test_moments_give_numpys_mean_and_covariance():
    rows = np.random.default_rng(6).normal(size=(11, 4)) @ np.diag([3.0, 1.0, 0.1, 0.01]) + 2.0
    mean, covariance = mean_and_covariance(moments_of(rows))
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(covariance, np.cov(rows.T), rtol=1e-9, atol=1e-13)


def test_shrinkage_is_the_formula_of_the_paper_on_the_matrix():
    rows = np.random.default_rng(7).normal(size=(9, 6)) * np.array([4.0, 2.0, 1.0, 1.0, 0.5, 0.5])
    s, p, n = np.cov(rows.T), 6, 8
    numerator = (1 - 2 / p) * np.trace(s @ s) + np.trace(s) ** 2
    denominator = (n + 1 - 2 / p) * (np.trace(s @ s) - np.trace(s) ** 2 / p)
    assert shrinkage(np.linalg.eigvalsh(s), n) == pytest.approx(min(1.0, numerator / denominator), rel=1e-12)


def test_shrinkage_is_total_for_a_sphere_and_vanishes_with_many_people():
    assert shrinkage(np.ones(8), 20) == 1.0
    assert shrinkage(np.array([5.0, 1.0, 0.2]), 1e9) < 1e-8


@pytest.mark.parametrize("freedom", [0.5, 1.0, 7.0])
@pytest.mark.parametrize("spectrum", [[0.1], [1e-200, 0.0], [0.3, 0.3, 0.3], [0.0, 0.0]])
def test_shrinkage_is_total_where_nothing_is_known_of_a_shape(spectrum, freedom):
    assert shrinkage(np.array(spectrum), freedom) == 1.0


def test_rounding_that_leaves_one_dimension_a_spread_does_no_harm():
    values = np.random.default_rng(0).uniform(0, 1, 2000)
    assert {shrinkage(np.array([value]), 1.0) for value in values} == {1.0}


def test_the_kept_shape_preserves_the_trace_and_the_leading_direction():
    rng = np.random.default_rng(8)
    rows = rng.normal(size=(12, 20)) * np.r_[6.0, 3.0, np.full(18, 0.5)]
    covariance = np.cov(rows.T)
    basis, spectrum, residual = shape_of(covariance, 11, directions=4)
    assert basis.shape == (20, 4)
    assert spectrum.sum() + 16 * residual == pytest.approx(np.trace(covariance), rel=1e-12)
    assert abs(basis[0, 0]) > 0.95
    assert np.all(spectrum > residual)


def test_no_more_directions_than_people_told_apart():
    covariance = np.cov(np.random.default_rng(9).normal(size=(5, 20)).T * np.linspace(5, 1, 20)[:, None])
    basis, _, _ = shape_of(covariance, 4, directions=16)
    assert basis.shape[1] <= 4


def test_people_who_are_all_alike_leave_a_point_of_the_least_variance():
    (cohort,) = m_step([moments_of(np.tile([1.0, -2.0, 3.0], (7, 1)))], directions=2)
    np.testing.assert_allclose(cohort.mean, [1.0, -2.0, 3.0], rtol=1e-14)
    assert cohort.spectrum.size == 0
    assert cohort.residual == MINIMUM_VARIANCE
    check_cohorts([cohort], dimensions=3)


def divergence(truth, estimate):
    """Kullback-Leibler divergence of N(0, estimate) from N(0, truth)."""
    ratio = np.linalg.solve(estimate, truth)
    return 0.5 * (np.trace(ratio) - len(truth) - np.linalg.slogdet(ratio)[1])


def small_sample(seed, people, dimensions=64):
    """A covariance whose 4 / 8 / 16 leading directions hold some 69 / 86 / 96 % (design, section 2), and a sample."""
    rng = np.random.default_rng(seed)
    index = np.arange(1, dimensions + 1)
    spectrum = np.exp(-index / 3.6) + 0.04 * np.exp(-index / 20)
    turn = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
    rows = 0.5 + rng.normal(size=(people, dimensions)) @ (turn * np.sqrt(spectrum)).T
    return (turn * spectrum) @ turn.T, rows


@pytest.mark.parametrize("people", [8, 16, 24])
def test_few_people_in_many_dimensions_come_near_the_best_shrinkage(people):
    """Against the oracle that knows the true variance along each estimated direction; seeded, twelve samples."""
    ours, best, without = [], [], []
    for seed in range(12):
        truth, rows = small_sample(seed, people)
        (cohort,) = m_step([moments_of(rows)], directions=24)
        ours.append(divergence(truth, dense(cohort)))
        vectors = np.linalg.eigh(np.cov(rows.T))[1]
        best.append(divergence(truth, (vectors * np.einsum("ij,ik,kj->j", vectors, truth, vectors)) @ vectors.T))
        sphere = np.trace(np.cov(rows.T)) / len(truth)
        without.append(divergence(truth, sphere * np.eye(len(truth))))
    assert np.mean(ours) <= 1.15 * np.mean(best)
    assert np.mean(ours) <= 0.85 * np.mean(without)


def test_halves_add_up_to_the_whole_and_are_positive():
    rows = np.random.default_rng(10).normal(size=(30, 4)) * np.array([3.0, 1.0, 1.0, 0.2]) + 1.0
    whole = moments_of(rows)
    below, above = halve(whole)
    again = total([below, above])
    assert again.people == pytest.approx(whole.people, rel=1e-15)
    np.testing.assert_allclose(again.sum_x, whole.sum_x, rtol=1e-12)
    np.testing.assert_allclose(again.sum_xx, whole.sum_xx, rtol=1e-12, atol=1e-12)
    for half in (below, above):
        assert np.linalg.eigvalsh(mean_and_covariance(half)[1]).min() > 0


def test_halves_are_those_of_a_gaussian():
    rows = np.random.default_rng(11).normal(size=(200_000, 2)) * np.array([3.0, 1.0]) + np.array([5.0, 0.0])
    _, above = halve(moments_of(rows))
    mean, covariance = mean_and_covariance(above)
    right = rows[rows[:, 0] > 5.0]
    np.testing.assert_allclose(mean, right.mean(axis=0), atol=0.03)
    np.testing.assert_allclose(covariance, np.cov(right.T), atol=0.05)


def test_a_cohort_of_one_takes_everybodys_covariance_and_an_empty_one_everybodys_mean():
    rng = np.random.default_rng(12)
    many, one = rng.normal(size=(20, 3)), rng.normal(size=(1, 3)) + 9.0
    nobody = Moments(people=0.0, sum_x=np.zeros(3), sum_xx=np.zeros((3, 3)))
    cohorts = m_step([moments_of(many), moments_of(one), nobody], directions=2)
    check_cohorts(cohorts, dimensions=3)
    everybody = np.concatenate([many, one])
    basis, spectrum, residual = shape_of(np.cov(everybody.T), 20, 2)
    for cohort, mean in ((cohorts[1], one[0]), (cohorts[2], everybody.mean(axis=0))):
        np.testing.assert_allclose(cohort.mean, mean, rtol=1e-12)
        np.testing.assert_allclose(cohort.spectrum, spectrum, rtol=1e-9)
        assert cohort.residual == pytest.approx(float(residual), rel=1e-9)
        np.testing.assert_allclose(np.abs(cohort.basis.T @ basis), np.eye(2), atol=1e-6)
    assert [cohort.weight for cohort in cohorts] == pytest.approx([20 / 21, 1 / 21, 0.0])


def noised(moments, deviation, rng):
    """Add a secure sum's noise, the same to every number of the count, the sum and svec of the second moments."""
    dimensions = len(moments.sum_x)
    square = rng.normal(size=(dimensions, dimensions)) * deviation
    return Moments(
        people=moments.people,
        sum_x=moments.sum_x + deviation * rng.normal(size=dimensions),
        sum_xx=moments.sum_xx + (square + square.T) / 2,
        noise=Noise(sum_x=deviation**2, sum_xx=deviation**2),
    )


def test_the_covariance_of_noised_moments_is_unbiased():
    """Without giving E e eᵀ/n back, its trace would be 4 · 40²/30/29 = 7.4 short of 4.3, 30 standard errors."""
    rng = np.random.default_rng(13)
    plain = moments_of(rng.normal(size=(30, 4)))
    found = [np.trace(mean_and_covariance(noised(plain, 40.0, rng))[1]) for _ in range(3000)]
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - np.trace(mean_and_covariance(plain)[1])) < 4.9 * error
    assert 15 * error < 4 * 40.0**2 / 30 / 29


def test_only_directions_above_the_floor_are_kept():
    rng = np.random.default_rng(14)
    plain = moments_of(rng.normal(size=(1000, 6)) * np.array([3.0, 1, 1, 1, 1, 1]))
    (cohort,) = m_step([noised(plain, 300.0, rng)], directions=5)
    assert cohort.basis.shape == (6, 1)
    assert abs(cohort.basis[0, 0]) > 0.95


def test_a_cohort_whose_spread_is_lost_in_noise_takes_everybodys():
    rng = np.random.default_rng(15)
    many = noised(moments_of(rng.normal(size=(3000, 4))), 20.0, rng)
    few = noised(moments_of(rng.normal(size=(30, 4))), 20.0, rng)
    lost = few._replace(sum_xx=-np.eye(4))
    first, second = m_step([many, lost], directions=2)
    check_cohorts([first, second], dimensions=4)
    (everybody,) = m_step([total([many, lost])], directions=2)
    assert second.residual == pytest.approx(everybody.residual, rel=1e-12)
    assert second.residual == pytest.approx(1.0, abs=0.2)


def test_a_cohort_whose_count_may_be_noise_takes_everybodys_mean_and_shape():
    rng = np.random.default_rng(16)
    many, few = moments_of(rng.normal(size=(3000, 4))), moments_of(1.0 + 3 * rng.normal(size=(30, 4)))
    quiet = Noise(people=100.0, sum_x=1e-6, sum_xx=1e-6)
    uncertain = m_step([many, few._replace(noise=quiet)], directions=2)
    (everybody,) = m_step([total([many, few._replace(noise=quiet)])], directions=2)
    np.testing.assert_allclose(uncertain[1].mean, everybody.mean, rtol=1e-12)
    np.testing.assert_allclose(uncertain[1].spectrum, everybody.spectrum, rtol=1e-12)
    certain = m_step([many, few._replace(noise=quiet._replace(people=1.0))], directions=2)
    np.testing.assert_allclose(certain[1].mean, few.sum_x / 30, rtol=1e-3)
    assert uncertain[1].residual == pytest.approx(everybody.residual, rel=1e-12)
    assert certain[1].residual > 3 * everybody.residual
