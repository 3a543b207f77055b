from __future__ import annotations

import numpy as np
import pytest

from common.privacy.rotation import hadamard, rotate, signs, unrotate


def sylvester(size):
    """The Walsh-Hadamard matrix, by its definition."""
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_the_fast_transform_is_the_matrix(size):
    vector = np.random.default_rng(size).normal(size=size)
    np.testing.assert_allclose(hadamard(vector), sylvester(size) @ vector / np.sqrt(size), atol=1e-13)


def test_the_argument_is_left_alone():
    vector = np.arange(4.0)
    hadamard(vector)
    np.testing.assert_array_equal(vector, [0, 1, 2, 3])


def test_signs_are_the_bits_of_shake_256_and_never_change():
    """Golden: a second implementation must find the same signs; `shake_256(b"shoal rotation v1\\0seed")`, 0 is +."""
    found = "".join("+" if sign > 0 else "-" for sign in signs(b"seed", 20))
    assert found == "+-+++-------++-+--+-"
    np.testing.assert_array_equal(signs(b"seed", 20), signs(b"seed", 4096)[:20])
    assert not np.array_equal(signs(b"seed", 64), signs(b"seee", 64))


def test_a_vector_of_one_entry_is_spread_evenly():
    vector = np.zeros(1024)
    vector[77] = 5.0
    np.testing.assert_allclose(np.abs(rotate(vector, b"public")), 5 / 32, rtol=1e-13)


def test_a_sum_of_equal_vectors_is_spread_too():
    """All ones is a row of the matrix: without signs it would end up in one coordinate."""
    assert np.abs(hadamard(np.ones(1024))).max() == pytest.approx(32)
    assert np.abs(rotate(np.ones(1024), b"public")).max() < 5


def test_unrotate_is_the_inverse():
    vector = np.random.default_rng(1).normal(size=4096)
    np.testing.assert_allclose(unrotate(rotate(vector, b"s"), b"s"), vector, atol=1e-12)
    assert not np.allclose(unrotate(rotate(vector, b"s"), b"t"), vector, atol=0.1)
