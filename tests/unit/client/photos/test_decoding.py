from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from client.photos import load_photo
from common.errors import PhotoError

SIZE = 32


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


def reason(file, size=SIZE):
    with pytest.raises(PhotoError) as refused:
        load_photo(file, size)
    return str(refused.value)


def test_sixteen_bits_a_channel_are_scaled_not_cut(tmp_path):
    rows = (b"\x00" + b"\x80\x00\x40\x00\xc0\x00" * 64) * 64
    header = struct.pack(">IIBBBBB", 64, 64, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"".join(struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    assert np.abs(load_photo(tmp_path / "a.png", SIZE)[9, 9].astype(int) - (128, 64, 192)).max() <= 1


def test_a_colour_that_is_declared_transparent_is(tmp_path):
    Image.new("RGB", (64, 64), (9, 9, 9)).save(tmp_path / "a.png", transparency=(9, 9, 9))
    assert (load_photo(tmp_path / "a.png", SIZE) == 255).all()


@pytest.mark.parametrize("suffix", ["png", "webp", "mpo"])
def test_of_an_animation_or_a_stereo_pair_the_first_picture_counts(tmp_path, scene, suffix):
    black = Image.new("RGB", scene.size)
    file = tmp_path / f"a.{suffix}"
    scene.save(file, save_all=True, append_images=[black, black], quality=95)
    file = file.rename(tmp_path / "a.jpg") if suffix == "mpo" else file
    scene.save(tmp_path / "still.png")
    assert looks_like(load_photo(file, SIZE), load_photo(tmp_path / "still.png", SIZE), 8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "heic"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_a_file_that_was_cut_short_says_so(tmp_path, suffix, share):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    file = tmp_path / f"a.{suffix}"
    pillow_heif.from_pillow(noise).save(file) if suffix == "heic" else noise.save(file)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert reason(file).startswith(("cut short or damaged", "not a JPEG, PNG, WebP or HEIC"))


def test_what_is_no_picture_says_so(tmp_path):
    (tmp_path / "text.jpg").write_text("this is no picture")
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    Image.new("RGB", (5, 5)).save(tmp_path / "tiny.png")
    assert reason(tmp_path / "text.jpg") == "not a JPEG, PNG, WebP or HEIC picture"
    assert reason(tmp_path / "empty.jpg") == "the file is empty"
    assert reason(tmp_path / "pipe.jpg") == "not an ordinary file"
    assert reason(tmp_path / "tiny.png") == "5 x 5 pixels are too few, 8 a side are needed"


@pytest.mark.parametrize("layout", ["BMP", "TIFF", "GIF", "PPM", "ICO"])
def test_formats_beyond_the_four_are_never_decoded(tmp_path, scene, layout):
    scene.save(tmp_path / "disguised.png", format=layout)
    assert reason(tmp_path / "disguised.png") == "not a JPEG, PNG, WebP or HEIC picture"


def test_a_bomb_is_refused_by_its_header(tmp_path, scene, png_with, claiming):
    scene.save(tmp_path / "whole.jpg")
    scene.save(tmp_path / "progressive.jpg", progressive=True)
    bombs = {
        "12000 x 12000 pixels are more than 100 million": png_with(12_000, 12_000),
        "more pixels than 100 million": png_with(100_000, 100_000),
        "256 million": claiming((tmp_path / "whole.jpg").read_bytes(), 40_000, 40_000),
        "80 million": claiming((tmp_path / "progressive.jpg").read_bytes(), 12_000, 9_000),
    }
    for told, data in bombs.items():
        (tmp_path / "bomb").write_bytes(data)
        assert told in reason(tmp_path / "bomb")


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_a_bomb_in_the_small_print_does_not_go_off(tmp_path, png_with, kind):
    packed = b"name\0\0" + zlib.compress(bytes(50 * 2**20))
    (tmp_path / "a.png").write_bytes(png_with(64, 64, (kind, packed)))
    assert reason(tmp_path / "a.png").startswith("cut short or damaged")


MEASURE = """
import sys, pathlib
from client.photos import load_photo
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
load_photo(pathlib.Path(sys.argv[1]), 64)
print((peak() - before) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_a_photo_of_a_hundred_megapixels_is_read_with_little_memory(tmp_path):
    Image.new("L", (12_000, 9_000), 77).save(tmp_path / "huge.jpg")
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "huge.jpg")]
    megabytes = float(subprocess.run(command, capture_output=True, check=True, cwd=Path(__file__).parents[4]).stdout)
    assert megabytes < 32  # the picture itself would be 108
    assert (load_photo(tmp_path / "huge.jpg", 64) == 77).all()


def test_a_file_of_too_many_bytes_is_not_read(tmp_path, scene, monkeypatch):
    scene.save(tmp_path / "a.png")
    monkeypatch.setattr("client.photos.decoding.MAX_BYTES", 10)
    assert "too large" in reason(tmp_path / "a.png")


def test_running_out_of_memory_is_no_damage(tmp_path, scene, monkeypatch):
    def too_much(*_):
        raise MemoryError

    scene.save(tmp_path / "a.png")
    monkeypatch.setattr("client.photos.decoding.small_square", too_much)
    assert "memory" in reason(tmp_path / "a.png")


def test_damaged_exif_costs_no_photo(tmp_path, scene):
    scene.save(tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff" + bytes(9))
    assert load_photo(tmp_path / "a.jpg", SIZE).shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_random_damage_is_refused_or_survived_never_raised(tmp_path, scene, suffix):
    scene.save(tmp_path / f"a.{suffix}")
    whole = (tmp_path / f"a.{suffix}").read_bytes()
    rng = np.random.default_rng(4)
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 4):
            data[place] = rng.integers(0, 256)
        (tmp_path / "b").write_bytes(bytes(data))
        with contextlib.suppress(PhotoError):
            assert load_photo(tmp_path / "b", SIZE).shape == (SIZE, SIZE, 3)
