"""What server and client say to each other, as flat fields that any transport can carry.

A message is a frozen dataclass; `to_fields` and `from_fields` turn it into named scalars and bytes and back.
`from_fields` demands exactly the fields of the message with exactly their types, and each message checks its own
values, so that hostile fields raise only `ProtocolError` and the code behind trusts what it gets.

    query.ready    ReadyQuery   -> ReadyReply    who could contribute now
    train.keys     RoundCall    -> StepReply     the round as announced; my signed keys for it
    train.shares   RoundStep    -> StepReply     everybody's keys; my secrets in shares, each for one neighbour
    train.masked   RoundStep    -> StepReply     the shares for me; my encoded, noised, masked vector
    train.confirm  RoundStep    -> StepReply     whose vectors arrived; my signature over that
    train.unmask   RoundStep    -> StepReply     everybody's signatures; my shares of what opens the sum
    query.prior    PriorNotice  -> PriorReply    a new signed prior

What is inside the bytes of a step is `common.secagg`'s, with a format of its own.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from common.errors import PriorError, ProtocolError
from common.prior import KINDS, MAXIMUM_DIMENSIONS, MAXIMUM_NORM, MAXIMUM_PAYLOAD, Kind, check_public_basis
from common.privacy.mechanism import Mechanism
from common.secagg.rules import MINIMUM_PEOPLE, Rules, digest_parameters
from common.secagg.wire import MAXIMUM_PEOPLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

Fields = dict[str, str | int | float | bool | bytes]

_BACKBONE: Final = re.compile(r"[0-9a-f]{64}")
_ROUND: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
_TYPES: Final[dict[str, type]] = {
    "str": str, "Kind": str, "int": int, "float": float, "bool": bool, "bytes": bytes
}  # fmt: skip
_SIGNATURE: Final = 64
"""Bytes of an Ed25519 signature (RFC 8032)."""
_DIGEST: Final = 32
"""Bytes of SHA-256."""
ROUND_SECONDS: Final = 900.0
"""A round is over so long after its announcement, whatever became of it: a server has its five exchanges in it, and
a device answers nothing of it any more, so that what it kept is of no use in a backup."""
MAXIMUM_STEP: Final = 4 * 2**20
"""Bytes of one exchange: far above a list of 1,024 people or a vector of 65,536 integers, below Flower's 5 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyQuery:
    """Ask whether a person could contribute to a round of this kind now."""

    kind: Kind
    backbone: str
    prior_version: int
    """The version that the round would run under; 0 while there is none."""

    def __post_init__(self) -> None:
        """Refuse values outside the protocol."""
        _check_subject(self.kind, self.backbone)
        _check(self.prior_version >= 0, "prior_version", self.prior_version)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyReply:
    """Yes or no, and nothing else about the person."""

    ready: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundCall:
    """Announce a round and call a person to it; everyone in it gets the very same.

    `parameters` of it go into every signature and key of the round, so nobody can be told otherwise later. Cohorts
    never travel here: from version 1 on a device takes basis and cohorts from the signed prior it holds.
    """

    round_id: str
    kind: Kind
    backbone: str
    prior_version: int
    prior_digest: bytes
    """SHA-256 of that prior's signed payload; empty while prior_version is 0."""
    public_basis: bytes
    """P as `pack_basis` wrote it while prior_version is 0, empty afterwards."""
    basis_digest: bytes
    """SHA-256 of P as `pack_basis` writes it, whether it travels here or not."""
    clip: float
    """C, in units of the embedding."""
    minimum_people: int
    """With fewer signed keys the round ends before anything about anyone is sent."""
    length: int
    """Numbers in a vector; this and the next three are `common.privacy`'s mechanism."""
    scale: float
    """Integers per unit of the vector."""
    share_variance: int
    """Of one person's noise, in integers squared."""
    modulus_bits: int

    def __post_init__(self) -> None:
        """Refuse values outside the protocol."""
        _check_subject(self.kind, self.backbone)
        _check(_ROUND.fullmatch(self.round_id) is not None, "round_id", self.round_id[:64])
        _check(self.prior_version >= 0, "prior_version", self.prior_version)
        first = self.prior_version == 0
        _check(len(self.prior_digest) == (0 if first else _DIGEST), "prior_digest", f"{len(self.prior_digest)} bytes")
        _check(bool(self.public_basis) == first, "public_basis", f"{len(self.public_basis)} bytes")
        _check(len(self.basis_digest) == _DIGEST, "basis_digest", f"{len(self.basis_digest)} bytes")
        _check(math.isfinite(self.clip) and 0 < self.clip <= MAXIMUM_NORM, "clip", self.clip)
        _check(MINIMUM_PEOPLE <= self.minimum_people <= MAXIMUM_PEOPLE, "minimum_people", self.minimum_people)
        self.mechanism()

    def mechanism(self) -> Mechanism:
        """Give what encodes and protects the vectors of this round."""
        return Mechanism(
            length=self.length,
            scale=self.scale,
            share_variance=self.share_variance,
            modulus_bits=self.modulus_bits,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStep:
    """The next exchange of a round."""

    round_id: str
    context: bytes
    """SHA-256 over everything announced: the same in each exchange."""
    request: bytes

    def __post_init__(self) -> None:
        """Refuse values outside the protocol."""
        _check(_ROUND.fullmatch(self.round_id) is not None, "round_id", self.round_id[:64])
        _check(len(self.context) == _DIGEST, "context", f"{len(self.context)} bytes")
        _check(len(self.request) <= MAXIMUM_STEP, "request", f"{len(self.request)} bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReply:
    """What a device answers in an exchange of a round: one message of `common.secagg`."""

    reply: bytes

    def __post_init__(self) -> None:
        """Refuse sizes outside the protocol."""
        _check(len(self.reply) <= MAXIMUM_STEP, "reply", f"{len(self.reply)} bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorNotice:
    """A new prior under the operator's signature; see `common.prior.SignedPrior`."""

    backbone: str
    """Which backbone it is said to be for: the signed payload must say the same."""
    payload: bytes
    signature: bytes

    def __post_init__(self) -> None:
        """Refuse sizes outside the protocol before anything is verified."""
        _check(_BACKBONE.fullmatch(self.backbone) is not None, "backbone", self.backbone[:64])
        _check(len(self.payload) <= MAXIMUM_PAYLOAD, "payload", f"{len(self.payload)} bytes")
        _check(len(self.signature) == _SIGNATURE, "signature", f"{len(self.signature)} bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorReply:
    """Whether the prior is now the person's own; a refusal says no more than that."""

    stored: bool


Form = ReadyQuery | ReadyReply | RoundCall | RoundStep | StepReply | PriorNotice | PriorReply
Message = TypeVar("Message", ReadyQuery, ReadyReply, RoundCall, RoundStep, StepReply, PriorNotice, PriorReply)


def to_fields(message: Form) -> Fields:
    """Give a message's fields by name."""
    return {field.name: getattr(message, field.name) for field in fields(message)}


def from_fields(form: type[Message], found: Mapping[str, object]) -> Message:
    """Read a message of the given form, trusting nothing.

    Raises:
        ProtocolError: a field is missing, unknown, of another type or out of bounds.
    """
    expected = {field.name: _TYPES[str(field.type)] for field in fields(form)}
    if found.keys() != expected.keys():
        message = f"{form.__name__} needs exactly the fields {sorted(expected)}: update Shoal on both sides"
        raise ProtocolError(message)
    for name, kind in expected.items():
        _check(type(found[name]) is kind, name, type(found[name]).__name__)  # `type`, because True is an int
    return form(**found)  # type: ignore[arg-type] # the types were checked one by one just above


def pack_basis(basis: NDArray[np.floating]) -> bytes:
    """Write a public basis (width, dimensions) for `RoundCall`: by rows, float32."""
    return np.ascontiguousarray(basis, dtype="<f4").tobytes()


def unpack_basis(data: bytes, *, width: int) -> NDArray[np.float64]:
    """Read what `pack_basis` wrote and check it.

    Raises:
        ProtocolError: not `width` rows, or not orthonormal.
    """
    _check(0 < len(data) <= 4 * width * MAXIMUM_DIMENSIONS and len(data) % (4 * width) == 0, "public_basis", len(data))
    basis = np.frombuffer(data, "<f4").astype(np.float64).reshape(width, -1)
    try:
        check_public_basis(basis, width=width)
    except PriorError as error:
        raise ProtocolError(str(error)) from error
    return basis


def rules_of(call: RoundCall, operator: bytes) -> Rules:
    """Give the terms of the secure sum that an announcement sets, bound to all that was announced.

    Args:
        call: the announcement.
        operator: the operator's Ed25519 public key, 32 bytes.

    Raises:
        ProtocolError: terms outside the protocol.
    """
    mechanism = call.mechanism()
    return Rules(
        operator=operator,
        parameters=digest_parameters(parameters(call)),
        minimum_people=call.minimum_people,
        length=mechanism.padded,
        modulus_bits=mechanism.modulus_bits,
    )


def parameters(call: RoundCall) -> bytes:
    """Write all that was announced for a round, in one way only.

    Each field in the order of `RoundCall`: strings and bytes with their length (8 bytes, big-endian) before them,
    integers as 8 bytes two's complement and numbers as IEEE 754 double precision, both big-endian.

    Raises:
        ProtocolError: an integer that 8 bytes cannot hold.
    """
    return b"".join(_canonical(value) for value in to_fields(call).values())


def _canonical(value: str | float | bytes) -> bytes:
    if isinstance(value, int):
        _check(abs(value) < 2**63, "integer", value)
        return value.to_bytes(8, "big", signed=True)
    if isinstance(value, float):
        return struct.pack(">d", value)
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(8, "big") + data


def _check_subject(kind: str, backbone: str) -> None:
    _check(kind in KINDS, "kind", kind[:64])
    _check(_BACKBONE.fullmatch(backbone) is not None, "backbone", backbone[:64])


def _check(holds: bool, name: str, value: object) -> None:  # noqa: FBT001 - reads as a statement of what must hold
    if not holds:
        message = f"field {name!r} is out of the protocol ({value!r}): drop the message"
        raise ProtocolError(message)
