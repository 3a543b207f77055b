from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import common.privacy
import common.privacy.mechanism
from common.errors import ConfigError, ProtocolError
from common.privacy import Mechanism, Randomness, decode, draw_share, encode, noise_variance, reduce
from common.statistics import blocks, sensitivity

SEED = b"public"


def mechanism(**changes):
    settings = {"length": 100, "scale": 50.0, "share_variance": 400, "modulus_bits": 16}
    return Mechanism(**(settings | changes))


def chance(value=0):
    return Randomness(bytes([value]) * 32)


@pytest.mark.parametrize(
    "changes",
    [
        {"length": 0},
        {"length": 2**16 + 1},
        {"length": 100.0},
        {"length": True},
        {"scale": 0.0},
        {"scale": -1.0},
        {"scale": math.inf},
        {"scale": math.nan},
        {"scale": 2.0**25},
        {"scale": 1},
        {"share_variance": -1},
        {"share_variance": 400.0},
        {"share_variance": 4**16 + 1},
        {"modulus_bits": 0},
        {"modulus_bits": 12},
        {"modulus_bits": 40},
        {"modulus_bits": 16.0},
    ],
)
def test_a_mechanism_out_of_bounds_is_refused(changes):
    with pytest.raises(ProtocolError, match=f"mechanism with {next(iter(changes))}"):
        mechanism(**changes)


@pytest.mark.parametrize(("length", "padded"), [(1, 1), (2, 2), (3, 4), (2145, 4096), (4096, 4096), (4097, 8192)])
def test_vectors_are_padded_to_a_power_of_two(length, padded):
    assert mechanism(length=length).padded == padded


@pytest.mark.parametrize(("length", "scale"), [(1, 0.01), (1, 10.0), (2145, 3.0), (2145, 314.0), (2**16, 2.0**24)])
def test_the_norm_bound_is_theorem_1(length, scale):
    """In the paper's units: granularity γ = 1/s, vectors of norm c, and Δ₂² in those units, not in integers."""
    found = mechanism(length=length, scale=scale)
    gamma, c, d = 1 / scale, sensitivity(), found.padded
    likely = c**2 + gamma**2 * d / 4 + math.sqrt(2 * math.log(math.sqrt(math.e))) * gamma * (c + gamma * d**0.5 / 2)
    certain = (c + gamma * math.sqrt(d)) ** 2
    assert found.norm_squared == pytest.approx(min(certain, likely) / gamma**2, rel=1e-12, abs=1)
    assert found.norm_squared <= min(certain, likely) / gamma**2 * (1 + 1e-12)


def test_a_rounding_that_is_too_long_is_drawn_again():
    """One number, s·S = 10.1: up would be 11, but 11² is more than 10.1² + 1/4 + 10.1 + 1/2 = 112.9."""
    found = mechanism(length=1, scale=10.1 / sensitivity())
    vector = np.array([sensitivity() * (1 - 1e-12)])
    assert found.norm_squared == 112
    drawn = {int(encode(vector, found, seed=SEED, randomness=chance(value))[0]) for value in range(100)}
    assert {abs(value) for value in drawn} == {10}


def test_rounding_goes_both_ways_and_keeps_the_expectation():
    """False alarm below 1e-9: the mean of 4,000 roundings of 64 numbers, each within 6 standard errors."""
    found, randomness = mechanism(length=64, scale=3.0), chance()
    vector = np.random.default_rng(2).normal(size=64) / 8
    encoded = np.array([encode(vector, found, seed=SEED, randomness=randomness) for _ in range(4000)])
    exact = common.privacy.mechanism.rotate(vector, SEED) * 3.0
    spread = encoded.std(axis=0)
    assert np.all(spread > 0)
    assert np.all(np.abs(encoded.mean(axis=0) - exact) < 6 * 0.5 / math.sqrt(4000))
    assert np.all(np.abs(encoded - exact) < 1)


def test_the_zero_vector_stays_zero():
    found = mechanism()
    np.testing.assert_array_equal(encode(np.zeros(100), found, seed=SEED, randomness=chance()), np.zeros(128))


@pytest.mark.parametrize(
    "vector", [np.zeros(99), np.zeros((100, 1)), np.full(100, 0.2), np.r_[math.nan, np.zeros(99)], np.full(100, 1e100)]
)
def test_a_vector_that_was_not_clipped_never_leaves(vector):
    with pytest.raises(ConfigError, match="nothing leaves"):
        encode(vector, mechanism(), seed=SEED, randomness=chance())


def test_the_longest_contribution_passes():
    vector = blocks(np.full(12, 1e9), np.ones(1), 0.3)
    found = mechanism(length=len(vector), scale=1000.0, modulus_bits=24)
    back = decode(reduce(encode(vector, found, seed=SEED, randomness=chance()), found), found, seed=SEED)
    np.testing.assert_allclose(back, vector, atol=0.01)


def test_reduction_is_modulo_two_to_the_b():
    found = mechanism(modulus_bits=8, share_variance=0)
    integers = np.array([-257, -256, -129, -1, 0, 1, 127, 128, 255, 256, 2**40 + 3])
    expected = [int(value) % 256 for value in integers]
    np.testing.assert_array_equal(reduce(integers, found), np.array(expected, dtype=np.uint32))


def test_the_lift_is_centred():
    found = mechanism(length=1, scale=1.0, modulus_bits=32)
    sign = decode(np.array([1], dtype=np.uint32), found, seed=SEED)[0]
    for residue, value in ((2**31 - 1, 2**31 - 1), (2**31, -(2**31)), (2**32 - 1, -1), (0, 0)):
        assert decode(np.array([residue], dtype=np.uint32), found, seed=SEED)[0] == sign * value


@pytest.mark.parametrize(
    "total", [np.zeros(100, dtype=np.uint32), np.zeros((128, 1), dtype=np.uint32), np.full(128, 2**16, dtype=np.uint32)]
)
def test_a_sum_of_another_shape_or_out_of_range_is_refused(total):
    with pytest.raises(ProtocolError, match="drop this round"):
        decode(total, mechanism(), seed=SEED)


def test_a_share_covers_the_padding_too():
    assert draw_share(mechanism(), chance()).shape == (128,)
    assert not draw_share(mechanism(share_variance=0), chance()).any()


def test_the_variance_of_a_decoded_number():
    assert noise_variance(mechanism(), 10) == pytest.approx(10 * 400.25 / 2500)
    assert noise_variance(mechanism(share_variance=0), 10) == 0


def test_the_package_imports_neither_scipy_nor_dp_accounting():
    """An idle device pays for neither: together they take over half a second and some 60 MB."""
    program = "import sys, common.privacy; print([name for name in ('scipy', 'dp_accounting') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_here_uses_a_generator_that_is_not_cryptographic():
    folder = Path(common.privacy.__file__).parent
    for path in folder.glob("*.py"):
        assert not re.search(r"np\.random|numpy\.random|import random|from random|import secrets", path.read_text())
