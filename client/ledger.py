"""The ledger: what was contributed, under which budget, in the person's own hands. Append-only and hash-chained.

What happened is apart from what it costs (`client.budget`): an event holds facts, no ε. Each event's canonical bytes
are hashed with the digest before it (SHA-256), so nothing in the middle can be changed or removed unseen; SQL
triggers refuse to try. That nothing was cut off at the end, as when an old copy of the file is put back, shows by
the receipt: a file beside the vault with the newest digest, made before the first line and renewed after each commit.
Where it is missing or ahead no further contribution is made. A copy of the whole folder, receipt and all, cannot be
told from the original; docs/privacy.md says so.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, cast

from client.database import now
from client.files import write_whole
from common.errors import VaultError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from client.database import Database

RECEIPT: Final = "ledger.receipt"
_DOMAIN: Final = b"shoal ledger 1\0"
_START: Final = bytes(32)
"""What the first event follows."""
_ALL: Final = "SELECT sequence, event, digest FROM ledger ORDER BY sequence"
_NEWEST: Final = "SELECT digest FROM ledger ORDER BY sequence DESC LIMIT 1"
_REMEDY: Final = "nothing more is contributed; put back the newest copy of the folder, or move it away and join anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """A masked vector was about to leave; booked before its first byte did."""

    round_id: str
    context: str
    """SHA-256 of everything announced for the round, hex."""
    operator: str
    """The operator's public key, hex."""
    kind: str
    backbone: str
    prior_version: int
    concept: int
    """Its number here; the name is not kept."""
    called: int
    """People whose signed keys were announced."""
    fewest: int
    """With fewer the sum is never opened."""
    colluders: int
    """How many of those fewest are taken to work with the server, so that their noise protects nobody."""
    length: int
    """Numbers in the vector."""
    scale: float
    """Integers per unit of the vector."""
    share_variance: int
    """Of one person's noise, in integers squared; 0 is none, which only a simulation allows."""
    modulus_bits: int
    clip: float
    """C, in units of the embedding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """This device helped to open the sum of a round that it contributed to."""

    round_id: str
    people: int
    """In the sum, by the signatures of more than two thirds of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The person set the budgets: ε for their whole life here, of both numbers."""

    central: float
    local: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """The person takes no further part, until they set budgets again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Nobody real: this virtual person lets the noise be switched off. Heeded in Flower's simulation, nowhere else."""


Event = Contribution | Opening | Limits | Withdrawal | Simulation
_FORMS: Final = {form.__name__.lower(): form for form in (Contribution, Opening, Limits, Withdrawal, Simulation)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the ledger."""

    sequence: int
    at: str
    """Date and time by this device's clock."""
    event: Event
    digest: str
    """SHA-256 over this event and the digest before it, hex."""


def read(rows: sqlite3.Connection, folder: Path) -> tuple[Entry, ...]:
    """Give all entries, oldest first, after checking the chain and its end.

    Raises:
        VaultError: the ledger was changed, or cut off, outside this program.
    """
    entries, previous = [], _START
    for number, (sequence, data, digest) in enumerate(rows.execute(_ALL), start=1):
        if sequence != number or not isinstance(data, bytes) or digest != _digest(previous, data):
            raise VaultError(f"the ledger was changed at line {number}: {_REMEDY}")
        entries.append(_entry(sequence, data, digest))
        previous = digest
    held = _receipt(folder)
    if held is None and entries:
        raise VaultError(f"the ledger's receipt is missing, as when {folder} was put back in part: {_REMEDY}")
    if held not in {None, _START.hex(), *(entry.digest for entry in entries)}:
        raise VaultError(f"the ledger is older than its receipt, lines are missing at its end: {_REMEDY}")
    return tuple(entries)


@contextmanager
def writing(database: Database) -> Iterator[sqlite3.Connection]:
    """Run the body as one transaction that may `append`; then renew the receipt.

    A crash between the two leaves a receipt of an earlier line, which is in the chain as well.
    """
    with database.transaction() as rows:
        yield rows
        newest = rows.execute(_NEWEST).fetchone()
    if newest is not None:
        _renew(database.folder, newest[0].hex())


def append(rows: sqlite3.Connection, folder: Path, event: Event) -> Entry:
    """Add an event, in a transaction of `writing`.

    Raises:
        VaultError: the ledger was changed or cut off; nothing is added to such a one.
    """
    entries = read(rows, folder)
    if not entries:
        _seal_start(folder)
    previous = bytes.fromhex(entries[-1].digest) if entries else _START
    data = _canonical(event, now())
    digest, sequence = _digest(previous, data), len(entries) + 1
    rows.execute("INSERT INTO ledger VALUES (?, ?, ?)", (sequence, data, digest))
    return _entry(sequence, data, digest)


def export(entries: tuple[Entry, ...]) -> list[dict[str, object]]:
    """Give the entries as JSON values, by which anyone can check the chain again.

    The digest of a line is SHA-256 of `shoal ledger 1`, a zero byte, the 32 bytes of the digest before it (zeros for
    the first line) and the line's own `event`, encoded as JSON with sorted keys, without spaces, in ASCII.
    """
    return [
        {"sequence": entry.sequence, "event": _values(entry.event, entry.at), "digest": entry.digest}
        for entry in entries
    ]


def _values(event: Event, at: str) -> dict[str, object]:
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    return {"event": type(event).__name__.lower(), "at": at, **values}


def _canonical(event: Event, at: str) -> bytes:
    return json.dumps(_values(event, at), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _digest(previous: bytes, data: bytes) -> bytes:
    return hashlib.sha256(_DOMAIN + previous + data).digest()


def _entry(sequence: int, data: bytes, digest: bytes) -> Entry:
    """Read a line whose digest was checked: so this program wrote it, though perhaps another version of it."""
    values = cast("dict[str, object]", json.loads(data))
    name, at = str(values.pop("event")), str(values.pop("at"))
    try:
        event = _FORMS[name](**values)  # type: ignore[arg-type] # as `_values` wrote them
    except (KeyError, TypeError) as error:
        raise VaultError(f"line {sequence} of the ledger is from another version: update Shoal") from error
    return Entry(sequence=sequence, at=at, event=event, digest=digest.hex())


def _receipt(folder: Path) -> str | None:
    try:
        return (folder / RECEIPT).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise VaultError(f"the ledger's receipt {folder / RECEIPT} cannot be read: {_REMEDY}") from error


def _seal_start(folder: Path) -> None:
    """Make the receipt before the first line: from then on one that is missing was taken away."""
    write_whole(folder / RECEIPT, f"{_START.hex()}\n".encode("ascii"), replace=True, mode=0o600)


def _renew(folder: Path, digest: str) -> None:
    """Replace the receipt at once, so that a crash leaves the earlier or the new one."""
    write_whole(folder / RECEIPT, f"{digest}\n".encode("ascii"), replace=True, mode=0o600)
