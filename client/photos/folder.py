"""Finds the photos that a person points at, and names the files that are none."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.photos.beside import photos_among
from client.photos.decoding import fault, load_photo
from client.photos.names import printable
from common.errors import PhotoError

MAX_PHOTOS = 200
"""More photos teach no more of one concept, and at 512 pixels these take 160 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """One usable photo: ``pixels`` is uint8 RGB of shape (size, size, 3)."""

    name: str
    """The file's name as it can be shown."""
    pixels: NDArray[np.uint8]
    file: Path
    """Where it is: a caption or a mask may lie beside it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One file that was skipped, and why, in words for the person whose file it is."""

    name: str
    """The file's name as it can be shown."""
    reason: str


def load_photos(where: Path | Sequence[Path], size: int) -> tuple[list[Photo], list[Refusal]]:
    """Load every photo of a folder, or the files named, as squares of ``size`` pixels.

    A folder is read in the order of its names, without hidden files; captions and masks belong to their photos,
    and what lies in its subfolders is not looked at.
    Whatever cannot be used is returned as a `Refusal`; one bad file never stops the others.

    Raises:
        PhotoError: the folder, or a file that was named, does not exist, or nothing usable is left.
    """
    files, refusals = listed([where] if isinstance(where, Path) else where)
    photos: list[Photo] = []
    for number, file in enumerate(files):
        if len(photos) == MAX_PHOTOS:
            refusals.append(Refusal(f"{len(files) - number} more", f"{MAX_PHOTOS} photos are enough for one concept"))
            break
        try:
            photos.append(Photo(printable(file.name), load_photo(file, size), file))
        except PhotoError as error:
            refusals.append(Refusal(printable(file.name), str(error)))
    if not photos:
        raise _nothing(refusals)
    return photos, refusals


def stack(photos: Sequence[Photo]) -> NDArray[np.uint8]:
    """Return all pixels as one array of shape (photos, size, size, 3)."""
    return np.stack([photo.pixels for photo in photos])


def listed(given: Sequence[Path]) -> tuple[list[Path], list[Refusal]]:
    """Return the files named and those in the folders named, none of them opened yet.

    Raises:
        PhotoError: a folder or a file that was named does not exist, or there are no files.
    """
    files: list[Path] = []
    refusals: list[Refusal] = []
    for path in given:
        try:
            if not stat.S_ISDIR(path.stat().st_mode):
                files.append(path)
                continue
            shown = (entry for entry in path.iterdir() if not entry.name.startswith("."))
            inside = photos_among(shown)
        except FileNotFoundError as error:
            told = printable(str(path))
            raise PhotoError(f"{told} does not exist: name a folder of photos, or photos") from error
        except OSError as error:
            refusals.append(Refusal(printable(path.name), fault(path, error)))
            continue
        for entry in inside:
            if _is_folder(entry):
                refusals.append(Refusal(printable(entry.name), "a folder: name it too if its photos are meant"))
            else:
                files.append(entry)
    if not files:
        raise _nothing(refusals)
    return files, refusals


def _nothing(refusals: Sequence[Refusal]) -> PhotoError:
    told = "; ".join(f"{r.name}: {r.reason}" for r in refusals) or "there are no files"
    return PhotoError(f"no usable photo ({told}): JPEG, PNG, WebP and HEIC are read")


def _is_folder(path: Path) -> bool:
    """Return whether it is a folder or a link to one; what cannot be asked is told of when it is opened."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False
