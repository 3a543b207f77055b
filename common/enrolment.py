"""Enrolment on the wire: a device asks for a certificate, and proves that the key it names is its own.

    request      u8 version = 1, Ed25519 public key (32 bytes), its signature (64) on domain, operator's key and itself
    certificate  the operator's signature, 64 bytes; see `common.secagg.identity`

With the request goes the key by which Flower knows the device, ECDSA on P-384, and the code's secret; both travel as
JSON over TLS, `Application` and `Admission`.

The proof keeps anyone from having another's key certified, and the operator's key in it from passing a request on to
another operator. Who may be enrolled at all is for the operator to decide before answering.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from common.errors import ProtocolError
from common.invitation import SECRET
from common.secagg.identity import certify, verify
from common.secagg.wire import KEY, SIGNATURE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_DOMAIN: Final = b"shoal enrolment request 1\0"
_VERSION: Final = b"\x01"
MAXIMUM_APPLICATION: Final = 4096
"""Bytes of an application, and of its answer: both have less than 1 KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A device asks to be let in; without a secret it is its key file, or asks whether the operator has that."""

    request: bytes
    """As `request` makes it."""
    node_key: str
    """The public key by which the SuperLink knows the device, PEM."""
    secret: bytes = field(default=b"", repr=False)
    """Of the code."""

    def __post_init__(self) -> None:
        """Refuse other lengths, and keys of another kind."""
        if len(self.request) != 1 + KEY + SIGNATURE or len(self.secret) not in {0, SECRET}:
            raise ProtocolError("this is no enrolment: update Shoal")
        _check_node_key(self.node_key)

    @property
    def identity(self) -> bytes:
        """The device's public key, 32 bytes; proved only once `answer` took the request."""
        return self.request[1 : 1 + KEY]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The operator let a device in."""

    certificate: bytes
    """As `answer` gives it."""
    node: int
    """The SuperLink's number for it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be one."""
        if len(self.certificate) != SIGNATURE or not 0 <= self.node < 1 << 64:
            raise ProtocolError("the server's answer is no certificate: update Shoal")


def to_json(message: Application | Admission) -> bytes:
    """Write a message; bytes as hex."""
    found = {key: value.hex() if isinstance(value, bytes) else value for key, value in asdict(message).items()}
    return json.dumps(found).encode()


def read_application(data: bytes) -> Application:
    """Read what a device sent.

    Raises:
        ProtocolError: it is no application.
    """
    found = _fields(data, {"request": str, "node_key": str, "secret": str})
    return Application(request=_bytes(found["request"]), node_key=found["node_key"], secret=_bytes(found["secret"]))


def read_admission(data: bytes) -> Admission:
    """Read what the server answered.

    Raises:
        ProtocolError: it is no admission.
    """
    found = _fields(data, {"certificate": str, "node": int})
    return Admission(certificate=_bytes(found["certificate"]), node=found["node"])


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


def _fields(data: bytes, forms: dict[str, type]) -> dict[str, Any]:
    try:
        found = json.loads(data) if len(data) <= MAXIMUM_APPLICATION else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or {key: type(value) for key, value in found.items()} != forms:
        raise ProtocolError(f"{len(data)} bytes are no enrolment: drop it, or update Shoal")
    return found


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise ProtocolError("an enrolment's bytes are not in hex: drop it") from error


def _check_node_key(text: str) -> None:
    """Demand the one spelling of a P-384 public key, so that a key has one name."""
    try:
        key = load_pem_public_key(text.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
        raise ProtocolError("the node's key is no P-384 public key in PEM: drop it")
    if key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii") != text:
        raise ProtocolError("the node's key is not spelled as everybody spells it: drop it")
