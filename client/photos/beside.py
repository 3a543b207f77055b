"""What lies beside a photo: a caption that the person wrote, and a mask of what to learn from.

rex.jpg    rex.txt           a <rex> on grass         --captions files
a rex on grass.jpg                                    --captions names
rex.jpg    rex.mask.png      white is learned from    --region masks
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from client.photos.decoding import load_photo
from client.photos.names import printable
from common.errors import PhotoError

if TYPE_CHECKING:
    from client.photos.folder import Photo

CAPTION, MASK = ".txt", ".mask.png"
"""Endings of what may lie beside a photo; neither is a photo itself."""

LONGEST_CAPTION = 500
"""Characters; a prompt of Stable Diffusion has 77 tokens."""

WHERE = "{}"
"""Where the concept stands, in a template."""


def photos_among(files: Iterable[Path]) -> list[Path]:
    """Return the files that are no caption and no mask of another one, by name."""
    found = sorted(files)
    names = {file.stem for file in found if _of(file) is None}
    return [file for file in found if _of(file) not in names]


def _of(file: Path) -> str | None:
    """Return the stem of the photo that a file would be a caption or a mask of, by its ending."""
    for ending in (CAPTION, MASK):
        if file.name.lower().endswith(ending):
            return file.name[: -len(ending)]
    return None


def captions_of(photos: Sequence[Photo], name: str, source: Literal["files", "names"]) -> list[str]:
    """Return each photo's caption as a template, the concept's name replaced.

    Raises:
        PhotoError: a caption is missing, too long, or does not name the concept exactly once.
    """
    return [_template(photo, name, source) for photo in photos]


def _template(photo: Photo, name: str, source: Literal["files", "names"]) -> str:
    if source == "files":
        place = photo.file.with_suffix(CAPTION)
        try:
            text = place.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise PhotoError(f"{photo.name} has no caption: write one into {printable(place.name)}") from error
    else:
        text = photo.file.stem
    found = re.split(rf"<{re.escape(name)}>|(?<![\w-]){re.escape(name)}(?![\w-])", text.replace(WHERE, " "))
    if len(found) != 2 or len(text) > LONGEST_CAPTION:
        raise PhotoError(f"the caption of {photo.name} must name {name} once, in {LONGEST_CAPTION} characters at most")
    return " ".join(WHERE.join(found).split())


def region_of(photos: Sequence[Photo], region: str, size: int) -> NDArray[np.float32]:
    """Return what to learn from, 0 to 1, shape (photos, size, size).

    Args:
        photos: with their files.
        region: ``masks``, or a box in shares of the square that a photo is cropped to: ``left,top,right,bottom``.
        size: side of the squares.

    Raises:
        PhotoError: there is no such box, or a mask is missing, black or cannot be read.
    """
    if region == "masks":
        return np.stack([_mask(photo, size) for photo in photos])
    mask = np.zeros((size, size), np.float32)
    left, top, right, bottom = (round(size * edge) for edge in _box(region))
    mask[top : max(bottom, top + 1), left : max(right, left + 1)] = 1
    return np.repeat(mask[None], len(photos), axis=0)


def _box(region: str) -> tuple[float, float, float, float]:
    try:
        left, top, right, bottom = (float(edge) for edge in region.split(","))
    except ValueError:
        left = top = right = bottom = -1.0
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise PhotoError(f"{region!r} is no region: give masks, or left,top,right,bottom in shares, as 0.2,0,0.8,1")
    return left, top, right, bottom


def _mask(photo: Photo, size: int) -> NDArray[np.float32]:
    place = photo.file.with_name(photo.file.stem + MASK)
    if not place.is_file():
        raise PhotoError(f"{photo.name} has no mask: paint one, white on black, as {printable(place.name)}")
    try:
        mask: NDArray[np.float32] = load_photo(place, size).astype(np.float32).mean(axis=2) / 255
    except PhotoError as error:
        raise PhotoError(f"the mask {printable(place.name)} cannot be used: {error}") from error
    if not mask.max() > 0:
        raise PhotoError(f"the mask {printable(place.name)} is black all over: white is what to learn from")
    return mask
