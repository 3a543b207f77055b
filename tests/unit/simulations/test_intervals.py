"""Medians of numbers some of which are beyond all bounds, and how sure they are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulations.benchmarks.intervals import median_interval, share_interval


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
