from __future__ import annotations

import pytest

from client.sealing import Seal
from common.errors import VaultError

SEAL = Seal(bytes(range(32)))


def test_what_was_sealed_opens_under_its_own_label_alone():
    sealed = SEAL.seal(b"token", "concept/my-dog/token")
    assert SEAL.open(sealed, "concept/my-dog/token") == b"token"
    assert b"token" not in sealed
    with pytest.raises(VaultError, match="concept/my-cat/token is damaged"):
        SEAL.open(sealed, "concept/my-cat/token")


def test_the_same_is_never_sealed_twice_alike():
    assert len({SEAL.seal(b"token", "x") for _ in range(100)}) == 100


@pytest.mark.parametrize("place", range(40))
def test_every_changed_byte_shows(place):
    sealed = bytearray(SEAL.seal(b"what I taught", "x"))
    if place < len(sealed):
        sealed[place] ^= 1
        with pytest.raises(VaultError):
            SEAL.open(bytes(sealed), "x")


@pytest.mark.parametrize("length", range(30))
def test_what_was_cut_off_does_not_open(length):
    with pytest.raises(VaultError):
        SEAL.open(SEAL.seal(b"", "x")[:length] if length < 29 else b"", "x")


def test_another_key_opens_nothing():
    with pytest.raises(VaultError, match="of another vault"):
        Seal(bytes(32)).open(SEAL.seal(b"token", "x"), "x")


def test_a_key_is_not_shown_by_accident():
    assert "\\x01" not in repr(SEAL)
    assert SEAL.key.hex() not in repr(SEAL)
