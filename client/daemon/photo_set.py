"""What lies in a watched folder, told apart by names, sizes and times: no photo is opened for it."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from client.settings import Watched
from common.errors import PhotoError


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoSet:
    """The photos of one concept, as they lie there now."""

    digest: str
    """SHA-256 over what they are to teach and each file's name, size and time of change."""
    count: int


def look(watched: Watched, model: str | None) -> PhotoSet:
    """Look into a watched folder; other photos, another class or another model make another set.

    Hidden files and folders are left out, as `client.photos.load_photos` leaves them out.

    Raises:
        PhotoError: the folder is gone or cannot be read.
    """
    digest, count = hashlib.sha256(f"{watched.kind}/{watched.class_word}/{model}\0".encode()), 0
    try:
        for file in sorted(entry for entry in watched.folder.iterdir() if not entry.name.startswith(".")):
            facts = _facts(file)
            if facts is not None and stat.S_ISREG(facts.st_mode):
                count += 1
                told = f"{facts.st_size}/{facts.st_mtime_ns}"
                digest.update(file.name.encode(errors="surrogateescape") + b"\0" + told.encode() + b"\0")
    except OSError as error:
        raise PhotoError(
            f"the folder of <{watched.name}> cannot be read ({error.strerror}): connect its disk, or "
            f"`shoal unwatch {watched.name}`"
        ) from error
    return PhotoSet(digest=digest.hexdigest(), count=count)


def _facts(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:  # a link in a circle, or deleted meanwhile
        return None
