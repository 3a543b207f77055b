"""Enrolment on the wire: a device asks for a certificate, and proves that the key it names is its own.

    request      u8 version = 1, Ed25519 public key (32 bytes), its signature (64) on domain, operator's key and itself
    certificate  the operator's signature, 64 bytes; see `common.secagg.identity`

The proof keeps anyone from having another's key certified, and the operator's key in it from passing a request on to
another operator. Who may be enrolled at all is for the operator to decide before answering.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from common.errors import ProtocolError
from common.secagg.identity import certify, verify
from common.secagg.wire import KEY, SIGNATURE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_DOMAIN: Final = b"shoal enrolment request 1\0"
_VERSION: Final = b"\x01"


def request(private: Ed25519PrivateKey, operator: bytes) -> bytes:
    """Ask the operator with this public key, 32 bytes, to certify a device's key."""
    public = private.public_key().public_bytes_raw()
    return _VERSION + public + private.sign(_DOMAIN + operator + public)


def answer(operator: Ed25519PrivateKey, data: bytes) -> bytes:
    """Give the certificate that a request asks for, 64 bytes.

    Raises:
        ProtocolError: it is no request, or was not made for this operator by the holder of the key in it.
    """
    if len(data) != 1 + KEY + SIGNATURE or not data.startswith(_VERSION):
        raise ProtocolError(f"{len(data)} bytes are no enrolment request: drop it, or update Shoal")
    public, signature = data[1 : 1 + KEY], data[1 + KEY :]
    if not verify(public, signature, _DOMAIN + operator.public_key().public_bytes_raw() + public):
        raise ProtocolError("the request is not by the holder of the key in it, or for another operator: drop it")
    return certify(operator, public)
