"""Reads a person's photos: opened read-only, cropped to a square, stripped of everything but pixels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from common.errors import PhotoError

FORMATS = ("JPEG", "PNG", "WEBP")
"""Formats that Pillow may try, HEIC apart: fewer decoders are fewer ways in for a hostile file."""

MAX_BYTES = 200 * 2**20
"""Above this a file is not read at all."""

MAX_PIXELS = 80_000_000
"""Above this a picture is not decoded: about 320 MB as RGBA. Below the limit at which Pillow itself refuses."""

SMALLEST_SHARE = 4
"""A photo's shorter side is at least a fourth of what the backbone wants; smaller ones are mostly blur."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF 2.32, tag 0x0112: what turns a stored picture upright."""


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """One usable photo: ``pixels`` is uint8 RGB of shape (size, size, 3)."""

    name: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Refusal:
    """One file that was skipped, and why, in words for the person whose file it is."""

    name: str
    reason: str


def load_photos(where: Path | Sequence[Path], size: int) -> tuple[list[Photo], list[Refusal]]:
    """Load every photo of a folder, or the files named, as squares of ``size`` pixels.

    A folder is read in the order of its names, without its subfolders and hidden files. Whatever cannot be
    used is returned as a `Refusal`; one bad file never stops the others.

    Raises:
        PhotoError: the folder, or a file that was named, does not exist, or nothing usable is left.
    """
    photos, refusals = [], []
    for file in _files(where):
        try:
            photos.append(Photo(file.name, load_photo(file, size)))
        except PhotoError as error:
            refusals.append(Refusal(file.name, str(error)))
    if not photos:
        told = "; ".join(f"{r.name}: {r.reason}" for r in refusals) or "there are no files"
        raise PhotoError(f"no usable photo ({told}): JPEG, PNG, WebP and HEIC are read")
    return photos, refusals


def load_photo(file: Path, size: int) -> NDArray[np.uint8]:
    """Return one photo upright, on white, cropped to its central square: uint8, shape (size, size, 3).

    Raises:
        PhotoError: the file cannot be used; the message says why, without the file's name.
    """
    if not file.is_file():
        raise PhotoError("not an ordinary file")
    length = file.stat().st_size
    if length == 0:
        raise PhotoError("the file is empty")
    if length > MAX_BYTES:
        raise PhotoError(f"{length / 2**20:.0f} MB is too large, {MAX_BYTES // 2**20} MB is the limit")
    try:
        with file.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs (our own limit is lower) and of damaged EXIF
            return _decode(stream, size)
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        raise PhotoError("not a JPEG, PNG, WebP or HEIC picture") from error
    except Image.DecompressionBombError as error:
        raise PhotoError(f"more pixels than {MAX_PIXELS // 10**6} million") from error
    except Exception as error:  # decoders raise whatever they like on damaged bytes
        raise PhotoError(f"damaged ({type(error).__name__})") from error


def stack(photos: Sequence[Photo]) -> NDArray[np.uint8]:
    """Return all pixels as one array of shape (photos, size, size, 3)."""
    return np.stack([photo.pixels for photo in photos])


def _files(where: Path | Sequence[Path]) -> list[Path]:
    given = [where] if isinstance(where, Path) else list(where)
    files: list[Path] = []
    for path in given:
        if path.is_dir():
            files += sorted(f for f in path.iterdir() if not f.name.startswith(".") and not f.is_dir())
        elif path.exists():
            files.append(path)
        else:
            raise PhotoError(f"{path} does not exist: name a folder of photos, or photos")
    return files


def _decode(stream: BinaryIO, size: int) -> NDArray[np.uint8]:
    if pillow_heif.is_supported(stream):
        heif: Any = pillow_heif.open_heif(stream)
        _check_size(heif.size, size)
        return _square(heif.to_pillow(), size)  # libheif has turned it already
    stream.seek(0)
    with Image.open(stream, formats=FORMATS) as picture:
        _check_size(picture.size, size)
        turn = _turn(picture)
        picture.draft(None, (2 * size, 2 * size))  # a JPEG is decoded no larger than needed
        square = _square(picture, size)
    return square if turn is None else np.asarray(Image.fromarray(square).transpose(turn))


def _check_size(found: tuple[int, int], size: int) -> None:
    width, height = found
    if width * height > MAX_PIXELS:
        raise PhotoError(f"{width} x {height} pixels are more than {MAX_PIXELS // 10**6} million")
    if min(found) * SMALLEST_SHARE < size:
        raise PhotoError(f"{width} x {height} pixels are too few, {-(-size // SMALLEST_SHARE)} a side are needed")


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """Return what turns the picture upright; one with damaged EXIF is taken as it is stored."""
    try:
        return TURNS.get(picture.getexif().get(0x0112, 1))
    except Exception:  # noqa: BLE001 - EXIF parsers raise whatever they like, and the pixels are still good
        return None


def _square(picture: Image.Image, size: int) -> NDArray[np.uint8]:
    """Crop to the central square, scale, lay on white; only pixels survive."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    small = _eight_bits(picture.crop((left, top, left + side, top + side))).resize(
        (size, size), Image.Resampling.LANCZOS, reducing_gap=3.0
    )
    canvas = Image.new("RGBA", (size, size), "white")
    canvas.alpha_composite(small)
    return np.asarray(canvas.convert("RGB"))


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return any mode as RGBA; Pillow would cut 16-bit grey off at white instead of scaling it."""
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture, np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if picture.mode in {"CMYK", "YCbCr", "LAB", "HSV"}:
        picture = picture.convert("RGB")
    return picture.convert("RGBA")
