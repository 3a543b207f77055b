from __future__ import annotations

import math

import numpy as np
import pytest

from common.errors import ProtocolError
from common.statistics import block_length, blocks, clip, sensitivity, split, svec, unsvec


def test_svec_goes_by_rows_and_weighs_off_diagonals_with_the_root_of_two():
    matrix = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]])
    root = math.sqrt(2)
    np.testing.assert_allclose(svec(matrix), [1, 2 * root, 3 * root, 4, 5 * root, 6], rtol=1e-15)
    np.testing.assert_allclose(unsvec(svec(matrix)), matrix, rtol=1e-15)


def test_a_vector_that_is_no_triangle_is_refused():
    with pytest.raises(ProtocolError, match="4 numbers"):
        unsvec(np.zeros(4))


def test_a_long_vector_is_scaled_and_a_short_one_is_left_alone():
    np.testing.assert_allclose(clip(np.array([30.0, 40.0]), 5.0), [3.0, 4.0], rtol=1e-11)
    np.testing.assert_array_equal(clip(np.array([0.3, 0.4]), 5.0), [0.3, 0.4])


def test_scrubbed_entries_do_not_count_towards_the_norm():
    np.testing.assert_array_equal(clip(np.array([math.nan, math.inf, -math.inf, 0.5]), 1.0), [0, 0, 0, 0.5])


def test_huge_entries_keep_their_direction():
    np.testing.assert_allclose(clip(np.array([3e300, -4e300]), 1.0), [0.6, -0.8], rtol=1e-11)


def test_the_length_stated_in_the_design():
    assert block_length(64) == 2145


def test_the_bound_is_attained_so_it_cannot_be_smaller():
    vector = blocks(np.full(64, 7.0), np.ones(1), 1.0)
    assert sensitivity() * (1 - 1e-11) <= np.linalg.norm(vector) <= sensitivity()


def test_a_sum_reads_back_as_the_moments_of_the_rows():
    rng = np.random.default_rng(1)
    rows, shares = rng.normal(size=(9, 5)), rng.dirichlet([1.0, 1.0, 1.0], size=9)
    read = split(sum(blocks(x, r, 50.0) for x, r in zip(rows, shares, strict=True)), 5, 3, 50.0)
    for j, (people, sum_x, sum_xx, _) in enumerate(read):
        assert people == pytest.approx(shares[:, j].sum(), rel=1e-12)
        np.testing.assert_allclose(sum_x, shares[:, j] @ rows, rtol=1e-12)
        np.testing.assert_allclose(sum_xx, (rows * shares[:, [j]]).T @ rows, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "total", [np.zeros(5), np.zeros((6, 1)), np.full(6, np.nan), np.array([0, 0, 0, 0, 0, np.inf])]
)
def test_a_sum_of_another_length_or_not_finite_is_refused(total):
    with pytest.raises(ProtocolError, match="drop this round"):
        split(total, 2, 1, 1.0)
