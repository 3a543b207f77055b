from __future__ import annotations

import math

import numpy as np
import pytest

from common.denoising import (
    QUIET,
    NoiseFloor,
    believed_mean,
    counts,
    denoised,
    is_off_centre,
    is_spread,
    noise_floor,
)
from common.statistics import Moments, Noise


def moments(mean, people=100.0, noise=Noise()):  # noqa: B008  immutable
    mean = np.array(mean)
    return Moments(people=people, sum_x=people * mean, sum_xx=people * np.outer(mean, mean), noise=noise)


def test_without_noise_there_is_no_floor_and_nothing_is_touched():
    values = np.array([3.0, 1.0, 0.5, -1e-17])
    assert noise_floor(moments([1.0, 2.0])) is QUIET
    found, above = denoised(values, QUIET, 2)
    assert found is values
    assert above == 4
    np.testing.assert_array_equal(believed_mean(moments([1.0, 2.0, 3.0])), moments([1.0, 2.0, 3.0]).sum_x / 100)
    assert is_spread(moments([0.0]), np.zeros((1, 1)))
    assert is_off_centre(moments([1e-9]))


def test_the_floor_by_hand_for_people_around_the_anchor():
    """p = 64, no mean: √(2·64·9) and 1.65·3/2 of fluctuation, and what e eᵀ/n adds; over n − 1."""
    floor = noise_floor(moments(np.zeros(64), people=101.0, noise=Noise(sum_x=4.0, sum_xx=9.0)))
    assert floor.edge == pytest.approx(math.sqrt(1152) / 100)
    assert floor.level == pytest.approx((math.sqrt(1152) + 1.65 * 3 / 2 + 4 / 101) / 100)


def test_a_mean_far_from_the_anchor_lifts_the_floor():
    noise = Noise(people=1.0, sum_x=4.0, sum_xx=9.0)
    floor = noise_floor(moments([2.0, *[0.0] * 63], people=101.0, noise=noise))
    assert floor.edge == pytest.approx(math.sqrt(1152) / 100)
    expected, sideways = math.sqrt(1152 + 64 * 4 * 4), math.sqrt(9 + 4 * 4 * 4 + 16)
    assert floor.level == pytest.approx((expected + 1.65 * sideways / 2 + 4 / 101) / 100)


def test_a_direction_above_the_floor_loses_its_lift_and_the_others_become_one():
    """One pass by hand: the others start at the mean, 0.375; √(0.675² − 0.4²) above it is kept. The trace stays."""
    values = np.array([1.05, 0.5, 0.15, -0.2])
    found, above = denoised(values, NoiseFloor(level=0.6, edge=0.4), 3)
    assert above == 1
    assert found[0] == pytest.approx(0.375 + math.sqrt(0.675**2 - 0.4**2))
    assert found.sum() == pytest.approx(1.5)
    np.testing.assert_allclose(found[1:], (1.5 - found[0]) / 3)


def test_a_direction_that_others_hid_is_found_when_those_are_taken_out():
    """0.9 does not stand above the mean of 1.4 at first, but does above that of the two that are left."""
    found, above = denoised(np.array([4.0, 0.9, 0.4, 0.3]), NoiseFloor(level=0.3, edge=0.2), 3)
    assert above == 2
    assert found.sum() == pytest.approx(5.6)


def test_nothing_above_the_floor_leaves_a_sphere():
    found, above = denoised(np.array([0.3, 0.1, -0.1]), NoiseFloor(level=0.5, edge=0.4), 3)
    assert above == 0
    np.testing.assert_allclose(found, [0.1, 0.1, 0.1])


def test_a_trace_that_noise_made_negative_leaves_what_noise_may_have_hidden():
    found, above = denoised(np.array([0.1, -0.4, -0.9]), NoiseFloor(level=0.8, edge=0.6), 3)
    assert above == 0
    np.testing.assert_allclose(found, 0.6 / (math.sqrt(2) * 3))


def test_no_more_directions_than_wanted_and_never_all():
    values = np.array([9.0, 8.0, 7.0, 0.1])
    floor = NoiseFloor(level=0.01, edge=0.008)
    assert denoised(values, floor, 2)[1] == 2
    assert denoised(values, floor, 9)[1] == 3
    assert denoised(np.array([5.0]), floor, 9) == (pytest.approx([5.0]), 0)


def test_the_mean_is_shrunk_by_what_noise_lengthened_it():
    """‖Σx‖² = 100²·9 with noise of 2,500 an entry in 6 dimensions: 1 − 4·2500/90000."""
    noisy = moments([3.0, 0, 0, 0, 0, 0], noise=Noise(sum_x=2500.0, sum_xx=1.0))
    np.testing.assert_allclose(believed_mean(noisy), [3 * (1 - 1 / 9), 0, 0, 0, 0, 0])


def test_a_mean_that_is_all_noise_is_the_anchor():
    lost = moments([0.1, 0, 0, 0], noise=Noise(sum_x=2500.0, sum_xx=1.0))
    np.testing.assert_array_equal(believed_mean(lost), np.zeros(4))
    assert not is_off_centre(lost)


def test_a_mean_out_of_a_priors_bounds_is_brought_back():
    far = moments([5e3, 0, 0], noise=Noise(sum_x=1.0, sum_xx=1.0))
    assert np.linalg.norm(believed_mean(far)) == pytest.approx(1e3)


def test_a_count_that_noise_may_have_made_up_is_none():
    assert counts(moments([0.0], people=20.0), 2.0)
    assert not counts(moments([0.0], people=1.5), 2.0)
    assert not counts(moments([0.0], people=20.0, noise=Noise(people=36.0)), 2.0)
    assert counts(moments([0.0], people=25.0, noise=Noise(people=36.0)), 2.0)
    assert not counts(moments([0.0], people=-5.0, noise=Noise(people=36.0)), 0.0)


def test_a_spread_must_stand_above_its_noise():
    noisy = moments(np.zeros(4), people=101.0, noise=Noise(sum_x=1.0, sum_xx=25.0))
    reach = 4 * 10.0 / 100  # the trace of four diagonal entries of variance 25, over n − 1
    assert is_spread(noisy, np.eye(4) * 1.01 * reach / 4)
    assert not is_spread(noisy, np.eye(4) * 0.99 * reach / 4)
    assert not is_spread(noisy, -np.eye(4))
