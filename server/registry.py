"""The operator's registry: rounds with their sums, and the immutable, signed versions of priors made from them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from common.errors import ConfigError, PriorError
from common.prior import Kind, SignedPrior, decode_prior
from server.books import COUNTED, Entry, Round, State, basis_fingerprint, to_entry, to_row, to_sum
from server.database import Database
from server.exclusions import Exclusion, exclude, exclusions, readmit
from server.journal import Journal, read_journal, write_journal
from server.tables import OPEN_ROUNDS, PRIORS, ROUNDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

    from common.messages import RoundCall
    from common.secagg.blame import Blame
    from server.update import RoundSum


class Registry:
    """The database behind the books.

    A row of them is only ever added, but for what is said about a sum: `reject`, `withhold`, `accept`.
    """

    def __init__(self, url: str) -> None:
        """Open the database at an SQLAlchemy URL; see `server.database.Database`."""
        self._database = Database(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def open_round(
        self, call: RoundCall, nodes: Iterable[int], *, started: datetime, deadline: datetime, shard: str = ""
    ) -> Journal:
        """Write down that a round begins, before anybody hears of it."""
        journal = Journal(
            self._database, call, nodes=tuple(nodes), started=started, deadline=deadline, shard=shard, holder=1
        )
        write_journal(self._database, journal)
        return journal

    def take_up(self, shard: str = "") -> list[Journal]:
        """Take over all rounds of this shard that an earlier process left open; it can write to them no more."""

        def work(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
            mine = OPEN_ROUNDS.c.shard == shard
            connection.execute(sa.update(OPEN_ROUNDS).where(mine).values(holder=OPEN_ROUNDS.c.holder + 1))
            return connection.execute(sa.select(OPEN_ROUNDS).where(mine).order_by(OPEN_ROUNDS.c.started)).all()

        return [read_journal(self._database, row) for row in self._database.transact(work)]

    def open_rounds(self) -> list[Journal]:
        """Show all rounds that are open now, of every shard, without taking them over."""
        query = sa.select(OPEN_ROUNDS).order_by(OPEN_ROUNDS.c.started)
        rows = self._database.transact(lambda connection: connection.execute(query).all())
        return [read_journal(self._database, row) for row in rows]

    def record_round(self, done: Round) -> None:
        """Book a round that was never opened here, such as one of a simulation.

        Raises:
            ConfigError: a round of this id is in the books already; a sum never counts twice.
        """
        try:
            self._database.transact(lambda connection: connection.execute(sa.insert(ROUNDS), to_row(done)))
        except IntegrityError:
            raise ConfigError(
                f"round {done.round_id} is in the registry already: give each round an id of its own"
            ) from None

    def sums(self, backbone: str, kind: Kind, public_basis: NDArray[np.float64]) -> list[RoundSum]:
        """Give the sums of all rounds that count, oldest first, over this very public basis."""
        return self._sums(
            ROUNDS.c.backbone == backbone,
            ROUNDS.c.kind == kind,
            ROUNDS.c.public_basis == basis_fingerprint(public_basis),
            ROUNDS.c.state.in_(COUNTED),
        )

    def sums_of(self, round_ids: Iterable[str]) -> list[RoundSum]:
        """Give the sums of these rounds, whatever became of them, oldest first."""
        return self._sums(ROUNDS.c.id.in_(list(round_ids)), ROUNDS.c.sum.is_not(None))

    def _sums(self, *conditions: sa.ColumnElement[bool]) -> list[RoundSum]:
        query = sa.select(ROUNDS).where(*conditions).order_by(ROUNDS.c.ended, ROUNDS.c.id)
        rows = self._database.transact(lambda connection: connection.execute(query).all())
        return [to_sum(row) for row in rows]

    def rounds(self, *, backbone: str | None = None, kind: Kind | None = None) -> list[Entry]:
        """List the books, oldest first."""
        query = sa.select(ROUNDS).order_by(ROUNDS.c.ended, ROUNDS.c.id)
        for column, value in ((ROUNDS.c.backbone, backbone), (ROUNDS.c.kind, kind)):
            query = query if value is None else query.where(column == value)
        rows = self._database.transact(lambda connection: connection.execute(query).all())
        return [to_entry(row) for row in rows]

    def reject_round(self, round_id: str, reason: str = "") -> None:
        """Keep the sum of a round out of all later fits.

        Raises:
            ConfigError: there is no such round with a sum that was not rejected yet.
        """
        self._judge(round_id, ("done", "withheld", "accepted"), "rejected", reason)

    def withhold_round(self, round_id: str, reason: str) -> None:
        """Keep the sum of a round out of fits until the operator has looked at it.

        Raises:
            ConfigError: there is no such round that is done.
        """
        self._judge(round_id, ("done",), "withheld", reason)

    def accept_round(self, round_id: str) -> None:
        """Let the sum of a round into fits that was kept out of them; why it was kept out stays on record.

        Raises:
            ConfigError: there is no such round that is withheld or rejected.
        """
        self._judge(round_id, ("withheld", "rejected"), "accepted", None)

    def _judge(self, round_id: str, before: Sequence[State], after: State, reason: str | None) -> None:
        values = {"state": after} if reason is None else {"state": after, "reason": reason}
        here = ROUNDS.c.id == round_id

        def work(connection: sa.Connection) -> str | None:
            changed = sa.update(ROUNDS).where(here, ROUNDS.c.state.in_(before)).values(values)
            if connection.execute(changed).rowcount == 1:
                return None
            return connection.execute(sa.select(ROUNDS.c.state).where(here)).scalar() or "unknown"

        if found := self._database.transact(work):
            wanted = " or ".join(before)
            message = f"round {round_id} is {found}, not {wanted}: nothing to mark as {after}, see `rounds list`"
            raise ConfigError(message)

    def publish(self, signed: SignedPrior, fit: Mapping[str, str | int] | None = None) -> None:
        """Add the next version of a prior; versions follow one another and never change.

        Args:
            signed: the version.
            fit: with what settings it was made, so that it can be made again.

        Raises:
            PriorError: it is no prior, or its number is not the one after the latest.
        """
        prior = decode_prior(signed.payload)
        row = {
            "backbone": prior.backbone,
            "kind": prior.kind,
            "version": prior.version,
            "payload": signed.payload,
            "signature": signed.signature,
            "created": prior.created,
            "fit": json.dumps(dict(fit or {}), sort_keys=True),
        }
        attempts = 0

        def work(connection: sa.Connection) -> None:
            nonlocal attempts
            attempts += 1
            latest = connection.execute(_latest(prior.backbone, prior.kind)).first()
            if attempts > 1 and latest is not None and latest.payload == signed.payload:
                return  # an earlier attempt was committed without our hearing of it
            expected = latest.version + 1 if latest else 1
            if prior.version != expected:
                raise PriorError(f"{prior.kind} prior has version {prior.version}, expected {expected}: make it anew")
            connection.execute(sa.insert(PRIORS), row)

        try:
            self._database.transact(work)
        except IntegrityError:  # another process published between the two statements
            raise PriorError(
                f"{prior.kind} prior of version {prior.version} exists already: make the next one"
            ) from None

    def latest(self, backbone: str, kind: Kind) -> SignedPrior | None:
        """Give the newest version; None if there is none yet."""
        row = self._database.transact(lambda connection: connection.execute(_latest(backbone, kind)).first())
        return None if row is None else SignedPrior(payload=row.payload, signature=row.signature)

    def versions(self, backbone: str | None = None, kind: Kind | None = None) -> list[SignedPrior]:
        """Give all versions, by backbone and kind, the first ones first."""
        query = sa.select(PRIORS.c.payload, PRIORS.c.signature)
        query = query.order_by(PRIORS.c.backbone, PRIORS.c.kind, PRIORS.c.version)
        for column, value in ((PRIORS.c.backbone, backbone), (PRIORS.c.kind, kind)):
            query = query if value is None else query.where(column == value)
        rows = self._database.transact(lambda connection: connection.execute(query).all())
        return [SignedPrior(payload=row.payload, signature=row.signature) for row in rows]

    def fit_of(self, backbone: str, kind: Kind, version: int) -> dict[str, str | int]:
        """Give the settings that a version was made with; none for versions of milestone 1."""
        query = sa.select(PRIORS.c.fit).where(
            PRIORS.c.backbone == backbone, PRIORS.c.kind == kind, PRIORS.c.version == version
        )
        found = self._database.transact(lambda connection: connection.execute(query).scalar())
        settings: dict[str, str | int] = json.loads(found or "{}")
        return settings

    def exclude(self, blame: Blame[bytes], round_id: str, now: datetime) -> None:
        """Leave out of later rounds, for a time, whoever is to blame for what happened in one."""
        self._database.transact(lambda connection: exclude(connection, blame, round_id, now))

    def exclusions(self, now: datetime | None = None) -> list[Exclusion]:
        """Give who is left out of rounds at this moment, or everybody who ever was; oldest first."""
        return self._database.transact(lambda connection: exclusions(connection, now))

    def readmit(self, identity: bytes, now: datetime) -> int:
        """End the exclusions of a device; give how many there were."""
        return self._database.transact(lambda connection: readmit(connection, identity, now))


def _latest(backbone: str, kind: Kind) -> sa.Select[Any]:
    query = sa.select(PRIORS.c.version, PRIORS.c.payload, PRIORS.c.signature)
    return query.where(PRIORS.c.backbone == backbone, PRIORS.c.kind == kind).order_by(PRIORS.c.version.desc()).limit(1)
