"""Which set of photos was last learned, or tried in vain, for each watched folder: sealed rows of the vault."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from client.database import Database
from client.sealing import seal_of
from common.errors import VaultError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The last learning of a name that came to an end."""

    digest: str
    """Of the `client.daemon.photo_set.PhotoSet`."""
    problem: str = ""
    """Why nothing could be learned of it; empty where something was."""
    skipped: tuple[str, ...] = ()
    """Photos that were skipped, and why."""


def last_tried(home: Path, name: str) -> Tried | None:
    """Return what was last tried; None where nothing was.

    Raises:
        VaultError: the vault cannot be opened.
    """
    with Database(home).transaction("DEFERRED") as rows:
        found = rows.execute("SELECT facts FROM lessons WHERE name = ?", (name,)).fetchone()
        if found is None:
            return None
        facts = json.loads(seal_of(rows).open(found[0], f"lesson/{name}"))
    try:
        return Tried(**facts | {"skipped": tuple(facts["skipped"])})
    except (TypeError, KeyError) as error:
        raise VaultError(f"what was noted of <{name}> is of another version: shoal forget {name}") from error


def note_tried(home: Path, name: str, tried: Tried) -> None:
    """Keep what was tried, in the place of what was before."""
    with Database(home).transaction() as rows:
        facts = seal_of(rows).seal(json.dumps(asdict(tried)).encode(), f"lesson/{name}")
        rows.execute("INSERT OR REPLACE INTO lessons VALUES (?, ?)", (name, facts))


def forget_tried(home: Path, name: str) -> None:
    """Delete what is known of a name's photos."""
    with Database(home).transaction() as rows:
        rows.execute("DELETE FROM lessons WHERE name = ?", (name,))
