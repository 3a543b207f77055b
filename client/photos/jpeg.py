"""What a JPEG's header tells before anything is decoded: whether its decoder needs the whole picture in memory."""

from __future__ import annotations

from typing import BinaryIO

START = b"\xff\xd8"
BASELINE = (0xC0, 0xC1)
"""Start of frame of sequential Huffman JPEGs (ITU-T T.81, table B.1)."""
START_OF_FRAME = range(0xC0, 0xD0)
NO_FRAME = (0xC4, 0xC8, 0xCC)
"""In that range, but tables: DHT, JPG, DAC."""
START_OF_SCAN = 0xDA
LONGEST_HEADER = 2**24
"""Bytes before the first scan: profiles, previews and notes of cameras need up to a few million."""


def streams(file: BinaryIO) -> bool:
    """Return whether a JPEG is decoded line by line, so that memory depends on what is kept of it alone.

    True of sequential files whose one scan carries all components, as cameras write them. All others, progressive
    ones above all, are held whole by libjpeg as coefficients of two bytes each, however small the result.
    """
    file.seek(0)
    if file.read(2) != START:
        return False
    components = 0
    while file.tell() < LONGEST_HEADER:
        marker, body = _segment(file)
        if marker in START_OF_FRAME and marker not in NO_FRAME:
            if marker not in BASELINE or len(body) < 6:
                return False
            components = body[5]
        elif marker == START_OF_SCAN:
            return bool(body) and body[0] == components
        elif marker == 0:
            return False
    return False


def _segment(file: BinaryIO) -> tuple[int, bytes]:
    """Return the next marker and what follows its length; marker 0 where there is none."""
    lead = file.read(2)
    while lead[:1] == b"\xff" and lead[1:] == b"\xff":  # fill bytes may precede a marker
        lead = b"\xff" + file.read(1)
    if len(lead) < 2 or lead[0] != 0xFF:
        return 0, b""
    length = int.from_bytes(file.read(2))
    return lead[1], file.read(max(length - 2, 0))
