"""Pairs of pictures that were drawn and not judged yet: as recipes, sealed, so that a restart shows them again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from client.choices import Recipe, recipe_of
from client.database import Database
from client.sealing import seal_of
from common.errors import VaultError

if TYPE_CHECKING:
    from pathlib import Path

_TABLE: Final = "CREATE TABLE IF NOT EXISTS pairs (id INTEGER PRIMARY KEY AUTOINCREMENT, recipes BLOB NOT NULL)"
_LABEL: Final = "pair"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPair:
    """Two pictures that somebody is to choose between."""

    number: int
    recipes: tuple[Recipe, Recipe]


class OpenPairs:
    """The pairs on one device; safe to use from several processes at once."""

    def __init__(self, folder: Path) -> None:
        """Open them in a state folder.

        Raises:
            VaultError: the folder cannot be written, or the file is no vault of this version.
        """
        self._database = Database(folder, _TABLE)

    def keep(self, recipes: tuple[Recipe, Recipe]) -> int:
        """Keep a pair until it is judged; return its number."""
        told = json.dumps([asdict(one) for one in recipes], allow_nan=False)
        with self._database.transaction() as rows:
            sealed = seal_of(rows).seal(told.encode(), _LABEL)
            return int(rows.execute("INSERT INTO pairs (recipes) VALUES (?)", (sealed,)).lastrowid or 0)

    def drop(self, number: int) -> None:
        """Forget a pair: it was judged, or nobody wants it."""
        with self._database.transaction() as rows:
            rows.execute("DELETE FROM pairs WHERE id = ?", (number,))

    def all(self) -> list[OpenPair]:
        """Return all pairs, oldest first.

        Raises:
            VaultError: one is damaged, or the vault's key cannot be had.
        """
        with self._database.transaction("DEFERRED") as rows:
            found = rows.execute("SELECT id, recipes FROM pairs ORDER BY id").fetchall()
            opened = [(number, seal_of(rows).open(sealed, _LABEL)) for number, sealed in found]
        try:
            return [_pair(number, told) for number, told in opened]
        except (ValueError, TypeError, KeyError) as error:
            raise VaultError("a pair of pictures is damaged: shoal forget taste, then choose again") from error

    def forget(self, name: str) -> int:
        """Delete every pair in whose pictures a concept stands; return how many."""
        gone = [one.number for one in self.all() if name in dict(one.recipes[0].tokens)]
        for number in gone:
            self.drop(number)
        return len(gone)

    def clear(self) -> None:
        """Forget all pairs."""
        with self._database.transaction() as rows:
            rows.execute("DELETE FROM pairs")


def _pair(number: int, told: bytes) -> OpenPair:
    first, second = (recipe_of(values) for values in json.loads(told))
    return OpenPair(number=number, recipes=(first, second))
