"""Folders that may hold photos, to choose from instead of typing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif")
PARENTS: Final = ("Pictures", "Photos", "DCIM", "Desktop")
MOST: Final = 40
MOST_ENTRIES: Final = 2000
"""Entries of one folder that are looked at: this runs whenever the page is shown."""


def likely_folders(person: Path) -> list[str]:
    """Return folders with pictures in them under the usual places of a person's home, by name only; none is opened."""
    found: list[str] = []
    for parent in PARENTS:
        place = person / parent
        for folder in (place, *_folders(place)):
            if len(found) < MOST and _has_pictures(folder):
                found.append(str(folder))
    return found


def _folders(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as entries:
            named = [entry for entry, _ in zip(entries, range(MOST_ENTRIES), strict=False)]
            return sorted(Path(entry.path) for entry in named if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []


def _has_pictures(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(
                entry.name.lower().endswith(SUFFIXES) for entry, _ in zip(entries, range(MOST_ENTRIES), strict=False)
            )
    except OSError:
        return False
