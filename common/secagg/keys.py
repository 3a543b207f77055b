"""Pairs of members agree on keys: X25519 (RFC 7748), then HKDF-SHA256 (RFC 5869) with the round's transcript."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from common.errors import ProtocolError
from common.secagg.wire import KEY

PAIR: Final = b"shoal secagg pairwise mask 1\0"
SELF: Final = b"shoal secagg self mask 1\0"
SHARE: Final = b"shoal secagg share encryption 1\0"


def private_key(secret: bytes) -> X25519PrivateKey:
    """Make a private key of 32 bytes ready for many agreements; it is half the cost of one."""
    return X25519PrivateKey.from_private_bytes(secret)


def public_key(secret: bytes) -> bytes:
    """Give the X25519 public key of a private one, 32 bytes."""
    return private_key(secret).public_key().public_bytes_raw()


def agree(private: X25519PrivateKey, public: bytes) -> bytes:
    """KA.agree of the paper: the X25519 shared secret, 32 bytes.

    Raises:
        ProtocolError: the public key is a point of low order, whose secrets everybody knows.
    """
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:  # the shared secret is all zero
        raise ProtocolError("a public key is a point of low order: take no part in this round") from None


def derive(label: bytes, material: bytes, *info: bytes) -> bytes:
    """Derive a key of 32 bytes for one purpose; `info` is fixed-length fields, so that no two readings agree."""
    return HKDF(algorithm=SHA256(), length=KEY, salt=None, info=label + b"".join(info)).derive(material)
