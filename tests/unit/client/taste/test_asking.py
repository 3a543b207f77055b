from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch

from client.backbone.engine import TorchEngine, fingerprint
from client.backbone.prompts import sayings
from client.choices import Choice, Recipe
from client.generate import load_pipeline
from client.taste import asking
from client.taste.asking import information, offer, redrawn
from client.taste.learning import first_belief
from common.errors import VaultError


@pytest.fixture(scope="module")
def engine(tiny_backbone):
    return TorchEngine(tiny_backbone, int8=True)


@pytest.fixture
def pipeline(tiny_backbone):
    return load_pipeline(tiny_backbone)


@pytest.fixture
def said(tiny_backbone):
    return sayings(tiny_backbone)


@pytest.fixture
def recipe(tiny_backbone):
    return Recipe(prompt="a dog", seed=3, steps=2, guidance=2.0, backbone=fingerprint(tiny_backbone))


def test_an_answer_that_is_known_tells_nothing_and_a_coins_tells_one_bit():
    told = information(torch.tensor([0.0, 30.0, 0.0]), torch.tensor([0.0, 1.0, 1e4]))
    assert told[0] == pytest.approx(0, abs=1e-9)
    assert told[1] == pytest.approx(0, abs=1e-6)
    assert told[2] == pytest.approx(math.log(2), rel=1e-3)


def test_information_is_the_mutual_information_of_answer_and_margin():
    mean, spread, chance = 0.7, 1.8, np.random.default_rng(0)
    sure = 1 / (1 + np.exp(-(mean + spread * chance.standard_normal(400_000))))
    entropy = lambda p: -(p * np.log(p) + (1 - p) * np.log(1 - p))  # noqa: E731 - a formula
    expected = entropy(sure.mean()) - entropy(sure).mean()
    assert float(information(torch.tensor([mean]), torch.tensor([spread]))[0]) == pytest.approx(expected, abs=2e-3)


def test_less_is_told_by_margins_that_are_known_better():
    told = information(torch.zeros(4), torch.tensor([0.5, 1.0, 2.0, 4.0]))
    assert (told.diff() > 0).all()


def test_the_pair_offered_is_the_one_that_tells_most(engine, pipeline, said, recipe, monkeypatch):
    seen = []
    measured = asking.information

    def watched(mean, spread):
        seen.append(measured(mean, spread))
        return seen[-1]

    monkeypatch.setattr(asking, "information", watched)
    belief = first_belief(engine, said.tastes, None)
    found = offer(engine, pipeline, said, belief, recipe, pool=4)
    assert len(seen[0]) == len(list(combinations(range(4), 2)))
    assert found.information == pytest.approx(float(seen[0].max()))
    assert found.recipes[0].taste != found.recipes[1].taste
    assert found.recipes[0].prompt == found.recipes[1].prompt == "a dog"


def test_a_picture_is_drawn_again_from_its_recipe_to_the_very_same_one(engine, pipeline, said, recipe, tiny_backbone):
    found = offer(engine, pipeline, said, first_belief(engine, said.tastes, None), recipe, pool=2)
    assert math.isnan(found.information)
    again = load_pipeline(tiny_backbone)
    for latents, each in zip(found.latents, found.recipes, strict=True):
        assert torch.allclose(redrawn(again, said, each)[0], latents, atol=1e-5)


def test_a_taste_changes_the_picture(pipeline, said, recipe, engine):
    plain = redrawn(pipeline, said, recipe)
    token = first_belief(engine, said.tastes, None).sampled(1, torch.Generator().manual_seed(0))[0]
    tasteful = redrawn(pipeline, said, Recipe(**{**vars_of(recipe), "taste": tuple(token.tolist())}))
    assert not torch.allclose(plain, tasteful)
    assert torch.allclose(redrawn(pipeline, said, recipe), plain)


def vars_of(recipe):
    return {name: getattr(recipe, name) for name in recipe.__dataclass_fields__}


def test_a_choice_may_be_between_two_tastes_of_one_seed_but_not_between_a_picture_and_itself(recipe):
    other = Recipe(**{**vars_of(recipe), "taste": (0.5, 1.0)})
    assert Choice(first=recipe, second=other, picked="first")
    with pytest.raises(VaultError, match="differ in seed or taste"):
        Choice(first=other, second=other, picked="first")
