"""The person's own store: concepts, what was contributed of them, and the last good prior.

One SQLite file in the person's state folder. Several processes use it at once (a learner writes, the Flower app
reads and books), so each call opens it, does one transaction and closes it. `synchronous=EXTRA` syncs the folder too
once the journal is gone: what a call returned from is still there after a power cut, which "booked before it leaves"
depends on. A rollback journal, because a write-ahead log, made and removed at each opening, makes reading five times
slower and writing no faster. `secure_delete` overwrites a forgotten token instead of only unlinking it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, cast

import numpy as np

from common.errors import VaultError
from common.prior import KINDS, Kind, SignedPrior, decode_prior

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_BUSY_SECONDS: Final = 30.0
"""How long a call waits for another process's transaction; each lasts milliseconds."""
_VERSION: Final = 1
_SCHEMA: Final = (
    """CREATE TABLE concepts (
         id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
         class_word TEXT NOT NULL, backbone TEXT NOT NULL, anchor BLOB NOT NULL, token BLOB NOT NULL,
         loss REAL NOT NULL, forwards INTEGER NOT NULL, created TEXT NOT NULL)""",
    # No name and no token here: a row outlives the concept, as the evidence of what was given.
    """CREATE TABLE contributions (
         concept INTEGER PRIMARY KEY, round TEXT NOT NULL UNIQUE, prior_version INTEGER NOT NULL,
         booked TEXT NOT NULL)""",
    """CREATE TABLE priors (
         backbone TEXT NOT NULL, kind TEXT NOT NULL, version INTEGER NOT NULL, payload BLOB NOT NULL,
         signature BLOB NOT NULL, PRIMARY KEY (backbone, kind))""",
    "CREATE TABLE backbones (fingerprint TEXT PRIMARY KEY, width INTEGER NOT NULL)",
)
_COLUMNS: Final = "name, kind, class_word, backbone, anchor, token, loss, forwards"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Concept:
    """One thing that the person taught."""

    name: str
    kind: Kind
    class_word: str
    """What it is one of, "dog"; empty for a style."""
    backbone: str
    """SHA-256 of the weights that it was learned on, lower-case hex."""
    anchor: NDArray[np.float32]
    """Where the search started from, shape (width,)."""
    token: NDArray[np.float32]
    """What was learned, shape (width,)."""
    loss: float
    forwards: int
    """What the learning cost."""

    def __post_init__(self) -> None:
        """Refuse what could be neither drawn with nor contributed."""
        if not self.name or self.kind not in KINDS:
            message = f"a concept needs a name and one of the kinds {', '.join(KINDS)}, got kind {self.kind!r}"
            raise VaultError(message)
        shapes = (self.anchor.shape, self.token.shape)
        if self.token.ndim != 1 or not self.token.size or shapes[0] != shapes[1]:
            message = f"anchor and token have shapes {shapes}, expected twice (width,): learn the concept again"
            raise VaultError(message)
        if not (np.isfinite(self.anchor).all() and np.isfinite(self.token).all()):
            message = "anchor or token holds a number that is not finite: learn the concept again"
            raise VaultError(message)

    @property
    def displacement(self) -> NDArray[np.float64]:
        """δ = token − anchor, shape (width,)."""
        return self.token.astype(np.float64) - self.anchor.astype(np.float64)


class Vault:
    """What one person keeps on one device; safe to use from several processes at once."""

    def __init__(self, folder: Path) -> None:
        """Open the vault in `folder`, making both where they are missing.

        Raises:
            VaultError: the folder cannot be written, or the file is no vault of this version.
        """
        self._path = folder / "vault.sqlite"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
        except OSError as error:
            message = f"cannot write to {folder} ({error.strerror}): choose another state folder"
            raise VaultError(message) from error
        with self._transaction("DEFERRED") as rows:
            found = rows.execute("PRAGMA user_version").fetchone()[0]
        if found != _VERSION:
            with self._transaction() as rows:
                _prepare(rows)

    def save_concept(self, concept: Concept) -> None:
        """Keep a learned concept; one of the same name is replaced and keeps what was booked for it."""
        values = (
            *(concept.name, concept.kind, concept.class_word, concept.backbone),
            *(_bytes(concept.anchor), _bytes(concept.token), concept.loss, concept.forwards),
        )
        with self._transaction() as rows:
            rows.execute(
                f"INSERT INTO concepts ({_COLUMNS}, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - ours
                " ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, class_word = excluded.class_word,"
                " backbone = excluded.backbone, anchor = excluded.anchor, token = excluded.token,"
                " loss = excluded.loss, forwards = excluded.forwards, created = excluded.created",
                (*values, _now()),
            )

    def concept(self, name: str) -> Concept:
        """Give the concept of that name.

        Raises:
            VaultError: there is none.
        """
        found = self._concepts("WHERE name = ?", name)
        if not found:
            raise _unknown(name)
        return found[0]

    def concepts(self) -> list[Concept]:
        """Give all concepts, oldest first."""
        return self._concepts("ORDER BY id")

    def forget(self, name: str) -> None:
        """Delete a concept for good; that something was contributed stays booked, without a name.

        Raises:
            VaultError: there is no such concept.
        """
        with self._transaction() as rows:
            if not rows.execute("DELETE FROM concepts WHERE name = ?", (name,)).rowcount:
                raise _unknown(name)

    def pending(self, kind: str, backbone: str) -> Concept | None:
        """Give the oldest concept of that kind and backbone of which nothing was ever contributed."""
        never = "id NOT IN (SELECT concept FROM contributions)"
        condition = f"WHERE kind = ? AND backbone = ? AND {never} ORDER BY id LIMIT 1"
        found = self._concepts(condition, kind, backbone)
        return found[0] if found else None

    def mark_contributed(self, name: str, round_id: str, prior_version: int) -> None:
        """Book, durably, that a concept went into a round. Call it before the reply leaves, never after.

        A crash in between loses a contribution; the other order would count one twice.

        Raises:
            VaultError: there is no such concept, it was contributed before, or the round has an answer already.
        """
        with self._transaction() as rows:
            found = rows.execute("SELECT id FROM concepts WHERE name = ?", (name,)).fetchone()
            if found is None:
                raise _unknown(name)
            try:
                rows.execute("INSERT INTO contributions VALUES (?, ?, ?, ?)", (*found, round_id, prior_version, _now()))
            except sqlite3.IntegrityError as error:
                message = f"this concept or round {round_id} is booked already: a contribution counts once"
                raise VaultError(message) from error

    def save_prior(self, signed: SignedPrior) -> None:
        """Keep a prior that `common.prior.open_prior` accepted, unless a newer one is here already.

        Raises:
            PriorError: it cannot even be decoded.
        """
        prior = decode_prior(signed.payload)
        with self._transaction() as rows:
            rows.execute(
                "INSERT INTO priors VALUES (?, ?, ?, ?, ?) ON CONFLICT (backbone, kind) DO UPDATE SET"
                " version = excluded.version, payload = excluded.payload, signature = excluded.signature"
                " WHERE excluded.version > priors.version",
                (prior.backbone, prior.kind, prior.version, signed.payload, signed.signature),
            )

    def prior(self, backbone: str, kind: str) -> SignedPrior | None:
        """Give the newest prior kept, as it was signed; `client.federation.current_prior` verifies and opens it."""
        query = "SELECT payload, signature FROM priors WHERE backbone = ? AND kind = ?"
        with self._transaction("DEFERRED") as rows:
            found = rows.execute(query, (backbone, kind)).fetchone()
        return SignedPrior(payload=found[0], signature=found[1]) if found else None

    def admit_backbone(self, fingerprint: str, width: int) -> None:
        """Note that this person uses a backbone, so that priors for it are welcome."""
        with self._transaction() as rows:
            rows.execute("INSERT OR REPLACE INTO backbones VALUES (?, ?)", (fingerprint, width))

    def width(self, backbone: str) -> int | None:
        """Give the token width of a backbone in use; None for any other."""
        with self._transaction("DEFERRED") as rows:
            found = rows.execute("SELECT width FROM backbones WHERE fingerprint = ?", (backbone,)).fetchone()
        return cast("int", found[0]) if found else None

    def _concepts(self, condition: str, *values: str) -> list[Concept]:
        with self._transaction("DEFERRED") as rows:
            found = rows.execute(f"SELECT {_COLUMNS} FROM concepts {condition}", values).fetchall()  # noqa: S608 - ours
        return [_concept(row) for row in found]

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute("PRAGMA secure_delete = ON")
        return connection

    @contextmanager
    def _transaction(self, mode: Literal["DEFERRED", "IMMEDIATE"] = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """Run the body as one transaction, all of it or nothing; deferred is enough to read."""
        try:
            with closing(self._connect()) as connection, connection:
                connection.execute(f"BEGIN {mode}")
                yield connection
        except sqlite3.Error as error:
            message = f"the vault {self._path} cannot be used ({error}): restore it from a backup or move it away"
            raise VaultError(message) from error


def _prepare(rows: sqlite3.Connection) -> None:
    found = rows.execute("PRAGMA user_version").fetchone()[0]
    if found == 0:
        for table in _SCHEMA:
            rows.execute(table)
        rows.execute(f"PRAGMA user_version = {_VERSION}")
    elif found != _VERSION:
        message = f"the vault has version {found}, this program knows {_VERSION}: update Shoal"
        raise VaultError(message)


def _concept(row: tuple[str, Kind, str, str, bytes, bytes, float, int]) -> Concept:
    name, kind, class_word, backbone, anchor, token, loss, forwards = row
    if len(anchor) % 4 or len(token) % 4:
        message = "a stored token is damaged: forget the concept and learn it again"
        raise VaultError(message)
    return Concept(
        name=name,
        kind=kind,
        class_word=class_word,
        backbone=backbone,
        anchor=np.frombuffer(anchor, "<f4").astype(np.float32),
        token=np.frombuffer(token, "<f4").astype(np.float32),
        loss=loss,
        forwards=forwards,
    )


def _bytes(vector: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


def _now() -> str:
    """Say when a row was written; for the person's eyes, nothing depends on it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _unknown(name: str) -> VaultError:
    return VaultError(f"there is no concept {name!r}: `shoal concepts` lists them")
