"""Who may take part: an Ed25519 key (RFC 8032) of the device, certified by the operator at enrolment.

The paper assumes a public-key infrastructure (Bonawitz et al. 2017, ePrint 2017/281, section 6.2): without it a
server could put its own keys in everybody's place. Here it is the operator's certificates, so that a server which
does not hold the operator's key can invent nobody; one that does can enrol as many as it likes, which is why a
device also counts what its own noise alone protects (docs/privacy.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from common.errors import ProtocolError
from common.secagg.wire import KEY, SIGNATURE

_DOMAIN = b"shoal enrolment 1\0"


class Verify(Protocol):
    """Whether `signature` on `message` is by the holder of the Ed25519 key `public`; raises nothing."""

    def __call__(self, public: bytes, signature: bytes, message: bytes) -> bool:
        """Say yes or no."""


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Check one Ed25519 signature; the ordinary `Verify`."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Identity:
    """A device's enrolment: its private key and the operator's signature on the public one."""

    secret: bytes = field(repr=False)
    """Ed25519 private key, 32 bytes."""
    certificate: bytes
    """The operator's signature, 64 bytes."""

    def __post_init__(self) -> None:
        """Refuse sizes outside the protocol."""
        if len(self.secret) != KEY or len(self.certificate) != SIGNATURE:
            raise ProtocolError("an identity has a key of 32 bytes and a certificate of 64: enrol again")

    @property
    def public(self) -> bytes:
        """Give the public key, 32 bytes: the device's name in every round."""
        return Ed25519PrivateKey.from_private_bytes(self.secret).public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Sign in the device's name."""
        return Ed25519PrivateKey.from_private_bytes(self.secret).sign(message)


def certify(operator: Ed25519PrivateKey, public: bytes) -> bytes:
    """Give the operator's certificate for a device's public key, 64 bytes."""
    return operator.sign(_DOMAIN + public)


def check_certificate(operator: bytes, public: bytes, certificate: bytes, *, verify: Verify = verify) -> bool:
    """Say whether the operator whose public key this is enrolled the device with that public key."""
    return verify(operator, certificate, _DOMAIN + public)
