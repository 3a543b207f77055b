from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from simulations.tastes import ATTRIBUTES, CHOOSING, COMMON, HELD_OUT, Judge, Person, tastes


@pytest.fixture(scope="module")
def judge():
    pytest.importorskip("efficientnet_lite_pytorch")
    return Judge()


def disc(colour, radius=20, background="white"):
    picture = Image.new("RGB", (64, 64), background)
    ImageDraw.Draw(picture).ellipse((32 - radius, 32 - radius, 32 + radius, 32 + radius), fill=colour)
    return picture


@pytest.mark.parametrize(
    ("attribute", "less", "more"),
    [
        ("light", disc("navy"), disc("lightblue")),
        ("warm", disc("blue"), disc("red")),
        ("vivid", disc("gray"), disc("red")),
        ("full", disc("red", radius=8), disc("red", radius=28)),
    ],
)
def test_the_judge_sees_what_an_attribute_says(judge, attribute, less, more):
    column = ATTRIBUTES.index(attribute)
    seen = judge.measure([less, more])[:, column]
    assert seen[1] > seen[0] + 0.05


def test_busy_pictures_have_more_outlines(judge):
    striped = Image.fromarray(np.tile(np.array([0, 0, 200, 200], np.uint8), (64, 16)))
    assert np.diff(judge.measure([disc("black"), striped])[:, ATTRIBUTES.index("busy")])[0] > 0


def test_units_are_the_spread_within_prompts(judge):
    groups = [[disc("red", radius=r) for r in (8, 14, 20)], [disc("blue", radius=r) for r in (10, 16, 24)]]
    judge.calibrate(groups)
    measured = [judge.measure(group) for group in groups]
    spread = np.concatenate([rows - rows.mean(axis=0) for rows in measured]).std(axis=0)
    assert spread[ATTRIBUTES.index("full")] == pytest.approx(1)


def test_people_are_alike_as_far_as_said_and_the_same_for_a_seed():
    some = tastes(400, 0)
    rows = np.stack([person.weights for person in some])
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(400))
    mean = rows.mean(axis=0)
    assert mean @ COMMON / np.linalg.norm(mean) / np.linalg.norm(COMMON) > 0.95
    assert 0.5 < np.mean([row @ COMMON / np.linalg.norm(COMMON) for row in rows]) < 0.9
    assert (tastes(400, 0)[7].weights == some[7].weights).all()


def test_choices_follow_the_hidden_preference_but_not_always():
    person = Person(number=0, weights=np.eye(len(ATTRIBUTES))[0])
    one, other, chance = np.full(len(ATTRIBUTES), 0.25), np.zeros(len(ATTRIBUTES)), np.random.default_rng(0)
    share = np.mean([person.prefers(one, other, chance) for _ in range(2000)])
    assert 0.65 < share < 0.80  # σ(4 × 0.25) = 0.73
    assert person.better(one[None], other[None]).tolist() == [True]


def test_nobody_is_judged_on_what_they_chose_among():
    assert not set(CHOOSING) & set(HELD_OUT)
