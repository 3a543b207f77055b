"""The one SQLite file of a person's state folder, and its tables.

Several processes use it at once (a learner writes, the Flower app reads and books), so each call opens it, does one
transaction and closes it. `synchronous=EXTRA` syncs the folder too once the journal is gone: what a call returned
from is still there after a power cut, which "booked before it leaves" depends on. A rollback journal, because a
write-ahead log, made and removed at each opening, makes reading five times slower and writing no faster.
`secure_delete` overwrites what is deleted, a forgotten token or a round's mask keys, instead of only unlinking it.
What is private is sealed besides (`client.sealing`); names, numbers, priors and the ledger are not.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from common.errors import VaultError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE: Final = "vault.sqlite"
_BUSY_SECONDS: Final = 30.0
"""How long a call waits for another process's transaction; each lasts milliseconds."""
_VERSION: Final = 3
_SCHEMA: Final = (
    # How the key that seals all below is itself protected: `client.sealing`. No secret, but nothing opens without it.
    "CREATE TABLE sealing (id INTEGER PRIMARY KEY CHECK (id = 1), record TEXT NOT NULL)",
    # Anchor and token are sealed.
    """CREATE TABLE concepts (
         id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
         class_word TEXT NOT NULL, backbone TEXT NOT NULL, anchor BLOB NOT NULL, token BLOB NOT NULL,
         loss REAL NOT NULL, forwards INTEGER NOT NULL, created TEXT NOT NULL)""",
    # What a watched folder held when it was last learned, or tried: sealed.
    "CREATE TABLE lessons (name TEXT PRIMARY KEY, facts BLOB NOT NULL)",
    # No name and no token here: a row outlives the concept, as the evidence of what was given.
    """CREATE TABLE contributions (
         concept INTEGER PRIMARY KEY, round TEXT NOT NULL UNIQUE, prior_version INTEGER NOT NULL,
         booked TEXT NOT NULL)""",
    """CREATE TABLE priors (
         backbone TEXT NOT NULL, kind TEXT NOT NULL, version INTEGER NOT NULL, payload BLOB NOT NULL,
         signature BLOB NOT NULL, PRIMARY KEY (backbone, kind))""",
    "CREATE TABLE backbones (fingerprint TEXT PRIMARY KEY, width INTEGER NOT NULL)",
    # One row at most, `private` sealed. The operator's key and our own are chosen once; a certificate may be renewed.
    # Where the operator's key gave way to another, the row gives way to another (`client.identity.succeed`).
    """CREATE TABLE enrolment (
         id INTEGER PRIMARY KEY CHECK (id = 1), operator BLOB NOT NULL, private BLOB NOT NULL, certificate BLOB)""",
    """CREATE TRIGGER keys_are_chosen_once BEFORE UPDATE OF operator, private ON enrolment
         BEGIN SELECT RAISE(ABORT, 'keys are chosen once'); END""",
    # `state` holds secrets, sealed, while a round runs, then nothing; the row stays, so that no round comes again.
    """CREATE TABLE rounds (
         id TEXT PRIMARY KEY, context BLOB NOT NULL, call TEXT NOT NULL, step TEXT NOT NULL, state BLOB,
         begun TEXT NOT NULL)""",
    """CREATE TABLE ledger (
         sequence INTEGER PRIMARY KEY, event BLOB NOT NULL, digest BLOB NOT NULL)""",
    """CREATE TRIGGER ledger_is_not_changed BEFORE UPDATE ON ledger
         BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
    """CREATE TRIGGER ledger_is_not_deleted BEFORE DELETE ON ledger
         BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
    # Without this, INSERT OR REPLACE would get round the other two.
    """CREATE TRIGGER ledger_only_grows BEFORE INSERT ON ledger
         WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM ledger)
         BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
)


class Database:
    """A person's tables; safe to use from several processes at once."""

    def __init__(self, folder: Path, table: str = "") -> None:
        """Open the database in `folder`, making both where they are missing.

        Args:
            folder: the person's state folder.
            table: a statement that makes a table which is not in every vault, if it is not in this one.

        Raises:
            VaultError: the folder cannot be written, or the file is no vault of this version.
        """
        self.folder = folder
        self._path = folder / FILE
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            message = f"cannot write to {folder} ({error.strerror}): choose another state folder"
            raise VaultError(message) from error
        with self.transaction("DEFERRED") as rows:
            found = rows.execute("PRAGMA user_version").fetchone()[0]
        if found != _VERSION:
            with self.transaction() as rows:
                _prepare(rows)
        if table:
            with self.transaction() as rows:
                rows.execute(table)

    @contextmanager
    def transaction(self, mode: Literal["DEFERRED", "IMMEDIATE"] = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """Run the body as one transaction, all of it or nothing; deferred is enough to read."""
        try:
            with closing(self._connect()) as connection, connection:
                connection.execute(f"BEGIN {mode}")
                yield connection
        except sqlite3.Error as error:
            raise VaultError(self._told(error)) from error

    def _told(self, error: sqlite3.Error) -> str:
        """Say what is wrong and what to do; a transaction that failed changed nothing."""
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        why = {
            sqlite3.SQLITE_FULL: "the disk is full: make room and try again, what was kept before is intact",
            sqlite3.SQLITE_IOERR: "the disk took no more: make room or mend it, what was kept before is intact",
            sqlite3.SQLITE_READONLY: "it may not be written: allow that, or choose another --home",
            sqlite3.SQLITE_CANTOPEN: "its folder may not be written: allow that, or choose another --home",
            sqlite3.SQLITE_BUSY: "another program keeps it busy: wait until that is done, then try again",
        }.get(code, "restore it from a backup or move it away")
        return f"the vault {self._path} cannot be used ({error}): {why}"

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute("PRAGMA secure_delete = ON")
        return connection


def now() -> str:
    """Say when a row was written; for the person's eyes, nothing depends on it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _prepare(rows: sqlite3.Connection) -> None:
    found = rows.execute("PRAGMA user_version").fetchone()[0]
    if found == 0:
        for statement in _SCHEMA:
            rows.execute(statement)
        rows.execute(f"PRAGMA user_version = {_VERSION}")
    elif found < _VERSION:
        message = f"the vault has version {found}, this program needs {_VERSION}: move it away and learn anew"
        raise VaultError(message)
    elif found > _VERSION:
        message = f"the vault has version {found}, this program knows {_VERSION}: update Shoal"
        raise VaultError(message)
