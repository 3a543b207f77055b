"""What server and client say to each other, as flat fields that any transport can carry.

A message is a frozen dataclass; `to_fields` and `from_fields` turn it into named scalars and bytes and back.
`from_fields` demands exactly the fields of the message with exactly their types, and each message checks its own
values, so that hostile fields raise only `ProtocolError` and the code behind trusts what it gets.

    query.ready       ReadyQuery   -> ReadyReply          who could contribute now
    train.contribute  RoundCall    -> ContributionReply   one vector for the sum
    query.prior       PriorNotice  -> PriorReply          a new signed prior
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from common.errors import PriorError, ProtocolError
from common.prior import KINDS, MAXIMUM_DIMENSIONS, MAXIMUM_NORM, MAXIMUM_PAYLOAD, Kind, check_public_basis

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
    """Call a person to a round; everyone in it gets the same.

    Cohorts never travel here: from version 1 on a device takes basis and cohorts from the signed prior it holds.
    """

    round_id: str
    kind: Kind
    backbone: str
    prior_version: int
    clip: float
    """C, in units of the embedding."""
    public_basis: bytes
    """P as `pack_basis` wrote it while prior_version is 0, empty afterwards."""

    def __post_init__(self) -> None:
        """Refuse values outside the protocol."""
        _check_subject(self.kind, self.backbone)
        _check(_ROUND.fullmatch(self.round_id) is not None, "round_id", self.round_id[:64])
        _check(self.prior_version >= 0, "prior_version", self.prior_version)
        _check(math.isfinite(self.clip) and 0 < self.clip <= MAXIMUM_NORM, "clip", self.clip)
        _check(bool(self.public_basis) == (self.prior_version == 0), "public_basis", f"{len(self.public_basis)} bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContributionReply:
    """The one vector for the sum: little-endian float64."""

    contribution: bytes


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


Message = TypeVar("Message", ReadyQuery, ReadyReply, RoundCall, ContributionReply, PriorNotice, PriorReply)


def to_fields(
    message: ReadyQuery | ReadyReply | RoundCall | ContributionReply | PriorNotice | PriorReply,
) -> Fields:
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


def pack_vector(vector: NDArray[np.floating]) -> bytes:
    """Write a contribution for `ContributionReply`."""
    return np.ascontiguousarray(vector, dtype="<f8").tobytes()


def unpack_vector(data: bytes, *, length: int, bound: float) -> NDArray[np.float64]:
    """Read one person's contribution and check it.

    Args:
        data: as `pack_vector` wrote it.
        length: how many numbers the round calls for.
        bound: largest honest norm, S of `common.statistics.sensitivity`.

    Raises:
        ProtocolError: another length, a number that is not finite, or a norm above the bound.
    """
    _check(len(data) == 8 * length, "contribution", f"{len(data)} bytes instead of {8 * length}")
    vector = np.frombuffer(data, "<f8").astype(np.float64)
    # Entries first, so that the norm cannot overflow; a NaN fails each comparison.
    limit = bound * (1 + 1e-9)  # rounding in an honest sum of squares stays far below this
    sound = bool(np.all(np.abs(vector) <= limit)) and float(np.linalg.norm(vector)) <= limit
    _check(sound, "contribution", "a norm out of bounds")
    return vector


def _check_subject(kind: str, backbone: str) -> None:
    _check(kind in KINDS, "kind", kind[:64])
    _check(_BACKBONE.fullmatch(backbone) is not None, "backbone", backbone[:64])


def _check(holds: bool, name: str, value: object) -> None:  # noqa: FBT001 - reads as a statement of what must hold
    if not holds:
        message = f"field {name!r} is out of the protocol ({value!r}): drop the message"
        raise ProtocolError(message)
