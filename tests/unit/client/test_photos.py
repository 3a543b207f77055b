from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from client.photos import load_photo, load_photos, stack
from common.errors import PhotoError

SIZE = 32


@pytest.fixture
def scene():
    """A wide picture: left half red, right half blue, a green bar on top."""
    pixels = np.zeros((60, 100, 3), np.uint8)
    pixels[:, :50], pixels[:, 50:] = (220, 20, 20), (20, 20, 220)
    pixels[:12] = (20, 200, 20)
    return Image.fromarray(pixels)


def looks_like(found, wanted, tolerance=24):
    return float(np.abs(found.astype(float) - wanted.astype(float)).mean()) < tolerance


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "heic"])
def test_every_format_becomes_the_same_square(tmp_path, scene, suffix):
    if suffix == "heic":
        pillow_heif.from_pillow(scene).save(tmp_path / "a.heic", quality=90)
    else:
        scene.save(tmp_path / f"a.{suffix}", quality=95)
    found = load_photo(tmp_path / f"a.{suffix}", SIZE)
    wanted = np.asarray(scene.crop((20, 0, 80, 60)).resize((SIZE, SIZE), Image.Resampling.LANCZOS))
    assert found.shape == (SIZE, SIZE, 3)
    assert found.dtype == np.uint8
    assert looks_like(found, wanted, 8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_exif_orientation_is_undone(tmp_path, scene, orientation, suffix):
    stored_as = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = scene if stored_as is None else scene.transpose(stored_as)
    stored.save(tmp_path / f"turned.{suffix}", exif=exif, quality=95)
    scene.save(tmp_path / "upright.png")
    assert looks_like(load_photo(tmp_path / f"turned.{suffix}", SIZE), load_photo(tmp_path / "upright.png", SIZE), 8)


def test_a_heic_photo_that_was_held_sideways_stands_upright(tmp_path, scene):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = scene.transpose(Image.Transpose.ROTATE_90)
    pillow_heif.encode("RGB", turned.size, turned.tobytes(), tmp_path / "a.heic", quality=90, exif=exif.tobytes())
    scene.save(tmp_path / "upright.png")
    assert looks_like(load_photo(tmp_path / "a.heic", SIZE), load_photo(tmp_path / "upright.png", SIZE), 8)


def test_what_is_transparent_lies_on_white(tmp_path):
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[16:48, 16:48] = (200, 0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = load_photo(tmp_path / "a.png", SIZE)
    assert (found[0, 0] == 255).all()
    assert looks_like(found[SIZE // 2, SIZE // 2], np.array([200, 0, 0]), 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16"])
def test_unusual_modes_keep_their_brightness(tmp_path, mode):
    grey = Image.new("L", (64, 64), 255 if mode == "1" else 128)
    name = "a.jpg" if mode == "CMYK" else "a.png"
    if mode == "I;16":
        Image.fromarray(np.full((64, 64), 128 * 256, np.uint16)).save(tmp_path / name)
    else:
        grey.convert(mode).save(tmp_path / name)
    assert abs(int(load_photo(tmp_path / name, SIZE)[9, 9, 1]) - grey.getpixel((9, 9))) <= 3


def png_that_claims(width, height):
    """A PNG whose header promises more pixels than anyone should decode."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_bad_files_are_named_with_their_reason_and_skipped(tmp_path, scene):
    scene.save(tmp_path / "good.jpg")
    scene.save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "whole.png").unlink()
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("this is no picture")
    (tmp_path / "bomb.png").write_bytes(png_that_claims(12_000, 12_000))
    (tmp_path / "huge-bomb.png").write_bytes(png_that_claims(100_000, 100_000))
    (tmp_path / "damaged.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(64))
    Image.new("RGB", (5, 5)).save(tmp_path / "tiny.png")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / ".hidden.jpg").write_text("not looked at")
    photos, refusals = load_photos(tmp_path, SIZE)
    reasons = {r.name: r.reason for r in refusals}
    assert [p.name for p in photos] == ["good.jpg"]
    assert set(reasons) == {
        "bomb.png", "cut.png", "damaged.heic", "empty.jpg", "huge-bomb.png", "pipe.jpg", "text.jpg", "tiny.png",
    }  # fmt: skip
    assert reasons["pipe.jpg"] == "not an ordinary file"
    assert reasons["empty.jpg"] == "the file is empty"
    assert "80 million" in reasons["bomb.png"]
    assert "80 million" in reasons["huge-bomb.png"]
    assert "too few" in reasons["tiny.png"]
    assert "damaged" in reasons["cut.png"]
    assert "not a JPEG" in reasons["text.jpg"]


def test_a_file_of_too_many_bytes_is_not_read(tmp_path, scene, monkeypatch):
    scene.save(tmp_path / "a.png")
    monkeypatch.setattr("client.photos.MAX_BYTES", 10)
    with pytest.raises(PhotoError, match="too large"):
        load_photo(tmp_path / "a.png", SIZE)


def test_formats_beyond_the_four_are_never_decoded(tmp_path, scene):
    scene.save(tmp_path / "a.tiff")
    scene.save(tmp_path / "disguised.png", format="BMP")
    with pytest.raises(PhotoError, match=r"a\.tiff.*disguised\.png"):
        load_photos(tmp_path, SIZE)


def test_damaged_exif_costs_no_photo(tmp_path, scene):
    scene.save(tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff" + bytes(9))
    assert load_photo(tmp_path / "a.jpg", SIZE).shape == (SIZE, SIZE, 3)


def test_originals_stay_byte_identical_and_may_be_read_only(tmp_path, scene):
    for name in ("a.jpg", "b.png", "c.webp"):
        scene.save(tmp_path / name)
        (tmp_path / name).chmod(0o400)
    before = {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in tmp_path.iterdir()}
    photos, _ = load_photos(tmp_path, SIZE)
    assert stack(photos).shape == (3, SIZE, SIZE, 3)
    assert {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in tmp_path.iterdir()} == before


def test_files_can_be_named_one_by_one(tmp_path, scene):
    scene.save(tmp_path / "b.png")
    scene.save(tmp_path / "a.png")
    photos, refusals = load_photos([tmp_path / "b.png", tmp_path / "a.png"], SIZE)
    assert [p.name for p in photos] == ["b.png", "a.png"]
    assert refusals == []


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_nothing_to_learn_from_is_an_error_that_says_what_to_do(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PhotoError, match=r"name a folder|are read"):
        load_photos(tmp_path / name, SIZE)
