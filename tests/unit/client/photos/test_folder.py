from __future__ import annotations

import hashlib
import os
import sys

import numpy as np
import pytest
from PIL import Image

from client.photos import load_photos, stack
from common.errors import PhotoError

SIZE = 32


def told(refusals):
    return {refusal.name: refusal.reason for refusal in refusals}


def test_bad_files_are_named_with_their_reason_and_skipped(tmp_path, scene, png_with):
    scene.save(tmp_path / "good.jpg")
    scene.save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "whole.png").unlink()
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.txt").write_text("this is no picture")
    (tmp_path / "bomb.png").write_bytes(png_with(100_000, 100_000))
    (tmp_path / "damaged.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(64))
    Image.new("RGB", (5, 5)).save(tmp_path / "tiny.png")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "holiday").mkdir()
    (tmp_path / ".hidden.jpg").write_text("not looked at")
    photos, refusals = load_photos(tmp_path, SIZE)
    reasons = told(refusals)
    assert [p.name for p in photos] == ["good.jpg"]
    assert reasons.pop("cut.png").startswith("cut short or damaged")
    assert reasons.pop("damaged.heic").startswith("cut short or damaged")
    assert reasons == {
        "bomb.png": "more pixels than 100 million",
        "empty.jpg": "the file is empty",
        "holiday": "a folder: name it too if its photos are meant",
        "notes.txt": "not a JPEG, PNG, WebP or HEIC picture",
        "pipe.jpg": "not an ordinary file",
        "tiny.png": "5 x 5 pixels are too few, 8 a side are needed",
    }


def test_links_are_followed_and_those_that_lead_nowhere_are_named(tmp_path, scene):
    (tmp_path / "photos").mkdir()
    scene.save(tmp_path / "elsewhere.jpg")
    for name, target in {
        "linked.jpg": tmp_path / "elsewhere.jpg",
        "lost.jpg": tmp_path / "nowhere.jpg",
        "loop.jpg": "loop.jpg",
        "a.jpg": "b.jpg",
        "b.jpg": "a.jpg",
        "self": ".",
        "up": tmp_path,
    }.items():
        (tmp_path / "photos" / name).symlink_to(target)
    photos, refusals = load_photos(tmp_path / "photos", SIZE)
    loop, folder = "a link that leads back to itself", "a folder: name it too if its photos are meant"
    assert [p.name for p in photos] == ["linked.jpg"]
    assert told(refusals) == {
        "lost.jpg": "a link that leads nowhere",
        "loop.jpg": loop, "a.jpg": loop, "b.jpg": loop, "self": folder, "up": folder,
    }  # fmt: skip


def test_a_folder_that_links_to_itself_is_named(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(PhotoError, match="loop: a link that leads back to itself"):
        load_photos(tmp_path / "loop", SIZE)


def test_what_one_may_not_read_is_named(open_folder, scene, as_nobody_made, as_nobody):
    photos, refusals = load_photos([open_folder / "mixed", open_folder / "shut", open_folder / "listed-only"], SIZE)
    denied = "there is no permission to read it"
    assert [p.name for p in photos] == ["good.png"]
    assert told(refusals) == {"locked.png": denied, "shut": denied, "inside.png": denied}


@pytest.fixture
def as_nobody_made(open_folder, scene):
    """Folders of another person's; made before `as_nobody` gives up the right to."""
    for name, photo in {"mixed": "good.png", "shut": "inside.png", "listed-only": "inside.png"}.items():
        (open_folder / name).mkdir()
        scene.save(open_folder / name / photo)
    scene.save(open_folder / "mixed" / "locked.png")
    (open_folder / "mixed" / "locked.png").chmod(0)
    (open_folder / "shut").chmod(0)
    (open_folder / "listed-only").chmod(0o444)
    yield
    for name in ("shut", "listed-only"):
        (open_folder / name).chmod(0o755)


def test_a_disk_that_fails_is_no_damaged_photo(tmp_path, scene, monkeypatch):
    scene.save(tmp_path / "a.png")
    scene.save(tmp_path / "b.png")
    opened = type(tmp_path).open

    def fail(self, *arguments, **options):
        if self.name == "a.png":
            raise OSError(5, "Input/output error")
        return opened(self, *arguments, **options)

    monkeypatch.setattr(type(tmp_path), "open", fail)
    assert told(load_photos(tmp_path, SIZE)[1]) == {"a.png": "it cannot be read (Input/output error)"}


@pytest.mark.parametrize("name", ["犬.png", "कुत्ता.png", "כלב.png", "e\u0301té.png", " .png", "a" * 251 + ".png"])
def test_names_in_any_script_are_read_and_told(tmp_path, scene, name):
    scene.save(tmp_path / name)
    assert [p.name for p in load_photos(tmp_path, SIZE)[0]] == [name]


def test_names_that_are_no_text_are_read_and_can_be_printed(tmp_path, scene):
    scene.save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
    (tmp_path / os.fsdecode(b"\xff\x1b[2J.png")).touch()
    photos, refusals = load_photos(tmp_path, SIZE)
    assert [p.name for p in photos] == [r"caf\xe9.png"]
    assert told(refusals) == {r"\xff\x1b[2J.png": "the file is empty"}
    with pytest.raises(PhotoError, match=r"\\xfe"):
        load_photos(tmp_path / os.fsdecode(b"\xfe"), SIZE)


@pytest.fixture
def watched():
    """What the system was asked of files during the test: (event, path, flags)."""
    seen, on = [], True

    def hook(event, arguments):
        if on and event in {"open", "os.rename", "os.remove", "os.chmod", "os.utime", "os.truncate", "os.link"}:
            seen.append((event, str(arguments[0]), arguments[2] if event == "open" else 0))

    sys.addaudithook(hook)
    yield seen
    on = False  # a hook stays for as long as the process lives


def test_originals_are_opened_read_only_and_stay_byte_identical(tmp_path, scene, png_with, watched):
    for name in ("a.jpg", "b.png", "c.webp"):
        scene.save(tmp_path / name)
        (tmp_path / name).chmod(0o400)
    (tmp_path / "bomb.png").write_bytes(png_with(12_000, 12_000))
    (tmp_path / "damaged.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:300])

    def state():
        files = sorted(tmp_path.iterdir())
        return {f: (hashlib.sha256(f.read_bytes()).hexdigest(), f.stat().st_mtime_ns, f.stat().st_mode) for f in files}

    before = state()
    watched.clear()
    photos, refusals = load_photos(tmp_path, SIZE)
    touched = [(event, flags) for event, path, flags in watched if path.startswith(str(tmp_path))]
    assert len(photos) == 3
    assert len(refusals) == 2
    assert len(touched) == 5
    assert all(event == "open" and flags & os.O_ACCMODE == os.O_RDONLY for event, flags in touched)
    assert state() == before


def test_nothing_but_pixels_survives(tmp_path, scene):
    exif = Image.Exif()
    exif[0x010F] = "Camera of mine"
    exif.get_ifd(0x8825)[29] = "2024:05:06"  # GPSDateStamp
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    scene.save(tmp_path / "a.jpg", exif=exif, comment=b"at home", quality=95)
    photos, _ = load_photos(tmp_path, SIZE)
    assert photos[0].__slots__ == ("name", "pixels", "file")
    assert type(photos[0].pixels) is np.ndarray
    assert photos[0].pixels.nbytes == SIZE * SIZE * 3


def test_more_photos_than_teach_anything_are_left_out(tmp_path, scene, monkeypatch):
    monkeypatch.setattr("client.photos.folder.MAX_PHOTOS", 2)
    for name in "abcde":
        scene.save(tmp_path / f"{name}.png")
    (tmp_path / "a.png").write_bytes(b"")
    photos, refusals = load_photos(tmp_path, SIZE)
    assert [p.name for p in photos] == ["b.png", "c.png"]
    assert told(refusals) == {"a.png": "the file is empty", "2 more": "2 photos are enough for one concept"}


def test_files_can_be_named_one_by_one(tmp_path, scene):
    scene.save(tmp_path / "b.png")
    scene.save(tmp_path / "a.png")
    photos, refusals = load_photos([tmp_path / "b.png", tmp_path / "a.png"], SIZE)
    assert [p.name for p in photos] == ["b.png", "a.png"]
    assert stack(photos).shape == (2, SIZE, SIZE, 3)
    assert refusals == []


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_nothing_to_learn_from_is_an_error_that_says_what_to_do(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PhotoError, match=r"name a folder|are read"):
        load_photos(tmp_path / name, SIZE)
