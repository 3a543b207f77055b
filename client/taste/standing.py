"""How it stands with a person's taste: how many choices there are, and whether they are learned. No model library."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from client.choices import Choices
from client.database import FILE, Database
from client.taste.looking import OpenPairs
from client.unfinished import forgetting, is_begun
from client.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from client.choices import Choice

NAME: Final = "taste"
"""What a taste is called among concepts."""

MATURE: Final = 8
"""Choices from which on a taste is a concept, which takes part in rounds: one of fewer would tell others little beyond
what the prior told it."""

STRENGTH: Final = 3.0
"""How far a taste is followed unless the person says otherwise. At 1, as learned, it hardly shows: docs/taste.md."""

TABLE: Final = """CREATE TABLE IF NOT EXISTS tastes (
    backbone TEXT PRIMARY KEY, choices TEXT NOT NULL, belief BLOB NOT NULL)"""
"""Of `client.taste.belief.Tastes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the person is told of their taste."""

    choices: int = 0
    """All that were made, "neither" among them."""
    decided: int = 0
    """Those of which one picture was better: what is learned of."""
    known: bool = False
    """Whether anything was learned of them."""
    learned: bool = False
    """Whether all of them were."""

    @property
    def in_words(self) -> str:
        """One line for the person."""
        if not self.choices:
            return "no choices yet: `shoal rate` shows you pairs of pictures"
        told = f"{self.choices} choice{'' if self.choices == 1 else 's'}"
        if self.choices != self.decided:
            told += f", {self.choices - self.decided} of them neither"
        told += ", learned" if self.learned else ", not all learned yet" if self.known else ", not learned yet"
        if self.decided < MATURE:
            told += f"; with {MATURE} it becomes a concept, which may take part in rounds"
        return told


def standing(home: Path) -> Standing:
    """Return how it stands; with choices on several models "learned" means on all of them. Needs no key."""
    made = _made(home)
    better, held = _better(made), _held(home)
    return Standing(
        choices=len(made),
        decided=len(better),
        known=bool(held),
        learned=bool(better) and better == _learned(held),
    )


def decided(home: Path, backbone: str) -> list[Choice]:
    """Return the choices between two pictures of a backbone of which one was better, oldest first."""
    return [one for one in Choices(home).all() if one.picked != "neither" and one.first.backbone == backbone]


def stale(home: Path, backbone: str) -> list[Choice]:
    """Return all decided choices where some were made, or taken back, since the taste was learned; else none."""
    found = decided(home, backbone)
    return [] if made_of(home, backbone) == named(found) else found


def is_stale(home: Path, backbone: str) -> bool:
    """Tell whether choices were made, or taken back, since the taste was learned."""
    return bool(stale(home, backbone))


def unlearned(home: Path) -> tuple[int, str]:
    """Return how many choices there are, and their names, where not all of them are learned; else none. Needs no key.

    Those of a model that is no longer used stay unlearned: whoever asks remembers what was tried in vain.
    """
    better = _better(_made(home))
    if not better or better == _learned(_held(home)):
        return 0, ""
    return len(better), json.dumps(sorted(better))


def named(choices: Sequence[Choice]) -> str:
    """Return choices by number and answer: what a belief was made of."""
    return json.dumps([(one.number, one.picked) for one in choices])


def made_of(home: Path, backbone: str) -> str | None:
    """Return the names of the choices that the belief on a backbone was made of."""
    return _held(home).get(backbone)


def take_back(home: Path, number: int) -> bool:
    """Take a choice back for good; return whether there was such a one. With the last one goes what was learned.

    Raises:
        VaultError: something cannot be deleted.
    """
    found = Choices(home).undo(number)
    if found:
        forget_what_rests_on_nothing(home)
    return found


def forget_what_rests_on_nothing(home: Path) -> None:
    """Forget what was learned of choices none of which is there any more.

    Raises:
        VaultError: something cannot be deleted.
    """
    there = _better(_made(home))
    gone = {backbone for backbone, of in _held(home).items() if not _learned({backbone: of}) & there}
    if not gone and (there or not is_begun(home, NAME)):
        return
    with forgetting(home, NAME):  # whoever learns it now ends first, and keeps nothing
        with Database(home).transaction() as rows:
            rows.executemany("DELETE FROM tastes WHERE backbone = ?", [(one,) for one in gone])
        if any(one.name == NAME and one.backbone in gone for one in Vault(home).listed()):
            Vault(home).forget(NAME)


def forget_beliefs(home: Path) -> bool:
    """Forget what is known on every backbone; return whether there was anything."""
    with Database(home, TABLE).transaction() as rows:
        return bool(rows.execute("DELETE FROM tastes").rowcount)


def forget_choices(home: Path) -> int:
    """Delete all choices, the pairs still looked at, and what was learned; return how many choices there were."""
    choices = Choices(home)
    gone = sum(choices.undo(one.number) for one in choices.all())
    OpenPairs(home).clear()
    forget_beliefs(home)
    return gone


def _made(home: Path) -> dict[int, str]:
    """Return what was answered, by the choice's number."""
    return dict(_rows(home, "choices", "id, picked"))


def _better(made: dict[int, str]) -> set[tuple[int, str]]:
    return {(number, picked) for number, picked in made.items() if picked != "neither"}


def _held(home: Path) -> dict[str, str]:
    """Return the names of what each belief was made of, by backbone."""
    return dict(_rows(home, "tastes", "backbone, choices"))


def _learned(held: dict[str, str]) -> set[tuple[int, str]]:
    return {(int(number), str(picked)) for of in held.values() for number, picked in json.loads(of)}


def _rows(home: Path, table: Literal["choices", "tastes"], columns: str) -> list[tuple[Any, ...]]:
    """Read a table, if it was ever made: who only looks leaves no vault behind."""
    if not (home / FILE).is_file():
        return []
    with Database(home).transaction("DEFERRED") as rows:
        there = rows.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        return rows.execute(f"SELECT {columns} FROM {table} ORDER BY 1").fetchall() if there else []  # noqa: S608 - ours
