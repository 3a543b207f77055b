"""Laws of the mechanism: what goes in comes out, nobody's integers are longer than the accounting says."""

from __future__ import annotations

import math

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from common.privacy import Mechanism, Randomness, decode, draw_share, encode, plan, reduce
from common.privacy.rotation import rotate, unrotate
from common.statistics import sensitivity

KEYS = st.binary(min_size=32, max_size=32)
SEEDS = st.binary(max_size=40)
MODULI = st.sampled_from([8, 16, 24, 32])


@st.composite
def mechanisms(draw, **fixed):
    settings = {
        "length": draw(st.integers(1, 200)),
        "scale": draw(st.floats(2.0**-10, 2.0**24)),
        "share_variance": draw(st.sampled_from([0, 1, 3, 1000, 65_535])),
        "modulus_bits": draw(MODULI),
    }
    return Mechanism(**(settings | fixed))


@st.composite
def vectors(draw, length):
    """Vectors up to the bound, many of them at it: in all coordinates, in one, in few."""
    raw = draw(
        hnp.arrays(np.float64, length, elements=st.floats(-1, 1))
        | st.just(np.ones(length))
        | st.just(np.eye(length)[0])
    )
    norm, longest = float(np.linalg.norm(raw)), sensitivity() * (1 - 1e-12)
    wanted = draw(st.just(longest) | st.floats(0, longest))
    return raw * (wanted / norm) if norm > 1e-9 else np.zeros(length)


@given(data=st.data(), mechanism=mechanisms(), seed=SEEDS, key=KEYS)
def test_no_encoding_is_longer_than_the_accounting_says(data, mechanism, seed, key):
    vector = data.draw(vectors(mechanism.length))
    integers = encode(vector, mechanism, seed=seed, randomness=Randomness(key))
    assert sum(int(value) ** 2 for value in integers) <= mechanism.norm_squared


@given(data=st.data(), mechanism=mechanisms(), seed=SEEDS, key=KEYS)
def test_rounding_moves_no_coordinate_by_one(data, mechanism, seed, key):
    vector = data.draw(vectors(mechanism.length))
    integers = encode(vector, mechanism, seed=seed, randomness=Randomness(key))
    exact = rotate(np.pad(vector, (0, mechanism.padded - mechanism.length)), seed) * mechanism.scale
    assert np.all(np.abs(integers - exact) <= 1)


@given(data=st.data(), people=st.integers(1, 6), length=st.integers(1, 200), seed=SEEDS, key=KEYS)
def test_the_sum_of_encodings_decodes_to_the_sum(data, people, length, seed, key):
    """Within a rounding of less than 1/scale for each person and coordinate, which is √D/scale in norm."""
    mechanism = plan(length=length, people=people, honest=1, epsilon=math.inf, delta=0.5)
    rows = [data.draw(vectors(length)) for _ in range(people)]
    randomness = Randomness(key)
    encoded = [encode(row, mechanism, seed=seed, randomness=randomness) for row in rows]
    total = np.sum([reduce(integers, mechanism) for integers in encoded], axis=0, dtype=np.uint64)
    back = decode(reduce(total.astype(np.int64), mechanism), mechanism, seed=seed)
    assert back.shape == (length,)
    slack = people * math.sqrt(mechanism.padded) / mechanism.scale + 1e-12 * people
    assert np.linalg.norm(back - np.sum(rows, axis=0)) <= slack


@given(bits=MODULI, rows=hnp.arrays(np.int64, (5, 8), elements=st.integers(-(2**40), 2**40)))
def test_sums_wrap_alike_whether_reduced_before_or_after(bits, rows):
    mechanism = Mechanism(length=8, scale=1.0, share_variance=0, modulus_bits=bits)
    each = np.sum([reduce(row, mechanism).astype(np.int64) for row in rows], axis=0)
    np.testing.assert_array_equal(reduce(each, mechanism), reduce(rows.sum(axis=0), mechanism))
    assert all(int(a) == int(b) % 2**bits for a, b in zip(reduce(rows[0], mechanism), rows[0], strict=True))


@given(data=st.data(), bits=MODULI)
def test_integers_within_half_the_modulus_come_back_exactly(data, bits):
    mechanism = Mechanism(length=16, scale=1.0, share_variance=0, modulus_bits=bits)
    half = 2 ** (bits - 1)
    integers = data.draw(hnp.arrays(np.int64, 16, elements=st.integers(-half, half - 1)))
    lifted = rotate(decode(reduce(integers, mechanism), mechanism, seed=b"s"), b"s")
    np.testing.assert_allclose(lifted, integers, atol=1e-5)
    np.testing.assert_array_equal(np.round(lifted).astype(np.int64), integers)


@given(data=st.data(), power=st.integers(0, 12), seed=SEEDS)
@settings(max_examples=50)
def test_the_rotation_keeps_norms_and_angles_and_comes_back(data, power, seed):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    left, right = rng.normal(size=(2, 2**power))
    np.testing.assert_allclose(rotate(left, seed) @ rotate(right, seed), left @ right, atol=1e-9)
    np.testing.assert_allclose(unrotate(rotate(left, seed), seed), left, atol=1e-11)


@given(data=st.data(), mechanism=mechanisms(share_variance=1000), seed=SEEDS, key=KEYS)
@settings(max_examples=30)
def test_noise_is_added_to_the_integers_and_nothing_else(data, mechanism, seed, key):
    vector = data.draw(vectors(mechanism.length))
    one, two = Randomness(key), Randomness(key)
    sent = reduce(encode(vector, mechanism, seed=seed, randomness=one) + draw_share(mechanism, one), mechanism)
    integers, share = encode(vector, mechanism, seed=seed, randomness=two), draw_share(mechanism, two)
    assert sent.dtype == np.uint32
    back = [(int(s) - int(n)) % 2**mechanism.modulus_bits for s, n in zip(sent, share, strict=True)]
    assert back == [int(value) % 2**mechanism.modulus_bits for value in integers]
