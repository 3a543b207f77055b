"""Turns one file into an upright square of pixels, whatever the file tries."""

from __future__ import annotations

import errno
import stat
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import jpeg_factory

from client.photos.colours import small_square
from client.photos.jpeg import START, streams
from common.errors import PhotoError

FORMATS = ("PNG", "WEBP")
"""Formats that Pillow may try, JPEG and HEIC apart: fewer decoders are fewer ways in for a hostile file."""

MAX_BYTES = 200 * 2**20
"""Above this a file is not read at all."""

MAX_MEGAPIXELS = {"PNG": 100, "JPEG": 80, "HEIC": 60, "WEBP": 40}
"""Above this a picture is not decoded: all that its decoder holds stays within two thirds of a gigabyte. Measured,
bytes a pixel: PNG 5, progressive JPEG 6 (8 in CMYK), HEIC 11, WebP 16."""

MAX_STREAMED_MEGAPIXELS = 256
"""The same for a JPEG that is read line by line at an eighth of its size: all cameras' and phones' largest pictures."""

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


def load_photo(file: Path, size: int) -> NDArray[np.uint8]:
    """Return one photo upright, in sRGB, on white, cropped to its central square: uint8, shape (size, size, 3).

    Of an animation, a burst or a stereo pair this is the first picture.

    Raises:
        PhotoError: the file cannot be used; the message says why, without the file's name.
    """
    try:
        _check_file(file)
        with file.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs (our own limits are lower) and of damaged EXIF
            return _decode(stream, size)
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        raise PhotoError("not a JPEG, PNG, WebP or HEIC picture") from error
    except Image.DecompressionBombError as error:
        raise PhotoError(f"more pixels than {MAX_MEGAPIXELS['PNG']} million") from error
    except MemoryError as error:
        raise PhotoError("it needs more memory than there is") from error
    except OSError as error:
        raise PhotoError(fault(file, error)) from error
    except Exception as error:  # decoders raise whatever they like on damaged bytes
        raise PhotoError(f"cut short or damaged ({type(error).__name__})") from error


def fault(path: Path, error: OSError) -> str:
    """Say why the system, or with no error number a decoder, did not read a file or a folder."""
    if error.errno is None:
        return "cut short or damaged"
    if error.errno == errno.ENOENT and path.is_symlink():
        return "a link that leads nowhere"
    known = {errno.ELOOP: "a link that leads back to itself", errno.EACCES: "there is no permission to read it"}
    return known.get(error.errno, f"it cannot be read ({error.strerror})")


def _check_file(file: Path) -> None:
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise PhotoError("not an ordinary file")
    if found.st_size == 0:
        raise PhotoError("the file is empty")
    if found.st_size > MAX_BYTES:
        raise PhotoError(f"{found.st_size / 2**20:.0f} MB is too large, {MAX_BYTES // 2**20} MB is the limit")


def _decode(stream: BinaryIO, size: int) -> NDArray[np.uint8]:
    if pillow_heif.is_supported(stream):
        heif: Any = pillow_heif.open_heif(stream)
        _check_size(heif.size, size, MAX_MEGAPIXELS["HEIC"])
        return small_square(heif.to_pillow(), size, heif.info.get("icc_profile"))  # libheif has turned it already
    streamed = streams(stream)
    with _opened(stream) as picture:
        whole = MAX_MEGAPIXELS.get(picture.format or "", MAX_MEGAPIXELS["JPEG"])  # a stereo JPEG calls itself MPO
        _check_size(picture.size, size, MAX_STREAMED_MEGAPIXELS if streamed else whole)
        turn, profile = _turn(picture), picture.info.get("icc_profile")
        picture.draft(None, (2 * size, 2 * size))  # a JPEG is decoded no larger than needed
        _check_size(picture.size, size, whole)
        square = small_square(picture, size, profile)
    return square if turn is None else np.asarray(Image.fromarray(square).transpose(turn))


def _opened(stream: BinaryIO) -> Image.Image:
    """Open a picture by its first bytes; a JPEG past Pillow's limit, which knows nothing of decoding smaller."""
    stream.seek(0)
    start = stream.read(len(START))
    stream.seek(0)
    return jpeg_factory(stream) if start == START else Image.open(stream, formats=FORMATS)


def _check_size(found: tuple[int, int], size: int, megapixels: int) -> None:
    width, height = found
    if width * height > megapixels * 10**6:
        raise PhotoError(f"{width} x {height} pixels are more than {megapixels} million")
    if min(found) * SMALLEST_SHARE < size:
        raise PhotoError(f"{width} x {height} pixels are too few, {-(-size // SMALLEST_SHARE)} a side are needed")


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """Return what turns the picture upright; one with damaged EXIF is taken as it is stored."""
    try:
        return TURNS.get(picture.getexif().get(0x0112, 1))
    except Exception:  # noqa: BLE001 - EXIF parsers raise whatever they like, and the pixels are still good
        return None
