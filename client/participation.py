"""Where this device stands in a round: one step after another, each once, kept durably before its answer leaves.

A device takes part in one round at a time; a new one ends the one before. The secrets of a round are sealed while it
runs, and deleted with its last step, or when the next round begins; its name stays, so that no round comes twice.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeVar

from client.database import now
from client.sealing import seal_of
from common.errors import ProtocolError, StaleRoundError
from common.messages import ROUND_SECONDS, RoundCall, from_fields, to_fields
from common.secagg.states import Advertised, Confirmed, Done, Masked, Shared, read_state

if TYPE_CHECKING:
    import sqlite3

    from client.database import Database
    from common.messages import RoundStep
    from common.secagg.rules import Rules

_OVER: Final = "over"
_BYTES: Final = "hex:"
_State = TypeVar("_State", Advertised, Shared, Masked, Confirmed)


def begin(rows: sqlite3.Connection, call: RoundCall, rules: Rules, state: Advertised) -> None:
    """Enter a round; whatever other round was open is over.

    Raises:
        StaleRoundError: a round of this name was here before.
    """
    if rows.execute("SELECT 1 FROM rounds WHERE id = ?", (call.round_id,)).fetchone():
        raise StaleRoundError("this round was answered before: wait for the next one")
    rows.execute("UPDATE rounds SET step = ?, call = '', state = NULL WHERE state IS NOT NULL", (_OVER,))
    values = (
        call.round_id,
        rules.context,
        _write(call),
        type(state).__name__,
        _sealed(rows, call.round_id, state),
        now(),
    )
    rows.execute("INSERT INTO rounds VALUES (?, ?, ?, ?, ?, ?)", values)


def resume(rows: sqlite3.Connection, step: RoundStep, expected: type[_State]) -> tuple[RoundCall, _State]:
    """Give a round as it was announced, and where this device stands in it.

    Raises:
        StaleRoundError: the round is over, unknown, began too long ago, or had its answer in this exchange.
        ProtocolError: it is not the round that was announced under this name.
        VaultError: what was kept of it does not open.
    """
    query = "SELECT context, call, step, state, begun FROM rounds WHERE id = ?"
    found = rows.execute(query, (step.round_id,)).fetchone()
    if found is None:
        raise StaleRoundError("this device is in no such round: wait for the next one")
    context, call, name, data, begun = found
    if step.context != context:
        raise ProtocolError("the round's terms are others than those announced: take no further part in it")
    if name != expected.__name__:
        raise StaleRoundError("this exchange is over or not yet due: no exchange is answered twice")
    if _is_over(begun):
        raise StaleRoundError("this round began long ago, or the clock was set: wait for the next one")
    state = read_state(seal_of(rows).open(data, f"round/{step.round_id}/{name}"))
    if not isinstance(state, expected):
        raise ProtocolError("the stored state of this round is damaged: wait for the next one")
    return _read(call), state


def advance(rows: sqlite3.Connection, round_id: str, state: Shared | Masked | Confirmed | Done) -> None:
    """Enter the next step of a round; after the last one no secret of it is left."""
    if isinstance(state, Done):
        rows.execute("UPDATE rounds SET step = ?, call = '', state = NULL WHERE id = ?", (_OVER, round_id))
        return
    values = (type(state).__name__, _sealed(rows, round_id, state), round_id)
    rows.execute("UPDATE rounds SET step = ?, state = ? WHERE id = ?", values)


def expire(database: Database) -> None:
    """Delete the secrets of a round that is over without its last step; most often there are none, and nothing is done.

    Whoever got hold of many devices later could open with them what a recorded round hid.
    """
    with database.transaction("DEFERRED") as rows:
        kept = rows.execute("SELECT id, begun FROM rounds WHERE state IS NOT NULL").fetchall()
    if old := [(_OVER, round_id) for round_id, begun in kept if _is_over(begun)]:
        with database.transaction() as rows:
            rows.executemany("UPDATE rounds SET step = ?, call = '', state = NULL WHERE id = ?", old)


def _is_over(begun: str) -> bool:
    """Tell whether a round that began then is over by now, or the clock was set since."""
    elapsed = datetime.fromisoformat(now()) - datetime.fromisoformat(begun)
    return abs(elapsed.total_seconds()) > ROUND_SECONDS


def _sealed(rows: sqlite3.Connection, round_id: str, state: Advertised | Shared | Masked | Confirmed) -> bytes:
    return seal_of(rows).seal(state.to_bytes(), f"round/{round_id}/{type(state).__name__}")


def _write(call: RoundCall) -> str:
    fields = to_fields(call).items()
    return json.dumps({key: _BYTES + value.hex() if isinstance(value, bytes) else value for key, value in fields})


def _read(text: str) -> RoundCall:
    found = json.loads(text)
    plain = {
        key: bytes.fromhex(value.removeprefix(_BYTES)) if str(value).startswith(_BYTES) else value
        for key, value in found.items()
    }
    return from_fields(RoundCall, plain)
