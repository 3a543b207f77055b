"""Medians of numbers some of which are beyond all bounds, and how sure they are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulations.benchmarks.intervals import (
    median_interval,
    medians_interval,
    ratio_interval,
    share_interval,
    traded_interval,
)


def test_the_median_counts_who_never_met_the_target_as_last():
    assert median_interval([10, 20, math.inf])[0] == 20
    assert median_interval([10, math.inf, math.inf])[0] == math.inf
    assert median_interval([10, 20, 30, math.inf])[0] == 25
    assert median_interval([10, 20, math.inf, math.inf])[0] == math.inf  # halfway to infinity


def test_an_interval_of_medians_covers_as_often_as_it_says():
    """300 samples of 30 with a true median of 0: 95 % cover it; fewer than 89 % or all of them is one case in 10⁵."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(300):
        _, low, high = median_interval(rng.standard_normal(30).tolist())
        covered += low <= 0 <= high
    assert 267 <= covered < 300


def test_an_interval_reaches_infinity_where_resamples_do():
    middle, low, high = median_interval([10.0] * 16 + [math.inf] * 14)
    assert (middle, low, high) == (10, 10, math.inf)


def test_shares_are_averaged():
    middle, low, high = share_interval([0.0, 1.0] * 50)
    assert middle == 0.5
    assert low == pytest.approx(0.4, abs=0.03)
    assert high == pytest.approx(0.6, abs=0.03)


def test_a_ratio_is_of_means_and_surer_where_people_move_together():
    other = np.random.default_rng(3).uniform(0, 1, 60)
    ratio, low, high = ratio_interval((0.8 * other).tolist(), other.tolist())
    assert [ratio, low, high] == pytest.approx([0.8] * 3)
    ratio, low, high = ratio_interval((0.8 * other[::-1]).tolist(), other.tolist())
    assert ratio == pytest.approx(0.8)
    assert low < 0.72
    assert high > 0.88


def test_a_ratio_to_nothing_is_no_number():
    assert all(map(math.isnan, ratio_interval([1.0, 2.0], [0.0, 0.0])))
    assert all(map(math.isnan, ratio_interval([1.0, 2.0], [-1.0, 0.5])))
    _, low, high = ratio_interval([1.0] * 4, [0.0, 0.0, 0.0, 0.4])
    assert low < 10
    assert high == math.inf  # resamples without the last one


def test_medians_are_compared_and_surer_where_people_move_together():
    other = np.random.default_rng(3).uniform(1, 2, 60)
    assert medians_interval((3 * other).tolist(), other.tolist(), np.divide) == pytest.approx((3, 3, 3))
    more, low, high = medians_interval((other[::-1] + 1).tolist(), other.tolist(), np.subtract)
    assert more == pytest.approx(1)
    assert low < 0.9
    assert high > 1.1


def test_what_half_never_met_is_beyond_all_others():
    ratio, low, high = medians_interval([10.0] * 15 + [math.inf] * 15, [100.0] * 30, np.divide)
    assert (ratio, low, high) == (math.inf, 0.1, math.inf)


def test_what_is_given_up_is_compared_where_there_is_as_much_of_the_other():
    people = np.random.default_rng(5).normal(0, 0.05, (40, 2))
    levels = np.stack([people + level for level in ((0.4, 0.9), (0.6, 0.5), (0.5, 0.8))])  # in no order
    more, low, high = traded_interval(levels, people + np.array([0.55, 0.6]))
    assert more == pytest.approx(0.65 - 0.6)
    assert (low, high) == (pytest.approx(more), pytest.approx(more))  # people differ alike in all
    strangers = np.random.default_rng(6).normal(0, 0.05, (40, 2)) + np.array([0.55, 0.6])
    more, low, high = traded_interval(levels, strangers)
    assert low < more < high


def test_where_nothing_has_as_much_there_is_no_comparison_in_favour():
    levels = np.tile([[[0.4, 0.9]], [[0.6, 0.5]]], (1, 5, 1))
    assert traded_interval(levels, np.tile([0.7, 0.1], (5, 1))) == (-math.inf,) * 3
    assert traded_interval(levels, np.tile([0.1, 0.8], (5, 1))) == pytest.approx((0.1,) * 3)
