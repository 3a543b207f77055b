"""Makes the central square of any picture small, sRGB and opaque, with little memory beside the picture itself."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

BAND_ROWS = 256
"""Rows that are converted at once: a copy of a whole picture would double the memory."""

KEEP = 3
"""Averaging stops at this many times the wanted size, the rest is resampled: seen no difference from doing all of it
(Pillow's ``reducing_gap`` of 3)."""

LARGEST_PROFILE = 4 * 2**20
"""Bytes; profiles of printing presses, the largest, have one to three million."""

MODE_OF_SPACE = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}
"""Colour spaces of profiles (ICC.1:2010, table 19) and the mode of pictures that they speak of."""


def small_square(picture: Image.Image, size: int, profile: bytes | None) -> NDArray[np.uint8]:
    """Return the central square in sRGB, laid on white: uint8, shape (size, size, 3)."""
    side = min(picture.size)
    factor = max(1, side // (KEEP * size))
    reduced = _reduced(picture, side, factor)
    edge = side / factor
    small = reduced.resize((size, size), Image.Resampling.LANCZOS, box=(0, 0, edge, edge))
    if small.mode != "RGBa":
        return np.asarray(to_srgb(small, profile))
    small = small.convert("RGBA")
    canvas = Image.new("RGB", small.size, "white")
    canvas.paste(to_srgb(small.convert("RGB"), profile), mask=small.getchannel("A"))
    return np.asarray(canvas)


def to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Return a picture of mode L, RGB or CMYK in sRGB, for which it is taken if there is no usable profile."""
    if profile and len(profile) <= LARGEST_PROFILE:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            mode = MODE_OF_SPACE.get(source.profile.xcolor_space, "")
            if mode == "RGB" and picture.mode == "L":
                picture = picture.convert("RGB")
            if mode == picture.mode:
                converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
                return picture.convert("RGB") if converted is None else converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass  # a damaged profile costs a shade of colour, not the photo
    return picture.convert("RGB")


def _reduced(picture: Image.Image, side: int, factor: int) -> Image.Image:
    """Return the central square averaged over blocks of ``factor`` pixels, in a mode of 8 bits a channel."""
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    count = -(-side // factor)
    rows = factor * max(1, BAND_ROWS // factor)
    reduced: Image.Image | None = None
    for start in range(0, side, rows):
        end = min(start + rows, side)
        band = _eight_bits(picture.crop((left, top + start, left + side, top + end))).reduce(factor)
        reduced = reduced or Image.new(band.mode, (count, count))
        reduced.paste(band, (0, start // factor))
    if reduced is None:
        raise ValueError("a picture without pixels")
    return reduced


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return any mode as L, RGB, CMYK or, with transparency, RGBa (so that the unseen does not bleed in)."""
    if picture.mode.startswith("I"):  # 16-bit grey: Pillow would cut it off at white instead of scaling it
        return Image.fromarray((np.asarray(picture, np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if picture.mode in {"LA", "PA", "RGBA"} or "transparency" in picture.info:
        return picture.convert("RGBA").convert("RGBa")
    if picture.mode in {"L", "RGB", "CMYK"}:
        return picture
    return picture.convert("L" if picture.mode == "1" else "RGB")
