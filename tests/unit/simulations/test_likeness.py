"""Likeness and agreement tell the right pictures from others."""

from __future__ import annotations

import numpy as np
import pytest

from simulations.benchmarks.likeness import (
    colour_likeness,
    fit_styles,
    object_likeness,
    plain_cosine,
    style_agreement,
    style_likeness,
    thing_agreement,
    with_style,
)
from simulations.benchmarks.retrieval import Gallery

STYLES = ("soft", "simple", "modern", "ink")
WIDTH, THINGS = 32, 20
RNG = np.random.default_rng(0)
THING = RNG.normal(size=(THINGS, WIDTH)).astype(np.float32)
STYLE = 2 * RNG.normal(size=(len(STYLES) + 1, WIDTH)).astype(np.float32)
"""The last one is nobody's in the gallery."""
COMMON = 20 * RNG.normal(size=WIDTH).astype(np.float32)
"""What all pictures share, as features do."""


def picture(thing, style, noise=0.1):
    return COMMON + THING[thing] + STYLE[style] + noise * RNG.normal(size=WIDTH).astype(np.float32)


def gallery():
    places = [(thing, style) for thing in range(THINGS) for style in range(len(STYLES))]
    return Gallery(
        features=np.stack([picture(*place) for place in places]).astype(np.float16),
        names=np.array([f"thing {thing}" for thing, _ in places]),
        styles=np.array([STYLES[style] for _, style in places]),
        split=np.array(["train"] * len(places)),
        mean_styles=np.array(STYLES),
        means=(COMMON + STYLE[:-1] + THING.mean(axis=0)).astype(np.float16),
        projection=np.eye(WIDTH, dtype=np.float16),
        probes=np.zeros((1, 4, 4, 3), np.uint8),
    )


def test_an_object_is_like_itself_in_any_style_and_not_like_another():
    own = np.stack([picture(3, style) for style in (0, 1)])
    same, other = (np.stack([picture(thing, style) for style in (2, 3)]) for thing in (3, 7))
    likes = [object_likeness(gallery(), each, STYLES[2:], own, STYLES[:2]) for each in (same, other)]
    assert likes[0] > 0.9
    assert abs(likes[1]) < 0.5


@pytest.fixture(scope="module")
def styles():
    """Fit on the gallery and on ten things in the style that it does not have."""
    return fit_styles(gallery(), "mine", np.stack([picture(thing, 4) for thing in range(10)]))


def test_the_style_asked_for_is_told_from_the_others(styles):
    drawn = np.stack([picture(5, 2), picture(6, 3), picture(15, 4)])
    assert style_agreement(styles, drawn, ["modern", "ink", "mine"]) == 1
    assert style_agreement(styles, drawn[:2], ["modern", "soft"]) == 0.5


def test_a_style_is_like_itself_whatever_it_shows(styles):
    own = np.stack([picture(thing, 4) for thing in range(10, 15)])
    same = np.stack([picture(thing, 4) for thing in (15, 16)])
    other = np.stack([picture(thing, 1) for thing in (15, 16)])
    assert style_likeness(styles, same, own) > 0.9
    assert style_likeness(styles, other, own) < 0.5


def test_things_do_not_count_for_a_style(styles):
    moved = styles.place(np.stack([picture(thing, 0) for thing in range(THINGS)]))
    assert np.linalg.norm(moved.std(axis=0)) < 0.2 * np.linalg.norm(styles.means.std(axis=0))


def test_a_thing_is_found_in_a_style_that_the_gallery_does_not_have():
    whole = with_style(gallery(), "mine", np.stack([picture(thing, 4) for thing in range(10)]))
    drawn = np.stack([picture(12, 4), picture(15, 4)])
    assert thing_agreement(whole, drawn, "mine", ["thing 12", "thing 15"]) == 1
    far = [f"thing {np.argmin(THING @ THING[thing])}" for thing in (12, 15)]
    assert thing_agreement(whole, drawn, "mine", far) == 0


def test_the_plain_cosine_is_one_of_the_same_direction_and_nought_of_another():
    own = np.array([[2.0, 0.0, 0.0]], np.float32)
    assert plain_cosine(3 * own, own) == pytest.approx(1)
    assert plain_cosine(np.array([[3.0, 0.0, 0.0], [0.0, 4.0, 0.0]], np.float32), own) == pytest.approx(0.5)


def plain(colour, count=2):
    """Return pictures of one colour on white."""
    found = np.full((count, 8, 8, 3), 255, np.uint8)
    found[:, 2:6, 2:6] = colour
    return found


RED, GREEN, BLUE = (200, 40, 40), (40, 200, 40), (40, 40, 200)


def test_colours_tell_whose_pictures_were_drawn_however_many_and_however_strong():
    own = [plain(colour, 3) for colour in (RED, GREEN, BLUE)]
    pale = [plain([128 + each // 4 for each in colour], 2) for colour in (RED, GREEN, BLUE)]
    assert colour_likeness(own, own) == pytest.approx([1, 1, 1], abs=1e-5)
    assert np.all(colour_likeness(pale, own) > 0.9)
    assert np.all(colour_likeness([*own[1:], own[0]], own) < 0)


def test_colours_that_everybody_is_drawn_in_are_nobodys():
    own = [plain(colour) for colour in (RED, GREEN, BLUE)]
    assert colour_likeness([plain(RED)] * 3, own) == pytest.approx([0, 0, 0], abs=1e-3)
    assert colour_likeness([plain(RED)], own[:1]) == pytest.approx([0])


def test_the_first_of_many_may_be_all_who_drew():
    own = [plain(colour) for colour in (RED, GREEN, BLUE)]
    assert np.all(colour_likeness(own[:2], own) > 0.5)
