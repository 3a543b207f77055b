"""Pictures and colour profiles that no camera and every attacker makes: small, and made anew for each test."""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLORANTS = {"red": (0.4360, 0.2225, 0.0139), "green": (0.3851, 0.7169, 0.0971), "blue": (0.1431, 0.0606, 0.7141)}
"""XYZ of sRGB's primaries, adapted to D50 (IEC 61966-2-1)."""
D50 = (0.9642, 1.0, 0.8249)


@pytest.fixture
def scene():
    """A wide picture: left half red, right half blue, a green bar on top."""
    pixels = np.zeros((60, 100, 3), np.uint8)
    pixels[:, :50], pixels[:, 50:] = (220, 20, 20), (20, 20, 220)
    pixels[:12] = (20, 200, 20)
    return Image.fromarray(pixels)


def fixed(*numbers):
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def xyz(*numbers):
    return b"XYZ " + bytes(4) + fixed(*numbers)


def gamma(exponent):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(exponent * 256)) + bytes(2)


def new_profile(space, connection, device, tags):
    """Write an ICC profile (ICC.1:2001-04) with nothing in it but what a colour engine needs."""
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(">4sI4s4s4s12s4s", bytes(4), 0x02100000, device, space, connection, bytes(12), b"acsp")
    header = (struct.pack(">I", start + len(body)) + header).ljust(68, b"\0") + fixed(*D50)
    return header.ljust(128, b"\0") + table + body


@pytest.fixture
def profile_with_red_and_green_swapped():
    tags = {b"rXYZ": "green", b"gXYZ": "red", b"bXYZ": "blue"}
    curves = {b"rTRC": gamma(2.2), b"gTRC": gamma(2.2), b"bTRC": gamma(2.2)}
    points = {name: xyz(*COLORANTS[colour]) for name, colour in tags.items()}
    return new_profile(b"RGB ", b"XYZ ", b"mntr", {b"wtpt": xyz(*D50), **points, **curves})


@pytest.fixture
def profile_of_linear_grey():
    return new_profile(b"GRAY", b"XYZ ", b"mntr", {b"wtpt": xyz(*D50), b"kTRC": gamma(1.0)})


@pytest.fixture
def profile_whose_cyan_ink_is_red():
    """A printing press: cyan looks red, black as it should, everything else like paper."""
    straight = bytes(range(256))
    paper, red, black = (255, 128, 128), (138, 208, 195), (0, 128, 128)  # L*, a*, b* as bytes
    nodes = b"".join(bytes(black if node & 1 else red if node & 8 else paper) for node in range(16))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return new_profile(b"CMYK", b"Lab ", b"prtr", {b"A2B0": table + 4 * straight + nodes + 3 * straight})


@pytest.fixture
def png_with():
    """Make a PNG of that size out of chunks, whatever they claim."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def make(width, height, *extra):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        rows = zlib.compress(bytes(min(height * (3 * width + 1), 10**5)))
        chunks = [(b"IHDR", header), *extra, (b"IDAT", rows), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)

    return make


@pytest.fixture
def claiming():
    """Change a JPEG so that its header promises another size."""

    def change(data, width, height):
        place = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2))
        return data[: place + 5] + struct.pack(">HH", height, width) + data[place + 9 :]

    return change


@pytest.fixture
def open_folder():
    """A folder that everybody may enter: pytest's own ones belong to whoever runs the tests."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def as_nobody():
    """Go on as a person whom permissions bind, even where root runs the tests."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)
