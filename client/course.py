"""The course of a learning: the token at a few moments, and a picture drawn with each, for the person to see it grow.

The moments lie ever further apart, as learning slows. The pictures are drawn later and by somebody else
(`client.web.samples`), because a learner that draws would take twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from client.database import Database
from client.sealing import Seal, seal_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

FIRST: Final = 60
"""Forwards until the second moment; the first is the start."""
GROWTH: Final = 2.0
"""By which each moment is later than the one before: eight moments for a learning of 3,000 forwards."""
_TABLE: Final = """CREATE TABLE IF NOT EXISTS course (
    name TEXT NOT NULL, learning TEXT NOT NULL, forwards INTEGER NOT NULL, token BLOB NOT NULL, picture BLOB,
    PRIMARY KEY (name, forwards))"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One moment."""

    forwards: int
    drawn: bool
    """Whether there is a picture of it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bare:
    """A moment without a picture, opened to be drawn."""

    forwards: int
    token: NDArray[np.float32]
    """Shape (width,)."""
    sealed: bytes
    """As it lies in the vault: tells whether it is still the same when the picture is there."""


class Course:
    """The courses of all concepts on one device; safe to use from several processes at once.

    Tokens and pictures are sealed; how many moments there are can be told without the vault's key.
    """

    def __init__(self, folder: Path) -> None:
        """Open them in a state folder.

        Raises:
            VaultError: the folder cannot be written, or the file is no vault of this version.
        """
        self._database = Database(folder, _TABLE)

    def note(self, name: str, learning: str, forwards: int, token: NDArray[np.float32]) -> None:
        """Keep a moment; the first of another learning takes the place of all that an earlier one left."""
        data = np.ascontiguousarray(token, dtype="<f4").tobytes()
        with self._database.transaction() as rows:
            sealed = seal_of(rows).seal(data, _label(name, forwards, "token"))
            rows.execute("DELETE FROM course WHERE name = ? AND learning != ?", (name, learning))
            rows.execute("INSERT OR REPLACE INTO course VALUES (?, ?, ?, ?, NULL)", (name, learning, forwards, sealed))

    def stages(self, name: str) -> tuple[Stage, ...]:
        """Return the moments of a concept, in their order; none where it was learned before there were any."""
        select = "SELECT forwards, picture IS NOT NULL FROM course WHERE name = ? ORDER BY forwards"
        with self._database.transaction("DEFERRED") as rows:
            return tuple(Stage(forwards=row[0], drawn=bool(row[1])) for row in rows.execute(select, (name,)))

    def bare(self, name: str) -> list[Bare]:
        """Return the moments that nobody drew yet.

        Raises:
            VaultError: the vault's key cannot be had.
        """
        select = "SELECT forwards, token FROM course WHERE name = ? AND picture IS NULL ORDER BY forwards"
        with self._database.transaction("DEFERRED") as rows:
            found = rows.execute(select, (name,)).fetchall()
            return [_bare(seal_of(rows), name, *row) for row in found]

    def hang(self, name: str, moment: Bare, picture: bytes) -> None:
        """Keep the picture of a moment, a PNG file, if the moment is still what it was."""
        update = "UPDATE course SET picture = ? WHERE name = ? AND forwards = ? AND token = ?"
        with self._database.transaction() as rows:
            sealed = seal_of(rows).seal(picture, _label(name, moment.forwards, "picture"))
            rows.execute(update, (sealed, name, moment.forwards, moment.sealed))

    def picture(self, name: str, forwards: int) -> bytes | None:
        """Return the picture of a moment, a PNG file; None where there is none.

        Raises:
            VaultError: the vault's key cannot be had.
        """
        select = "SELECT picture FROM course WHERE name = ? AND forwards = ?"
        with self._database.transaction("DEFERRED") as rows:
            found = rows.execute(select, (name, forwards)).fetchone()
            if found is None or found[0] is None:
                return None
            return seal_of(rows).open(found[0], _label(name, forwards, "picture"))

    def forget(self, name: str) -> None:
        """Delete a concept's course for good."""
        with self._database.transaction() as rows:
            rows.execute("DELETE FROM course WHERE name = ?", (name,))


def watching(course: Course, name: str, learning: str) -> Callable[[int, Any], None]:
    """Return a `watch` for `client.learn.search.learn` that keeps the moments.

    Args:
        course: where to.
        name: of the concept.
        learning: what tells this learning from another of the same name, as its checkpoint's name; a learning that is
            taken up again goes on where its moments end.
    """
    due: int | None = None

    def watch(forwards: int, token: Any) -> None:  # noqa: ANN401 - a tensor; torch is not needed to read it
        nonlocal due
        if due is None or forwards >= due:
            due = _next_due(forwards)
            course.note(name, learning, forwards, np.asarray(token, np.float32))

    return watch


def _next_due(forwards: int) -> int:
    due = float(FIRST)
    while due <= forwards:
        due *= GROWTH
    return int(due)


def _bare(seal: Seal, name: str, forwards: int, sealed: bytes) -> Bare:
    data = seal.open(sealed, _label(name, forwards, "token"))
    return Bare(forwards=forwards, token=np.frombuffer(data, "<f4").astype(np.float32), sealed=sealed)


def _label(name: str, forwards: int, what: str) -> str:
    return f"course/{name}/{forwards}/{what}"
