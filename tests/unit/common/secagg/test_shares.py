"""Shamir shares: opening is what the package would do, and nothing malformed ever opens."""

from __future__ import annotations

import os
import secrets

import pytest
import shamirs

from common.secagg.shares import CIPHERTEXT, PRIME, SHARE, commit_to_seed, commit_to_share, join, seal, split, unseal


def points(values):
    return dict(enumerate(values, start=1))


def test_the_field_is_the_smallest_that_holds_every_secret():
    from sympy import isprime

    assert isprime(PRIME)
    assert not any(isprime(2**256 + more) for more in range(297))
    assert PRIME < 256**SHARE


@pytest.mark.parametrize(("threshold", "quantity"), [(2, 3), (5, 8), (9, 9), (1, 2), (20, 40)])
def test_any_threshold_of_shares_opens_the_secret(threshold, quantity):
    for secret in (os.urandom(32), bytes(32), b"\xff" * 32):
        values = points(split(secret, quantity, threshold))
        for start in range(quantity - threshold + 1):
            some = {x: values[x] for x in sorted(values, reverse=bool(start % 2))[start : start + threshold]}
            assert join(some, threshold) == secret
        assert join(values, threshold) == secret


@pytest.mark.parametrize(("threshold", "quantity"), [(2, 4), (6, 10)])
def test_opening_is_what_the_package_does(threshold, quantity):
    """Lagrange's formula here, `shamirs.interpolate` there."""
    for _ in range(5):
        secret = os.urandom(32)
        values = split(secret, quantity, threshold)
        some = dict(sorted(points(values).items(), key=lambda _: os.urandom(4))[:threshold])
        theirs = shamirs.interpolate(
            [shamirs.share(x, int.from_bytes(value, "little"), PRIME) for x, value in some.items()],
            threshold=threshold,
        )
        assert join(some, threshold) == secret == theirs.to_bytes(32, "little")


def test_too_few_shares_open_nothing():
    values = points(split(os.urandom(32), 6, 4))
    del values[1], values[3], values[5]
    assert join(values, 4) is None
    assert join({}, 1) is None


def test_fewer_shares_fit_every_secret():
    """With t − 1 shares each secret is as likely as another: one more share can be made for any of them."""
    secret, threshold = os.urandom(32), 3
    known = {x: int.from_bytes(value, "little") for x, value in points(split(secret, 5, threshold)).items() if x < 3}
    for guess in (secret, os.urandom(32), bytes(32)):
        line = [(0, int.from_bytes(guess, "little")), *known.items()]
        at = 3
        value = 0
        for x, y in line:
            weight = 1
            for other, _ in line:
                if other != x:
                    weight = weight * (at - other) * pow(x - other, -1, PRIME) % PRIME
            value = (value + y * weight) % PRIME
        shares = {x: y.to_bytes(SHARE, "little") for x, y in [*known.items(), (at, value)]}
        assert join(shares, threshold) == guess


@pytest.mark.parametrize("value", [PRIME, PRIME + 1, 256**SHARE - 1])
def test_a_share_outside_the_field_opens_nothing(value):
    values = points(split(os.urandom(32), 4, 3))
    values[2] = value.to_bytes(SHARE, "little")
    assert join(values, 3) is None


def test_shares_of_more_than_32_bytes_open_nothing():
    """An element of the field that is no secret: 2²⁵⁶ itself, shared honestly."""
    made = shamirs.shares(2**256, 4, modulus=PRIME, threshold=2)
    assert join({share.index: share.value.to_bytes(SHARE, "little") for share in made}, 2) is None


def test_a_wrong_share_opens_another_secret_and_the_commitment_says_so():
    secret, owner = os.urandom(32), b"o" * 32
    values = points(split(secret, 4, 3))
    values[1] = os.urandom(32) + b"\0"
    opened = join(values, 3)
    assert opened != secret
    promised = commit_to_seed(bytes(32), owner, secret)
    assert opened is None or commit_to_seed(bytes(32), owner, opened) != promised


def test_coefficients_come_from_the_operating_system(monkeypatch):
    """`secrets` is the only source: whoever replaces it sees each coefficient drawn from the whole field."""
    asked = []

    def below(bound):
        asked.append(bound)
        return 0

    monkeypatch.setattr(secrets, "randbelow", below)
    values = split(b"\5" + bytes(31), 4, 3)
    assert asked == [PRIME, PRIME]
    assert values == [(5).to_bytes(SHARE, "little")] * 4


def test_a_commitment_covers_everything_it_is_about():
    given = {"transcript": b"t" * 32, "owner": b"o" * 32, "holder": b"h" * 32, "value": b"v" * SHARE, "of_seed": True}
    others = [given | {name: b"x" * len(value)} for name, value in given.items() if name != "of_seed"]
    others.append(given | {"of_seed": False})
    assert len({commit_to_share(**one) for one in [given, *others]}) == 6


def test_sealed_shares_open_with_their_key_and_transcript_alone():
    key, nonce, shares, digest = os.urandom(32), os.urandom(12), os.urandom(2 * SHARE), os.urandom(32)
    sealed = seal(key, nonce, shares, digest)
    assert len(sealed) == CIPHERTEXT
    assert unseal(key, sealed, digest) == shares
    assert unseal(os.urandom(32), sealed, digest) == b""
    assert unseal(key, sealed, os.urandom(32)) == b""
    for at in range(CIPHERTEXT):
        assert unseal(key, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], digest) == b""
