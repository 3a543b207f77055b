"""Shamir shares of 32-byte secrets, and the encryption under which they travel.

Sharing is `shamirs` 4.0.0: maintained, MIT, pure Python without a binary to trust, any prime field (so that a secret
of 256 bits is one element; pycryptodome's field has 128 bits), coefficients from `secrets.randbelow`, which is the
operating system's generator. Its `interpolate` inverts t² times, over a second for each secret at t = 86, so opening
is Lagrange's formula at 0 written out below: public arithmetic modulo a prime, held equal to `interpolate` by a test.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Final

import shamirs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from common.secagg.wire import KEY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRIME: Final = 2**256 + 297
"""The smallest prime above 2²⁵⁶, so that every 32-byte secret is an element."""
SHARE: Final = 33
"""Bytes of a share's value, little-endian; its place x is known to everybody from the graph."""
NONCE: Final = 12
CIPHERTEXT: Final = NONCE + 2 * SHARE + 16
"""Bytes of two encrypted shares: nonce, two values, AES-GCM's tag."""
_SEED: Final = b"shoal secagg self mask commitment 1\0"
_SEED_SHARE: Final = b"shoal secagg self mask share commitment 1\0"
_MASK_KEY_SHARE: Final = b"shoal secagg mask key share commitment 1\0"


def split(secret: bytes, quantity: int, threshold: int) -> list[bytes]:
    """Split a 32-byte secret into shares for x = 1, 2, … quantity, of which any `threshold` open it."""
    points = shamirs.shares(int.from_bytes(secret, "little"), quantity, modulus=PRIME, threshold=threshold)
    return [point.value.to_bytes(SHARE, "little") for point in points]


def join(points: Mapping[int, bytes], threshold: int) -> bytes | None:
    """Open a secret from shares by x; None where they are too few, malformed or do not make 32 bytes.

    Shares beyond the threshold are not looked at: whoever opens a secret checks it against its commitment.
    """
    if len(points) < threshold:
        return None
    places = sorted(points)[:threshold]
    values = [int.from_bytes(points[x], "little") for x in places]
    if any(value >= PRIME for value in values):
        return None
    secret = sum(weight * value for weight, value in zip(_weights(tuple(places)), values, strict=True)) % PRIME
    return secret.to_bytes(KEY, "little") if secret >> 256 == 0 else None


@lru_cache(maxsize=1024)
def _weights(places: Sequence[int]) -> tuple[int, ...]:
    """Give λ_x = Π y/(y − x) over the other places y: the secret is Σ λ_x f(x), Lagrange's formula at 0."""
    whole = prod(places)
    return tuple(whole * pow(x * prod(y - x for y in places if y != x), -1, PRIME) % PRIME for x in places)


def commit_to_seed(context: bytes, owner: bytes, seed: bytes) -> bytes:
    """Commit to b, so that whoever opens it knows that it is right.

    SHA-256 of a value of 256 random bits: hiding, since nobody can guess it, and binding, since nobody finds two.
    """
    return hashlib.sha256(_SEED + context + owner + seed).digest()


def commit_to_share(transcript: bytes, owner: bytes, holder: bytes, value: bytes, *, of_seed: bool) -> bytes:
    """Commit to the holder's share of the owner's b or s^SK, so that a false share is known as one.

    Hiding and binding as `commit_to_seed`: to whoever lacks a share, it is uniform in the field.
    """
    label = _SEED_SHARE if of_seed else _MASK_KEY_SHARE
    return hashlib.sha256(label + transcript + owner + holder + value).digest()


def seal(key: bytes, nonce: bytes, shares: bytes, transcript: bytes) -> bytes:
    """Encrypt two shares for one neighbour with AES-256-GCM: nonce, ciphertext, tag."""
    return nonce + AESGCM(key).encrypt(nonce, shares, transcript)


def unseal(key: bytes, sealed: bytes, transcript: bytes) -> bytes:
    """Decrypt what `seal` wrote: two shares, or nothing where it was made otherwise or altered."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE], sealed[NONCE:], transcript)
    except InvalidTag:
        return b""
