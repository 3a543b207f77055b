"""A round's state while it lasts, written down before anything is built on it.

The server's side of a secure sum draws nothing at random: after the announcement, what it asks is a function of what
was answered in the exchanges that are over. So a round's whole state is the announcement, whom it went to, and each
exchange's replies. A process that dies leaves them; the next one takes the journal up and asks on, those who have not
answered, in the words that the first would have used. Nobody is ever told two different lists, since an exchange's
replies are closed for good before the next exchange begins.

    open  ->  train.keys  ->  train.shares  ->  train.masked  ->  train.confirm  ->  train.unmask  ->  in the books

A reply counts from when it is written down here. When the round is booked, the same transaction removes all this.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from common.errors import ConfigError, StaleRoundError
from common.messages import RoundCall, StepReply, from_fields, to_fields
from server.books import Round, aware, to_row
from server.tables import EXCHANGES, OPEN_ROUNDS, REPLIES, ROUNDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from common.messages import Fields
    from server.database import Database


class Journal:
    """One open round. Every write fails once another process has taken the round up."""

    def __init__(
        self,
        database: Database,
        call: RoundCall,
        *,
        nodes: tuple[int, ...],
        started: datetime,
        deadline: datetime,
        shard: str,
        holder: int,
    ) -> None:
        """Describe it; `write_journal` and `read_journal` are what touches the database.

        Args:
            database: where it is.
            call: the announcement.
            nodes: whom it went to.
            started: when.
            deadline: until when it is over, one way or the other.
            shard: over which SuperLink it is held.
            holder: how many processes have taken it up so far, this one included.
        """
        self._database, self._holder = database, holder
        self.call, self.nodes, self.started, self.deadline, self.shard = call, nodes, started, deadline, shard

    def replies(self, action: str) -> dict[int, Fields]:
        """Give the replies to an exchange that are written down, by node."""
        query = sa.select(REPLIES.c.node, REPLIES.c.reply).where(
            REPLIES.c.round_id == self.call.round_id, REPLIES.c.action == action
        )
        rows = self._database.transact(lambda connection: connection.execute(query).all())
        return {int(row.node): to_fields(StepReply(reply=row.reply)) for row in rows}

    def failures(self, action: str) -> Counter[str] | None:
        """Say how an exchange failed with whom, by cause; None while it is not over."""
        query = sa.select(EXCHANGES.c.failures).where(
            EXCHANGES.c.round_id == self.call.round_id, EXCHANGES.c.action == action
        )
        found = self._database.transact(lambda connection: connection.execute(query).scalar())
        return None if found is None else Counter(json.loads(found))

    def keep(self, action: str, answers: Mapping[int, Mapping[str, object]]) -> None:
        """Write replies down as they arrive; those not in form are left out, and count as none."""
        rows = [
            {"round_id": self.call.round_id, "action": action, "node": str(node), "reply": fields["reply"]}
            for node, fields in answers.items()
            if fields.keys() == {"reply"} and isinstance(fields["reply"], bytes)
        ]

        def work(connection: sa.Connection) -> None:
            here = (REPLIES.c.round_id == self.call.round_id) & (REPLIES.c.action == action)
            known = set(connection.execute(sa.select(REPLIES.c.node).where(here)).scalars())
            if fresh := [row for row in rows if row["node"] not in known]:
                connection.execute(sa.insert(REPLIES), fresh)

        self._write(work)

    def finish(self, action: str, failures: Mapping[str, int]) -> None:
        """Close an exchange: no later reply to it counts."""
        row = {"round_id": self.call.round_id, "action": action, "failures": json.dumps(dict(failures))}

        def work(connection: sa.Connection) -> None:
            done = sa.select(EXCHANGES.c.action).where(
                EXCHANGES.c.round_id == self.call.round_id, EXCHANGES.c.action == action
            )
            if connection.execute(done).first() is None:
                connection.execute(sa.insert(EXCHANGES), row)

        self._write(work)

    def close(self, done: Round) -> None:
        """Book the round and forget its state, both or neither.

        Raises:
            ConfigError: a round of this id is in the books already; a sum never counts twice.
        """
        attempts = 0

        def work(connection: sa.Connection) -> None:
            nonlocal attempts
            attempts += 1
            booked = connection.execute(sa.select(ROUNDS.c.ended).where(ROUNDS.c.id == done.round_id)).scalar()
            if attempts > 1 and booked is not None and aware(booked) == done.ended.astimezone(UTC):
                return  # an earlier attempt was committed without our hearing of it
            self._hold(connection)
            connection.execute(sa.insert(ROUNDS), to_row(done))
            for table in (REPLIES, EXCHANGES):
                connection.execute(sa.delete(table).where(table.c.round_id == done.round_id))
            connection.execute(sa.delete(OPEN_ROUNDS).where(OPEN_ROUNDS.c.id == done.round_id))

        try:
            self._database.transact(work)
        except IntegrityError:
            raise ConfigError(
                f"round {done.round_id} is in the registry already: give each round an id of its own"
            ) from None

    def _write(self, work: Callable[[sa.Connection], None]) -> None:
        def held(connection: sa.Connection) -> None:
            self._hold(connection)
            work(connection)

        self._database.transact(held)

    def _hold(self, connection: sa.Connection) -> None:
        """Lock the round's row; refuse if it is not ours any more."""
        mine = (OPEN_ROUNDS.c.id == self.call.round_id) & (OPEN_ROUNDS.c.holder == self._holder)
        if connection.execute(sa.update(OPEN_ROUNDS).where(mine).values(holder=self._holder)).rowcount != 1:
            raise StaleRoundError(
                f"round {self.call.round_id} was taken up by another process: let one server app run for each shard"
            )


def write_journal(database: Database, journal: Journal) -> None:
    """Begin the journal of a new round."""
    row = {
        "id": journal.call.round_id,
        "shard": journal.shard,
        "holder": 1,
        "kind": journal.call.kind,
        "backbone": journal.call.backbone,
        "call": json.dumps({name: _plain(value) for name, value in to_fields(journal.call).items()}),
        "nodes": json.dumps(journal.nodes),
        "started": journal.started.astimezone(UTC),
        "deadline": journal.deadline.astimezone(UTC),
    }

    def work(connection: sa.Connection) -> None:
        if connection.execute(sa.select(OPEN_ROUNDS.c.id).where(OPEN_ROUNDS.c.id == row["id"])).first() is None:
            connection.execute(sa.insert(OPEN_ROUNDS), row)

    database.transact(work)


def read_journal(database: Database, row: sa.Row[Any]) -> Journal:
    """Read the journal that a row of `open_rounds` begins."""
    fields = {name: _rich(value) for name, value in json.loads(row.call).items()}
    return Journal(
        database,
        from_fields(RoundCall, fields),
        nodes=tuple(json.loads(row.nodes)),
        started=aware(row.started),
        deadline=aware(row.deadline),
        shard=row.shard,
        holder=row.holder,
    )


def _plain(value: object) -> object:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def _rich(value: object) -> object:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value
