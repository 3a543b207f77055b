"""Which of two pictures a person found better: what a taste is later learned from.

A picture is kept as its recipe, from which the same backbone draws it again, and not as pixels. Nothing here ever
leaves the device; `client.contribution` does not know this module.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from client.database import Database, now
from client.sealing import Seal, seal_of
from common.errors import VaultError

if TYPE_CHECKING:
    from pathlib import Path

Picked = Literal["first", "second", "neither"]
PICKED: Final = ("first", "second", "neither")
Vectors = tuple[tuple[float, ...], ...]
"""A concept's, a row for each stage of denoising that has its own: (stages, vectors * width)."""
_TABLE: Final = """CREATE TABLE IF NOT EXISTS choices (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, recipes BLOB NOT NULL, picked TEXT NOT NULL)"""
_LABEL: Final = "choice"
"""What the recipes are sealed as: a prompt says much, and a token more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides a picture."""

    prompt: str
    seed: int
    steps: int
    guidance: float
    backbone: str
    """Fingerprint of the model, hex."""
    negative: str = ""
    tokens: tuple[tuple[str, Vectors], ...] = ()
    """Each concept in the prompts by name with its vectors, as it was then: it may be learned anew."""
    taste: tuple[float, ...] = ()
    """Vector of the taste that it was drawn with, (width,): one of those that the person's may be; none at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Two pictures of one prompt, and the person's word."""

    first: Recipe
    second: Recipe
    picked: Picked
    number: int = 0
    """Given when it is kept; rising."""
    at: str = ""
    """Date and time by this device's clock."""

    def __post_init__(self) -> None:
        """Refuse what says nothing."""
        if self.picked not in PICKED:
            raise VaultError(f"a choice is one of {', '.join(PICKED)}, got {self.picked!r}")
        same = replace(self.first, seed=self.second.seed, taste=self.second.taste)
        if same != self.second or self.first == self.second:
            raise VaultError("a choice is between two pictures that differ in seed or taste alone: draw a pair anew")

    @property
    def better(self) -> Recipe:
        """The picture that was picked; of two of which neither was, the first."""
        return self.second if self.picked == "second" else self.first

    @property
    def worse(self) -> Recipe:
        """The other one."""
        return self.first if self.picked == "second" else self.second


class Choices:
    """The choices on one device; safe to use from several processes at once."""

    def __init__(self, folder: Path) -> None:
        """Open them in a state folder.

        Raises:
            VaultError: the folder cannot be written, or the file is no vault of this version.
        """
        self._database = Database(folder, _TABLE)

    def record(self, choice: Choice) -> Choice:
        """Keep a choice, and return it with its number."""
        at, recipes = now(), json.dumps([asdict(choice.first), asdict(choice.second)], allow_nan=False)
        insert = "INSERT INTO choices (at, recipes, picked) VALUES (?, ?, ?)"
        with self._database.transaction() as rows:
            sealed = seal_of(rows).seal(recipes.encode(), _LABEL)
            number = rows.execute(insert, (at, sealed, choice.picked)).lastrowid
        return replace(choice, number=int(number or 0), at=at)

    def undo(self, number: int) -> bool:
        """Take a choice back for good; return whether there was such a one."""
        with self._database.transaction() as rows:
            return bool(rows.execute("DELETE FROM choices WHERE id = ?", (number,)).rowcount)

    def all(self) -> list[Choice]:
        """Return all choices, oldest first.

        Raises:
            VaultError: one is damaged, or the vault's key cannot be had.
        """
        with self._database.transaction("DEFERRED") as rows:
            found = rows.execute("SELECT id, at, recipes, picked FROM choices ORDER BY id").fetchall()
            return [_choice(seal_of(rows), *row) for row in found]

    def forget(self, name: str) -> int:
        """Delete every choice in whose pictures a concept stood; return how many."""
        gone = [choice.number for choice in self.all() if name in dict(choice.first.tokens)]
        with self._database.transaction() as rows:
            rows.executemany("DELETE FROM choices WHERE id = ?", [(number,) for number in gone])
        return len(gone)


def _choice(seal: Seal, number: int, at: str, sealed: bytes, picked: Picked) -> Choice:
    recipes = seal.open(sealed, _LABEL)
    try:
        first, second = (recipe_of(values) for values in json.loads(recipes))
    except (ValueError, TypeError, KeyError) as error:
        raise VaultError(f"choice {number} is damaged: take it back with undo") from error
    return Choice(first=first, second=second, picked=picked, number=number, at=at)


def recipe_of(values: dict[str, Any]) -> Recipe:
    """Return a recipe from what `dataclasses.asdict` and JSON made of it."""
    tokens = tuple((name, tuple(tuple(row) for row in rows)) for name, rows in values.pop("tokens"))
    taste = tuple(values.pop("taste", ()))  # older ones have none
    return Recipe(tokens=tokens, taste=taste, **values)
