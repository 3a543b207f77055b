"""A round that is over, as it goes into the books, and as a row of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from common.errors import ConfigError
from common.prior import Kind
from common.privacy.mechanism import Mechanism
from server.update import RoundSum

if TYPE_CHECKING:
    import sqlalchemy as sa
    from numpy.typing import NDArray

State = Literal["done", "aborted", "withheld", "accepted", "rejected"]
"""What became of a round. A sum that is `done` enters the next version; one that looks wrong is `withheld` until the
operator says `accepted` or `rejected`; `aborted` is a round without a sum."""
COUNTED: Final = ("done", "accepted")
"""The states whose sums enter fits."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Round:
    """A round that is over."""

    round_id: str
    kind: Kind
    backbone: str
    public_basis: NDArray[np.float64]
    """P, shape (width, dimensions), under which its people were encoded."""
    state: State
    exchange: str
    """The latest one that was asked: a round aborted before `train.masked` cost nobody anything."""
    called: int
    """Whose signed keys were announced to everybody."""
    people: int
    """How many contributions are in the sum."""
    total: NDArray[np.float64] | None
    """Their sum; None if the round was aborted."""
    clip: float
    mechanism: Mechanism
    """How contributions were encoded and noised."""
    noise_variance: float
    """Of each number of the sum, in units of the sum squared: the noise of all its people."""
    prior_version: int
    """The version that was announced; 0 while there was none."""
    started: datetime
    ended: datetime
    shard: str = ""
    """Over which SuperLink it was held."""
    reason: str = ""
    """Why there is no sum."""
    dropouts: Mapping[str, int] = field(default_factory=dict)
    """How many dropped out, by exchange and cause; never who."""

    def __post_init__(self) -> None:
        if (self.total is None) != (self.state == "aborted"):
            raise ConfigError(
                f"round {self.round_id} is {self.state}: a sum belongs to a round that is done, and to no other"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A round as the books have it, without its numbers: what an operator looks at."""

    round_id: str
    kind: Kind
    backbone: str
    state: State
    reason: str
    exchange: str
    called: int
    people: int
    clip: float
    mechanism: Mechanism
    noise_variance: float
    prior_version: int
    started: datetime
    ended: datetime
    shard: str
    dropouts: Mapping[str, int]


def basis_fingerprint(public_basis: NDArray[np.float64]) -> str:
    """Give the SHA-256 (hex) of a public basis: its shape and its numbers as little-endian float64."""
    numbers = np.ascontiguousarray(public_basis, dtype="<f8")
    return hashlib.sha256(repr(numbers.shape).encode() + numbers.tobytes()).hexdigest()


def to_row(done: Round) -> dict[str, Any]:
    """Write a round as a row of `server.tables.ROUNDS`."""
    return {
        "id": done.round_id,
        "kind": done.kind,
        "backbone": done.backbone,
        "public_basis": basis_fingerprint(done.public_basis),
        "state": done.state,
        "exchange": done.exchange,
        "called": done.called,
        "people": done.people,
        "sum": None if done.total is None else np.ascontiguousarray(done.total, dtype="<f8").tobytes(),
        "clip": done.clip,
        "length": done.mechanism.length,
        "scale": done.mechanism.scale,
        "share_variance": done.mechanism.share_variance,
        "modulus_bits": done.mechanism.modulus_bits,
        "noise_variance": done.noise_variance,
        "prior_version": done.prior_version,
        "started": done.started.astimezone(UTC),
        "ended": done.ended.astimezone(UTC),
        "shard": done.shard,
        "reason": done.reason,
        "dropouts": json.dumps(dict(done.dropouts)),
    }


def to_sum(row: sa.Row[Any]) -> RoundSum:
    """Read the sum of a row that has one."""
    return RoundSum(
        round_id=row.id,
        total=np.frombuffer(row.sum, dtype="<f8").astype(np.float64),
        clip=row.clip,
        people=row.people,
        noise_variance=row.noise_variance,
    )


def to_entry(row: sa.Row[Any]) -> Entry:
    """Read everything but the sum of a row."""
    return Entry(
        round_id=row.id,
        kind=row.kind,
        backbone=row.backbone,
        state=row.state,
        reason=row.reason,
        exchange=row.exchange,
        called=row.called,
        people=row.people,
        clip=row.clip,
        mechanism=Mechanism(
            length=row.length, scale=row.scale, share_variance=row.share_variance, modulus_bits=row.modulus_bits
        ),
        noise_variance=row.noise_variance,
        prior_version=row.prior_version,
        started=aware(row.started),
        ended=aware(row.ended),
        shard=row.shard,
        dropouts=json.loads(row.dropouts),
    )


def aware(moment: datetime) -> datetime:
    """Give the time zone back that SQLite forgets; everything is written in UTC."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
