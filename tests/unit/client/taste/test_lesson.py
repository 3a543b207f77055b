from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from client.backbone.engine import TorchEngine, fingerprint
from client.backbone.prompts import sayings
from client.choices import Choice, Choices, Recipe
from client.drawing import Order, draw
from client.generate import load_pipeline
from client.lesson import Lesson, Listener
from client.taste.asking import redrawn
from client.taste.belief import Tastes
from client.taste.concepts import said_plainly
from client.taste.known import belief_of, taste_token
from client.taste.lesson import _pairs, study_taste
from client.taste.standing import MATURE, is_stale
from client.vault import Concept, Vault
from common.errors import ConfigError


@pytest.fixture
def backbone(tiny_backbone):
    return fingerprint(tiny_backbone)


@pytest.fixture
def listener():
    return Listener(says=lambda _: None, progress=lambda _: None, stop=lambda: False)


def choose(home, backbone, count, picked="first"):
    for number in range(count):
        first = Recipe(prompt="a dog", seed=2 * number, steps=2, guidance=2.0, backbone=backbone)
        Choices(home).record(Choice(first=first, second=replace(first, seed=2 * number + 1), picked=picked))


def study(home, model, listener):
    return study_taste(home, str(model), listener, forwards=300, engine="quanto")


def test_a_taste_is_learned_once_for_the_same_choices_and_anew_for_others(tmp_path, tiny_backbone, backbone, listener):
    assert study(tmp_path, tiny_backbone, listener) is None
    choose(tmp_path, backbone, 2)
    assert is_stale(tmp_path, backbone)
    learned = study(tmp_path, tiny_backbone, listener)
    assert learned.forwards <= 300
    assert not is_stale(tmp_path, backbone)
    assert study(tmp_path, tiny_backbone, listener) is None
    choose(tmp_path, backbone, 1, picked="neither")
    assert not is_stale(tmp_path, backbone)
    Choices(tmp_path).undo(2)
    assert is_stale(tmp_path, backbone)


def test_a_taste_of_few_choices_is_drawn_with_but_is_no_concept_yet(tmp_path, tiny_backbone, backbone, listener):
    choose(tmp_path, backbone, 2)
    study(tmp_path, tiny_backbone, listener)
    assert Vault(tmp_path).listed() == []
    token, anchor = taste_token(tmp_path, load_pipeline(tiny_backbone), tiny_backbone, listener)
    held = Tastes(tmp_path).held(backbone)
    assert (token == held.token.numpy()).all()
    assert (anchor == held.anchor.numpy()).all()


def test_a_taste_of_enough_choices_is_a_concept_that_can_be_contributed(tmp_path, tiny_backbone, backbone, listener):
    choose(tmp_path, backbone, MATURE)
    study(tmp_path, tiny_backbone, listener)
    [concept] = Vault(tmp_path).concepts()
    assert (concept.name, concept.kind, concept.class_word) == ("taste", "taste", "")
    held = Tastes(tmp_path).held(backbone)
    assert concept.displacement == pytest.approx((held.token - held.anchor).numpy(), abs=1e-6)


@pytest.mark.parametrize(("picked", "seed"), [("first", 0), ("second", 1)])
def test_the_picture_that_was_picked_is_drawn_again_as_the_better_one(
    tmp_path, tiny_backbone, backbone, listener, picked, seed
):
    choose(tmp_path, backbone, 1, picked)
    [pair] = _pairs(tmp_path, tiny_backbone, Choices(tmp_path).all(), listener)
    recipe = Recipe(prompt="a dog", seed=seed, steps=2, guidance=2.0, backbone=backbone)
    again = redrawn(load_pipeline(tiny_backbone), sayings(tiny_backbone), recipe)[0]
    assert torch.allclose(pair.chosen, again, atol=1e-5)
    assert not torch.allclose(pair.other, again)
    assert pair.caption.count("{}") == 1


def test_pausing_keeps_a_checkpoint_and_no_taste(tmp_path, tiny_backbone, backbone):
    choose(tmp_path, backbone, 2)
    asked = iter(range(100))
    stopping = Listener(says=lambda _: None, progress=lambda _: None, stop=lambda: next(asked) >= 1)
    assert study(tmp_path, tiny_backbone, stopping).reason == "paused"
    assert len(list((tmp_path / "learning").glob("taste.*.sealed"))) == 1
    assert is_stale(tmp_path, backbone)
    going = Listener(says=lambda _: None, progress=lambda _: None, stop=lambda: False)
    assert study(tmp_path, tiny_backbone, going).reason != "paused"
    assert not list((tmp_path / "learning").glob("taste.*.sealed"))


def test_without_a_choice_and_without_others_there_is_no_taste(tmp_path, tiny_backbone, listener):
    with pytest.raises(ConfigError, match="shoal rate"):
        taste_token(tmp_path, load_pipeline(tiny_backbone), tiny_backbone, listener)


def test_without_a_choice_one_draws_with_the_populations_taste(tmp_path, tiny_backbone, listener, monkeypatch):
    from common.prior import Cohort, Prior

    basis = np.eye(32)[:, :4]
    cohort = Cohort(weight=1.0, mean=np.arange(4.0), basis=np.eye(4)[:, :1], spectrum=np.ones(1), residual=0.5)
    prior = Prior(
        backbone=fingerprint(tiny_backbone), kind="taste", version=1, public_basis=basis, cohorts=(cohort,),
        people=200, rounds=(), created="2026-01-01T00:00:00Z",
    )  # fmt: skip
    monkeypatch.setattr(
        "client.priors.current_prior", lambda _home, _backbone, kind: prior if kind == "taste" else None
    )
    token, anchor = taste_token(tmp_path, load_pipeline(tiny_backbone), tiny_backbone, listener)
    assert (token - anchor)[:4] == pytest.approx([0, 1, 2, 3], abs=1e-5)
    engine = TorchEngine(tiny_backbone)
    belief = belief_of(tmp_path, engine, sayings(tiny_backbone), listener)
    assert belief.token.numpy() == pytest.approx(token, abs=1e-4)


def test_concepts_in_a_prompt_are_told_to_the_engine_as_what_they_are(tmp_path, backbone):
    zeros = np.zeros(32, np.float32)
    rex = Concept(
        name="rex", kind="object", class_word="dog", backbone=backbone, anchor=zeros, token=zeros, loss=1.0, forwards=1
    )
    Vault(tmp_path).save_concept(rex)
    assert said_plainly(tmp_path, "a <rex> and <other> in red") == "a dog and other in red"
    assert said_plainly(tmp_path, "a <rex:0.6> and <other:2>") == "a dog and other"


def test_nothing_else_may_be_called_taste():
    with pytest.raises(ConfigError, match="another --name"):
        Lesson(photos=(), name="taste", kind="style")


def test_pictures_follow_a_taste_as_far_as_asked(tmp_path, tiny_backbone, backbone, listener):
    from rich.console import Console

    choose(tmp_path, backbone, 2)
    study(tmp_path, tiny_backbone, listener)
    console = Console(quiet=True)

    def picture(**changes):
        order = Order(prompt="a dog", seed=4, steps=2, guidance=2.0, folder=tmp_path / "out", **changes)
        return draw(order, str(tiny_backbone), tmp_path, console)[0].read_bytes()

    plain = picture()
    assert picture(taste=True, strength=0.0) == plain
    assert picture(taste=True) != plain
    assert picture(taste=True, strength=2.0) != picture(taste=True)


@pytest.mark.parametrize("wrong", [{"particles": 2}, {"strength": 0.5}, {"particles": 0, "taste": True}])
def test_orders_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"--taste|at least 1"):
        Order(prompt="a dog", **wrong)
