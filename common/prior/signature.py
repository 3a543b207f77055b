"""The signature under which a prior travels: Ed25519 (RFC 8032) by the operator, pinned by the device at enrolment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature

from common.errors import PriorError
from common.prior.encoding import MAXIMUM_PAYLOAD, decode_prior, encode_prior
from common.prior.model import Prior, check_prior

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_DOMAIN: Final = b"shoal prior 1\0"
"""Signed before the payload, so that this key's signature on anything else is no signature on a prior."""


@dataclass(frozen=True, slots=True)
class SignedPrior:
    """A prior as it travels: bytes of `encode_prior` and an Ed25519 signature (RFC 8032), 64 bytes."""

    payload: bytes
    signature: bytes


def sign_prior(prior: Prior, private_key: Ed25519PrivateKey) -> SignedPrior:
    """Encode and sign; the operator's side of `open_prior`."""
    payload = encode_prior(prior)
    return SignedPrior(payload=payload, signature=sign_payload(payload, private_key))


def sign_payload(payload: bytes, private_key: Ed25519PrivateKey) -> bytes:
    """Sign what `encode_prior` gave; the same signature whenever it is asked for (RFC 8032), 64 bytes."""
    return private_key.sign(_DOMAIN + payload)


def is_signed(signed: SignedPrior, public_key: Ed25519PublicKey) -> bool:
    """Tell whether this key signed it; nothing else about it is checked."""
    try:
        public_key.verify(signed.signature, _DOMAIN + signed.payload)
    except InvalidSignature:
        return False
    return True


def open_prior(signed: SignedPrior, *, public_key: Ed25519PublicKey, backbone: str, width: int) -> Prior:
    """Verify the signature, then decode, then check the numbers: the only way in for a prior.

    Raises:
        PriorError: any of the three failed; keep the last good prior.
    """
    if len(signed.payload) > MAXIMUM_PAYLOAD:
        raise PriorError(f"a prior of {len(signed.payload)} bytes exceeds {MAXIMUM_PAYLOAD}: keep the last good prior")
    if not is_signed(signed, public_key):
        raise PriorError("the signature is not the pinned operator's: keep the last good prior, or enrol again")
    prior = decode_prior(signed.payload)
    check_prior(prior, backbone=backbone, width=width)
    return prior
