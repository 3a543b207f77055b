"""The operator's database: rounds with their sums, and the immutable, signed versions of priors made from them.

SQLAlchemy Core 2, SQLite by default; another database by changing the URL.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from common.errors import ConfigError, PriorError
from common.prior import Kind, SignedPrior, decode_prior
from common.privacy.mechanism import Mechanism
from server.update import RoundSum

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

_METADATA: Final = sa.MetaData()
_ROUNDS: Final = sa.Table(
    "rounds",
    _METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("backbone", sa.String(64), nullable=False),
    sa.Column("public_basis", sa.String(64), nullable=False),  # SHA-256: sums over different bases never mix
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("exchange", sa.String(16), nullable=False),
    sa.Column("called", sa.Integer, nullable=False),
    sa.Column("people", sa.Integer, nullable=False),
    sa.Column("sum", sa.LargeBinary, nullable=True),
    sa.Column("clip", sa.Float(53), nullable=False),
    # The mechanism, so that what the sum cost and how noisy it is can be computed anew.
    sa.Column("length", sa.Integer, nullable=False),
    sa.Column("scale", sa.Float(53), nullable=False),
    sa.Column("share_variance", sa.BigInteger, nullable=False),
    sa.Column("modulus_bits", sa.Integer, nullable=False),
    sa.Column("noise_variance", sa.Float(53), nullable=False),
    sa.Column("prior_version", sa.Integer, nullable=False),
    sa.Column("started", sa.DateTime(timezone=True), nullable=False),
    sa.Column("ended", sa.DateTime(timezone=True), nullable=False),
    sa.Index("rounds_by_prior", "backbone", "kind", "public_basis", "state"),
)
_PRIORS: Final = sa.Table(
    "priors",
    _METADATA,
    sa.Column("backbone", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
    sa.Column("created", sa.String(40), nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Round:
    """A round that is over, as it goes into the books."""

    round_id: str
    kind: Kind
    backbone: str
    public_basis: NDArray[np.float64]
    """P, shape (width, dimensions), under which its people were encoded."""
    state: Literal["done", "aborted"]
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

    def __post_init__(self) -> None:
        if (self.total is None) != (self.state == "aborted"):
            raise ConfigError(
                f"round {self.round_id} is {self.state}: a sum belongs to a round that is done, and to no other"
            )


class Registry:
    """The database behind the two tables.

    Rows are only ever added, never changed, but for one thing: a round that is done becomes rejected where no prior
    could be fitted with its sum, and its sum enters no later fit.
    """

    def __init__(self, url: str) -> None:
        """Open the database at an SQLAlchemy URL, and make the tables if it is empty.

        Raises:
            ConfigError: the URL is not one that SQLAlchemy understands.
        """
        try:
            self._engine = sa.create_engine(url)
        except (sa.exc.ArgumentError, ImportError) as error:
            raise ConfigError(
                f"registry: {type(error).__name__} for this URL: write one such as sqlite:///state/registry.db"
            ) from error
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _durable)
        _METADATA.create_all(self._engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def record_round(self, done: Round) -> None:
        """Book a finished round.

        Raises:
            ConfigError: a round of this id is in the books already; a sum never counts twice.
        """
        row = {
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
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(sa.insert(_ROUNDS), row)
        except IntegrityError:
            raise ConfigError(
                f"round {done.round_id} is in the registry already: give each round an id of its own"
            ) from None

    def sums(self, backbone: str, kind: Kind, public_basis: NDArray[np.float64]) -> list[RoundSum]:
        """Give the sums of all rounds that are done, oldest first, over this very public basis."""
        query = (
            sa.select(_ROUNDS.c.id, _ROUNDS.c.sum, _ROUNDS.c.clip, _ROUNDS.c.people, _ROUNDS.c.noise_variance)
            .where(
                _ROUNDS.c.backbone == backbone,
                _ROUNDS.c.kind == kind,
                _ROUNDS.c.public_basis == basis_fingerprint(public_basis),
                _ROUNDS.c.state == "done",
            )
            .order_by(_ROUNDS.c.ended, _ROUNDS.c.id)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [
            RoundSum(
                round_id=row.id,
                total=np.frombuffer(row.sum, dtype="<f8").astype(np.float64),
                clip=row.clip,
                people=row.people,
                noise_variance=row.noise_variance,
            )
            for row in rows
        ]

    def reject_round(self, round_id: str) -> None:
        """Keep the sum of a round out of all later fits: with it no usable prior could be made.

        Raises:
            ConfigError: there is no such round that is done.
        """
        done = sa.update(_ROUNDS).where(_ROUNDS.c.id == round_id, _ROUNDS.c.state == "done")
        with self._engine.begin() as connection:
            changed = connection.execute(done.values(state="rejected")).rowcount
        if changed != 1:
            raise ConfigError(f"round {round_id} is not among those that are done: nothing to reject")

    def publish(self, signed: SignedPrior) -> None:
        """Add the next version of a prior; versions follow one another and never change.

        Raises:
            PriorError: it is no prior, or its number is not the one after the latest.
        """
        prior = decode_prior(signed.payload)
        latest = sa.select(sa.func.max(_PRIORS.c.version)).where(
            _PRIORS.c.backbone == prior.backbone, _PRIORS.c.kind == prior.kind
        )
        row = {
            "backbone": prior.backbone,
            "kind": prior.kind,
            "version": prior.version,
            "payload": signed.payload,
            "signature": signed.signature,
            "created": prior.created,
        }
        try:
            with self._engine.begin() as connection:
                expected = (connection.execute(latest).scalar() or 0) + 1
                if prior.version != expected:
                    raise PriorError(
                        f"{prior.kind} prior has version {prior.version}, expected {expected}: make it anew"
                    )
                connection.execute(sa.insert(_PRIORS), row)
        except IntegrityError:  # another process published between the two statements
            raise PriorError(
                f"{prior.kind} prior of version {prior.version} exists already: make the next one"
            ) from None

    def latest(self, backbone: str, kind: Kind) -> SignedPrior | None:
        """Give the newest version; None if there is none yet."""
        query = (
            sa.select(_PRIORS.c.payload, _PRIORS.c.signature)
            .where(_PRIORS.c.backbone == backbone, _PRIORS.c.kind == kind)
            .order_by(_PRIORS.c.version.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else SignedPrior(payload=row.payload, signature=row.signature)


def basis_fingerprint(public_basis: NDArray[np.float64]) -> str:
    """Give the SHA-256 (hex) of a public basis: its shape and its numbers as little-endian float64."""
    numbers = np.ascontiguousarray(public_basis, dtype="<f8")
    return hashlib.sha256(repr(numbers.shape).encode() + numbers.tobytes()).hexdigest()


def _durable(connection: Any, _record: Any) -> None:  # noqa: ANN401 -- the driver's own, untyped connection
    """Make SQLite keep what it confirmed through a power cut, and let readers in while it writes."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=10000")
