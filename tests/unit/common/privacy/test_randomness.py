from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from common.errors import ConfigError
from common.privacy import Randomness

SEED = bytes(range(32))


def test_the_stream_is_chacha20_of_rfc_8439():
    """RFC 8439, appendix A.1, test vectors 1 and 2: blocks 0 and 1 under the key of zeros."""
    stream = Randomness(bytes(32)).bytes(128)
    assert stream[:16].hex() == "76b8e0ada0f13d90405d6ae55386bd28"
    assert stream[64:80].hex() == "9f07e7be5551387a98ba977c732d080d"


def test_pieces_of_any_size_make_the_same_stream():
    pieces, whole = Randomness(SEED), Randomness(SEED).bytes(12_000)
    assert b"".join(pieces.bytes(size) for size in (0, 1, 4095, 1, 7000, 903)) == whole


def test_without_a_seed_no_two_streams_are_alike():
    assert len({Randomness().bytes(16) for _ in range(20)}) == 20


def test_the_key_comes_from_the_operating_system(monkeypatch):
    monkeypatch.setattr("os.urandom", lambda count: SEED[:count])
    assert Randomness().bytes(8) == Randomness(SEED).bytes(8)


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_seed_of_another_length_is_refused(size):
    with pytest.raises(ConfigError, match="expected 32"):
        Randomness(bytes(size))


def test_draws_below_a_bound_are_uniform_without_a_remainders_bias():
    """For 160 of 256 a remainder would give 0 to 95 twice as often. False alarm: 1e-9 (binomial, 6 sigma)."""
    randomness = Randomness(SEED)
    drawn = [randomness.below(160) for _ in range(20_000)]
    assert min(drawn) == 0
    assert max(drawn) == 159
    expected, deviation = 20_000 * 96 / 160, (20_000 * 0.6 * 0.4) ** 0.5
    assert abs(sum(value < 96 for value in drawn) - expected) < 6 * deviation


def test_bounds_of_one_of_many_bytes_and_of_a_power_of_two():
    randomness = Randomness(SEED)
    assert {randomness.below(1) for _ in range(5)} == {0}
    assert Counter(randomness.below(2) for _ in range(100)).keys() == {0, 1}
    large = [randomness.below(10**40) for _ in range(50)]
    assert all(0 <= value < 10**40 for value in large)
    assert max(large) > 10**38


def test_a_bound_below_one_is_refused():
    with pytest.raises(ConfigError, match="below 0"):
        Randomness(SEED).below(0)


def test_words_are_the_streams_bytes_little_end_first():
    words = Randomness(SEED).uint64(3)
    assert words.dtype == np.uint64
    assert words.astype("<u8").tobytes() == Randomness(SEED).bytes(24)
