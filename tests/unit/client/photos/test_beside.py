"""Captions and masks beside photos."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from client.photos import captions_of, load_photos, region_of
from common.errors import PhotoError

SIDE = 64


@pytest.fixture
def folder(tmp_path):
    for name in ("a rex on grass", "b rex indoors"):
        Image.new("RGB", (2 * SIDE, SIDE), "red").save(tmp_path / f"{name}.png")
    return tmp_path


def photos_of(folder):
    photos, refusals = load_photos(folder, SIDE)
    assert not refusals, "what lies beside a photo is no broken photo"
    return photos


def test_names_of_files_say_what_photos_show(folder):
    assert captions_of(photos_of(folder), "rex", "names") == ["a {} on grass", "b {} indoors"]


def test_captions_are_read_from_beside(folder):
    for number, file in enumerate(sorted(folder.glob("*.png"))):
        file.with_suffix(".txt").write_text(f"a <rex> number {number}\n")
    assert captions_of(photos_of(folder), "rex", "files") == ["a {} number 0", "a {} number 1"]


def test_a_missing_caption_is_named(folder):
    with pytest.raises(PhotoError, match=r"a rex on grass\.txt"):
        captions_of(photos_of(folder), "rex", "files")


@pytest.mark.parametrize("text", ["a dog on grass", "<rex> and <rex>", "trex on grass", "rex" + " very" * 200, ""])
def test_a_caption_names_the_concept_once(folder, text):
    for file in folder.glob("*.png"):
        file.with_suffix(".txt").write_text(text)
    with pytest.raises(PhotoError, match="must name rex once"):
        captions_of(photos_of(folder), "rex", "files")


def test_braces_of_a_caption_are_no_template(folder):
    for file in folder.glob("*.png"):
        file.with_suffix(".txt").write_text("a {} sign, <rex>")
    assert captions_of(photos_of(folder), "rex", "files")[0] == "a sign, {}"


def test_a_box_is_in_shares_of_the_square(folder):
    mask = region_of(photos_of(folder), "0.25,0,0.5,1", SIDE)
    assert mask.shape == (2, SIDE, SIDE)
    assert mask[0].mean() == pytest.approx(0.25)
    assert mask[0, :, 16:32].all()


@pytest.mark.parametrize("box", ["0.5,0,0.5,1", "0,0,2,1", "a,b,c,d", "0,1", "nan,0,1,1"])
def test_what_is_no_box_is_refused(folder, box):
    with pytest.raises(PhotoError, match="is no region"):
        region_of(photos_of(folder), box, SIDE)


def test_a_mask_is_cropped_as_its_photo_is(folder):
    for file in folder.glob("*.png"):
        white = np.zeros((SIDE, 2 * SIDE), np.uint8)
        white[:, SIDE:] = 255
        Image.fromarray(white).save(file.with_name(file.stem + ".mask.png"))
    photos = photos_of(folder)
    assert len(photos) == 2, "a mask was taken for a photo"
    mask = region_of(photos, "masks", SIDE)
    assert mask[0, :, : SIDE // 2 - 2].max() < 0.05
    assert mask[0, :, SIDE // 2 + 2 :].min() > 0.95


def test_a_missing_or_black_mask_is_named(folder):
    with pytest.raises(PhotoError, match="paint one"):
        region_of(photos_of(folder), "masks", SIDE)
    for file in folder.glob("*.png"):
        Image.new("L", (2 * SIDE, SIDE), 0).save(file.with_name(file.stem + ".mask.png"))
    with pytest.raises(PhotoError, match="black all over"):
        region_of(photos_of(folder), "masks", SIDE)
