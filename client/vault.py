"""What the person taught: concepts, each in words and numbers, and which of them were contributed.

Tokens are what photos became. Of everything that takes part in rounds only `client.contribution` may import this
module; tests/unit/client/test_only_exit.py holds the others to it.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from client.database import Database, now
from common.errors import VaultError
from common.prior import KINDS, Kind

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

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
    """The concepts on one device; safe to use from several processes at once."""

    def __init__(self, folder: Path) -> None:
        """Open the vault in `folder`, making it where it is missing.

        Raises:
            VaultError: the folder cannot be written, or the file is no vault of this version.
        """
        self._database = Database(folder)

    def save_concept(self, concept: Concept) -> None:
        """Keep a learned concept; one of the same name is replaced and keeps what was booked for it."""
        values = (
            *(concept.name, concept.kind, concept.class_word, concept.backbone),
            *(_bytes(concept.anchor), _bytes(concept.token), concept.loss, concept.forwards),
        )
        with self._database.transaction() as rows:
            rows.execute(
                f"INSERT INTO concepts ({_COLUMNS}, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - ours
                " ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, class_word = excluded.class_word,"
                " backbone = excluded.backbone, anchor = excluded.anchor, token = excluded.token,"
                " loss = excluded.loss, forwards = excluded.forwards, created = excluded.created",
                (*values, now()),
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
        with self._database.transaction() as rows:
            if not rows.execute("DELETE FROM concepts WHERE name = ?", (name,)).rowcount:
                raise _unknown(name)

    def pending(self, kind: str, backbone: str) -> Concept | None:
        """Give the oldest concept of that kind and backbone of which nothing was ever contributed."""
        never = "id NOT IN (SELECT concept FROM contributions)"
        condition = f"WHERE kind = ? AND backbone = ? AND {never} ORDER BY id LIMIT 1"
        found = self._concepts(condition, kind, backbone)
        return found[0] if found else None

    def _concepts(self, condition: str, *values: str) -> list[Concept]:
        with self._database.transaction("DEFERRED") as rows:
            found = rows.execute(f"SELECT {_COLUMNS} FROM concepts {condition}", values).fetchall()  # noqa: S608 - ours
        return [_concept(row) for row in found]


def mark_contributed(rows: sqlite3.Connection, name: str, round_id: str, prior_version: int) -> int:
    """Note that a concept goes into a round, in a transaction of the caller's; it does so at most once.

    Returns:
        The concept's number, which stays when its name is forgotten.

    Raises:
        VaultError: there is no such concept, it was contributed before, or the round has an answer already.
    """
    found = rows.execute("SELECT id FROM concepts WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise _unknown(name)
    number = int(found[0])
    try:
        rows.execute("INSERT INTO contributions VALUES (?, ?, ?, ?)", (number, round_id, prior_version, now()))
    except sqlite3.IntegrityError as error:
        message = f"this concept or round {round_id} is booked already: a contribution counts once"
        raise VaultError(message) from error
    return number


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


def _unknown(name: str) -> VaultError:
    return VaultError(f"there is no concept {name!r}: `shoal concepts` lists them")
