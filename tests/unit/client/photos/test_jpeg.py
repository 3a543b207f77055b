from __future__ import annotations

import io

import pytest
from PIL import Image

from client.photos.jpeg import streams


def jpeg(mode="RGB", **options):
    buffer = io.BytesIO()
    Image.new(mode, (40, 24), 99).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data", [jpeg(), jpeg("L"), jpeg("CMYK"), jpeg(subsampling=0), jpeg(exif=b"Exif\0\0" + bytes(60_000))]
)
def test_what_cameras_write_is_decoded_line_by_line(data):
    assert streams(io.BytesIO(data))


def test_fill_bytes_before_a_marker_change_nothing():
    data = jpeg()
    place = data.index(b"\xff\xdb")
    assert streams(io.BytesIO(data[:place] + b"\xff\xff" + data[place:]))


def one_component_a_scan(data):
    place = data.index(b"\xff\xda")
    return data[: place + 4] + b"\x01" + data[place + 5 :]


@pytest.mark.parametrize(
    "data",
    [
        jpeg(progressive=True),
        one_component_a_scan(jpeg()),
        jpeg()[:30],
        jpeg()[:2],
        b"",
        b"\x89PNG",
        b"\xff\xd8" + b"\xff\xe0\x00\x02" * 10,
        b"\xff\xd8\xff\xc0\x00\x03\x08",
    ],
)
def test_whatever_else_it_is_it_needs_the_whole_picture_in_memory(data):
    assert not streams(io.BytesIO(data))


def test_a_header_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr("client.photos.jpeg.LONGEST_HEADER", 100)
    assert not streams(io.BytesIO(b"\xff\xd8" + b"\xff\xe0\x00\x02" * 100 + jpeg()[2:]))
