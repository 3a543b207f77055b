"""What the person taught: concepts, each in words and numbers, and which of them were contributed.

Tokens are what photos became; they and their anchors are sealed. Of everything that takes part in rounds only
`client.contribution` may import this module; tests/unit/client/test_only_exit.py holds the others to it.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from client.database import Database, now
from client.placeholder import mentioned, said
from client.sealing import Seal, seal_of
from client.taught import Taught, said_at
from common.errors import VaultError
from common.prior import KINDS, Kind

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_NAMED: Final = ("concepts", "lessons")
"""Tables whose rows bear a concept's name."""
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
    """Where a search begins without a prior, shape (vectors * width,): what displacements are counted from."""
    token: NDArray[np.float32]
    """What was learned, shape (stages * vectors * width,): as many anchors' sizes as denoising has stages."""
    loss: float
    forwards: int
    """What the learning cost."""

    def __post_init__(self) -> None:
        """Refuse what could be neither drawn with nor contributed."""
        if not self.name or self.kind not in KINDS:
            message = f"a concept needs a name and one of the kinds {', '.join(KINDS)}, got kind {self.kind!r}"
            raise VaultError(message)
        shapes = (self.anchor.shape, self.token.shape)
        flat = self.anchor.ndim == 1 and self.token.ndim == 1 and self.anchor.size > 0 and self.token.size > 0
        if not flat or self.token.size % self.anchor.size:
            message = f"anchor and token have shapes {shapes}, expected (n,) and (stages * n,): learn the concept again"
            raise VaultError(message)
        if not (np.isfinite(self.anchor).all() and np.isfinite(self.token).all()):
            message = "anchor or token holds a number that is not finite: learn the concept again"
            raise VaultError(message)

    @property
    def stages(self) -> int:
        """How many stages of denoising have a token of their own, the noisiest first; 1 is one token for all."""
        return self.token.size // self.anchor.size

    @property
    def displacement(self) -> NDArray[np.float64]:
        """δ = token − anchor of every stage, one after the other, shape (stages * vectors * width,)."""
        return self.token.astype(np.float64) - np.tile(self.anchor.astype(np.float64), self.stages)

    def said(self, mention: str, strength: float) -> Taught:
        """Return it as drawing needs it, moved so much of the way from its anchor to its token."""
        return Taught(mention, self.backbone, said_at(strength, self.token, self.anchor), self.stages)


class Listed(NamedTuple):
    """What can be told of a concept without the vault's key."""

    name: str
    kind: Kind
    class_word: str
    backbone: str
    loss: float
    forwards: int
    created: str
    """When it was learned."""
    contributed: str | None
    """When it went into a sum; None while it never did."""


class Vault:
    """The concepts on one device; safe to use from several processes at once."""

    def __init__(self, folder: Path) -> None:
        """Open the vault in `folder`, making it where it is missing.

        Raises:
            VaultError: the folder cannot be written, or the file is no vault of this version.
        """
        self._database = Database(folder)

    def unlock(self) -> None:
        """Have the key now, asking for a passphrase where that must be, and not when something waits to be kept.

        Raises:
            VaultError: the vault's key is not to be had.
        """
        with self._database.transaction() as rows:
            seal_of(rows)

    def save_concept(self, concept: Concept) -> None:
        """Keep a learned concept; one of the same name is replaced and keeps what was booked for it."""
        with self._database.transaction() as rows:
            seal, name = seal_of(rows), concept.name
            sealed = (
                seal.seal(_bytes(concept.anchor), f"concept/{name}/anchor"),
                seal.seal(_bytes(concept.token), f"concept/{name}/token"),
            )
            words = (name, concept.kind, concept.class_word, concept.backbone)
            rows.execute(
                f"INSERT INTO concepts ({_COLUMNS}, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - ours
                " ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, class_word = excluded.class_word,"
                " backbone = excluded.backbone, anchor = excluded.anchor, token = excluded.token,"
                " loss = excluded.loss, forwards = excluded.forwards, created = excluded.created",
                (*words, *sealed, concept.loss, concept.forwards, now()),
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

    def taught(self, *prompts: str) -> list[Taught]:
        """Give what stands in prompts as ``<name>`` or ``<name:strength>``, each once, in their order.

        Raises:
            VaultError: there is no such concept.
            ConfigError: a strength is none.
        """
        found = []
        for mention in mentioned(*prompts):
            name, strength = said(mention)
            found.append(self.concept(name).said(mention, strength))
        return found

    def concepts(self) -> list[Concept]:
        """Give all concepts, oldest first."""
        return self._concepts("ORDER BY id")

    def listed(self) -> list[Listed]:
        """Give what can be told of all concepts without opening them, oldest first."""
        query = (
            "SELECT name, kind, class_word, backbone, loss, forwards, concepts.created, contributions.booked"
            " FROM concepts LEFT JOIN contributions ON concept = id ORDER BY id"
        )
        with self._database.transaction("DEFERRED") as rows:
            return [Listed(*row) for row in rows.execute(query)]

    def forget(self, name: str) -> str | None:
        """Delete a concept and what is known of its photos, for good.

        That something was contributed stays booked, without a name.

        Returns:
            When it went into a sum, which nobody can take back; None if it never did.

        Raises:
            VaultError: there is no such concept.
        """
        booked = "SELECT booked FROM contributions JOIN concepts ON concept = id WHERE name = ?"
        with self._database.transaction() as rows:
            given = rows.execute(booked, (name,)).fetchone()
            forgotten = [rows.execute(f"DELETE FROM {table} WHERE name = ?", (name,)).rowcount for table in _NAMED]  # noqa: S608 - ours
            if not any(forgotten):
                raise _unknown(name)
        return str(given[0]) if given else None

    def pending(self, kind: str, backbone: str) -> Concept | None:
        """Give the oldest concept of that kind and backbone of which nothing was ever contributed."""
        never = "id NOT IN (SELECT concept FROM contributions)"
        condition = f"WHERE kind = ? AND backbone = ? AND {never} ORDER BY id LIMIT 1"
        found = self._concepts(condition, kind, backbone)
        return found[0] if found else None

    def _concepts(self, condition: str, *values: str) -> list[Concept]:
        with self._database.transaction("DEFERRED") as rows:
            found = rows.execute(f"SELECT {_COLUMNS} FROM concepts {condition}", values).fetchall()  # noqa: S608 - ours
            return [_concept(seal_of(rows), row) for row in found]


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


def _concept(seal: Seal, row: tuple[str, Kind, str, str, bytes, bytes, float, int]) -> Concept:
    name, kind, class_word, backbone, sealed_anchor, sealed_token, loss, forwards = row
    anchor = seal.open(sealed_anchor, f"concept/{name}/anchor")
    token = seal.open(sealed_token, f"concept/{name}/token")
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
