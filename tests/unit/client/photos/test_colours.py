from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from client.photos import load_photo
from client.photos.colours import small_square

SIZE = 32


def middle(file):
    return load_photo(file, SIZE)[SIZE // 2, SIZE // 2].astype(int)


def near(found, wanted, tolerance=6):
    return np.abs(found - np.array(wanted)).max() <= tolerance


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_colours_are_meant_as_the_profile_says(tmp_path, profile_with_red_and_green_swapped, suffix):
    picture = Image.new("RGB", (64, 64), (200, 0, 0))
    picture.save(tmp_path / f"a.{suffix}", icc_profile=profile_with_red_and_green_swapped, quality=100, lossless=True)
    assert near(middle(tmp_path / f"a.{suffix}"), (0, 200, 0))


def test_a_heic_photo_brings_its_profile_too(tmp_path, profile_with_red_and_green_swapped):
    import pillow_heif

    picture = Image.new("RGB", (64, 64), (200, 0, 0))
    pillow_heif.from_pillow(picture).save(
        tmp_path / "a.heic", quality=95, icc_profile=profile_with_red_and_green_swapped
    )
    assert near(middle(tmp_path / "a.heic"), (0, 200, 0), 10)


def test_a_palette_and_transparency_obey_the_profile(tmp_path, profile_with_red_and_green_swapped):
    picture = Image.new("RGBA", (64, 64), (200, 0, 0, 255))
    picture.paste((200, 0, 0, 0), (0, 0, 64, 16))
    picture.save(tmp_path / "a.png", icc_profile=profile_with_red_and_green_swapped)
    Image.new("RGB", (64, 64), (200, 0, 0)).convert("P").save(
        tmp_path / "p.png", icc_profile=profile_with_red_and_green_swapped
    )
    assert near(middle(tmp_path / "a.png"), (0, 200, 0))
    assert (load_photo(tmp_path / "a.png", SIZE)[0] == 255).all()
    assert near(middle(tmp_path / "p.png"), (0, 200, 0))


def test_grey_has_profiles_as_well(tmp_path, profile_of_linear_grey):
    Image.new("L", (64, 64), 128).save(tmp_path / "a.png", icc_profile=profile_of_linear_grey)
    assert near(middle(tmp_path / "a.png"), (188, 188, 188))


def test_grey_with_a_profile_of_colours_is_read_as_colours(tmp_path, profile_with_red_and_green_swapped):
    Image.new("L", (64, 64), 128).save(tmp_path / "a.png", icc_profile=profile_with_red_and_green_swapped)
    assert near(middle(tmp_path / "a.png"), (128, 128, 128))


def test_inks_look_as_their_press_prints_them(tmp_path, profile_whose_cyan_ink_is_red):
    cyan = Image.new("CMYK", (64, 64), (255, 0, 0, 0))
    cyan.save(tmp_path / "plain.jpg", quality=100)
    cyan.save(tmp_path / "press.jpg", quality=100, icc_profile=profile_whose_cyan_ink_is_red)
    assert near(middle(tmp_path / "plain.jpg"), (0, 255, 255))
    red, green, blue = middle(tmp_path / "press.jpg")
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("damage", ["cut", "noise", "of another space", "huge"])
def test_a_profile_that_cannot_be_used_costs_no_photo(
    tmp_path, profile_with_red_and_green_swapped, profile_whose_cyan_ink_is_red, damage
):
    profile = {
        "cut": profile_with_red_and_green_swapped[:140],
        "noise": bytes(range(256)),
        "of another space": profile_whose_cyan_ink_is_red,
        "huge": profile_with_red_and_green_swapped + bytes(5 * 2**20),
    }[damage]
    found = small_square(Image.new("RGB", (64, 64), (200, 0, 0)), SIZE, profile)
    assert near(found[9, 9].astype(int), (200, 0, 0), 0)


@pytest.mark.parametrize("shape", [(500, 700), (700, 331), (97, 97), (3000, 130)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK", "P"])
def test_working_in_bands_changes_next_to_nothing(shape, mode):
    """Against the plain way: crop the square, convert it whole, resample it at once."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    waves = [127 + 120 * np.sin(rows / (20 + 9 * i) + columns / (31 - 7 * i)) for i in range(3)]
    picture = Image.fromarray(np.stack(waves, -1).astype(np.uint8)).convert(mode)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    plain = (
        picture.crop((left, top, left + side, top + side)).convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    )
    assert np.abs(small_square(picture, SIZE, None).astype(int) - np.asarray(plain)).max() <= 6


def test_the_unseen_does_not_bleed_into_the_seen():
    pixels = np.zeros((640, 640, 4), np.uint8)
    pixels[..., 1] = 255  # green, and nobody sees it
    pixels[:, :320] = (255, 255, 255, 255)
    assert (small_square(Image.fromarray(pixels), SIZE, None) >= 254).all()
