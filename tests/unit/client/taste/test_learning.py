from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from client.learn.subspace import Shape
from client.taste.choosing import LOOKS, Choosing, Pair, middle, public_spread, rewards, same_draws
from client.taste.learning import first_belief, learn_taste, taste_settings
from client.taste.margins import BETA
from common.prior import Cohort, Prior
from tests.unit.client.taste.conftest import WIDTH, picture

WORDS = tuple("x" * length for length in range(1, 30))


def pairs(count, seed=0, liked=0):
    """People who like it find the picture better whose number ``liked`` is larger."""
    generator, found = torch.Generator().manual_seed(seed), []
    for _ in range(count):
        both = [torch.randn(WIDTH, generator=generator) for _ in range(2)]
        both.sort(key=lambda one: -float(one[liked]))
        found.append(Pair(chosen=picture(both[0]), other=picture(both[1]), caption="a dog, {}"))
    return found


def task(drawer, given, **changes):
    settings = taste_settings(len(given))
    facts = {"engine": drawer, "pairs": given, "anchor": middle(drawer, WORDS), "settings": settings}
    return Choosing(**(facts | {"spread": public_spread(drawer, WORDS)} | changes))


def population(mean, spread=1e-3):
    basis, cohort_mean = np.eye(WIDTH), np.asarray(mean, np.float64)
    cohort = Cohort(
        weight=1.0, mean=cohort_mean, basis=np.eye(WIDTH)[:, :1], spectrum=np.array([2 * spread]), residual=spread
    )
    return Prior(
        backbone="f" * 64, kind="taste", version=1, public_basis=basis, cohorts=(cohort,), people=200, rounds=(),
        created="2026-01-01T00:00:00Z",
    )  # fmt: skip


def test_at_the_anchor_every_choice_is_a_coins(drawer):
    it = task(drawer, pairs(3))
    draws = it.draws(4, torch.Generator().manual_seed(1))
    assert float(it.losses(it.anchor[None], draws)[0]) == pytest.approx(math.log(2))
    assert len(draws) == it.costs(4) == 3 * 2 * LOOKS


def test_the_loss_is_the_papers(drawer):
    """Diffusion-DPO, Eq. 14, written out pair by pair."""
    given = pairs(3)
    it = task(drawer, given)
    draws = it.draws(4, torch.Generator().manual_seed(1))
    token = torch.linspace(-1, 1, WIDTH)

    def denoising(candidate, latents):
        return float((candidate - latents.flatten()[:WIDTH]).square().mean())

    expected = 0.0
    for pair in given:
        inside = (denoising(token, pair.chosen) - denoising(it.anchor, pair.chosen)) - (
            denoising(token, pair.other) - denoising(it.anchor, pair.other)
        )
        expected -= math.log(1 / (1 + math.exp(BETA * inside))) / len(given)
    assert float(it.losses(token[None], draws)[0]) == pytest.approx(expected, rel=1e-5)


def test_both_pictures_meet_the_same_noise_at_the_same_timesteps(drawer):
    batch = same_draws(drawer, torch.randn(3, 2, 2, 2), "a dog, {}", 4, torch.Generator().manual_seed(0))
    rows = batch.noise.unflatten(0, (3, 4))
    assert (rows == rows[0]).all()
    assert (batch.timesteps.unflatten(0, (3, 4)) == batch.timesteps[:4]).all()
    assert (rows[:, :2] == -rows[:, 2:]).all()
    assert (batch.latents[:4] == batch.latents[0]).all()


def test_rewards_and_their_slopes_are_those_of_the_losses(drawer):
    shape = Shape(origin=torch.zeros(WIDTH), axes=torch.eye(WIDTH)[:3], rest=torch.zeros(0, WIDTH))
    batch = same_draws(drawer, torch.randn(2, 2, 2, 2), "a dog, {}", 2, torch.Generator().manual_seed(0))
    anchor, place = torch.full((WIDTH,), 0.3), torch.tensor([0.5, -0.2, 0.1])

    def reward(where):
        tokens = torch.stack([anchor, shape.token(where)])
        losses = drawer.residuals(tokens, batch, "taste").square().mean(dim=2)
        return losses[0] - losses[1]

    value, slopes = rewards(drawer, batch, shape, place, 0.5, anchor)
    assert torch.allclose(value, reward(place), atol=1e-6)
    assert torch.allclose(slopes, torch.func.jacrev(reward)(place), atol=1e-5)


def test_a_taste_goes_where_the_choices_point(drawer):
    learned, belief = learn_taste(drawer, WORDS, pairs(24), taste_settings(24))
    moved = belief.token - belief.anchor
    assert moved[0] > 2 * moved[1:].abs().max()
    assert learned.loss < 0.8 * learned.start_loss
    assert learned.forwards <= taste_settings(24).forwards


def test_what_was_chosen_between_is_known_more_surely_afterwards(drawer):
    _, few = learn_taste(drawer, WORDS, pairs(2), taste_settings(2))
    _, many = learn_taste(drawer, WORDS, pairs(16), taste_settings(16))
    assert torch.logdet(few.precision) < torch.logdet(many.precision)


def test_before_a_choice_one_has_the_populations_taste_and_without_one_nobodys(drawer):
    mean = [0.0, 0.7, 0, 0, 0, 0]
    alone, among = first_belief(drawer, WORDS, None), first_belief(drawer, WORDS, population(mean))
    assert (alone.token == alone.anchor).all()
    assert torch.allclose(among.token - among.anchor, torch.tensor(mean), atol=1e-6)
    assert (among.shape.token(among.place) == among.token).all()


def test_with_few_choices_one_stays_near_the_population_and_with_many_goes_ones_own_way(drawer):
    prior = population([0.0, 0.7, 0, 0, 0, 0], spread=0.05)
    found = {}
    for count in (1, 24):
        _, belief = learn_taste(drawer, WORDS, pairs(count), taste_settings(count), prior=prior)
        found[count] = belief.token - belief.anchor
    assert found[1][1] > 0.3
    assert found[24][0] > found[1][0] + 0.2


def test_a_population_of_another_taste_is_found_out_by_the_choices(drawer):
    against = population([-2.0, 0, 0, 0, 0, 0])
    learned, belief = learn_taste(drawer, WORDS, pairs(12), taste_settings(12), prior=against)
    assert learned.start == "anchor"
    assert (belief.token - belief.anchor)[0] > 0


def test_a_learning_that_was_paused_goes_on_to_the_very_same_taste(drawer, tmp_path):
    drawer.noise = 0.3
    settings = replace(taste_settings(4), patience=50)
    _, straight = learn_taste(drawer, WORDS, pairs(4), settings)
    asked = iter(range(10_000))
    file = tmp_path / "taste.safetensors"
    paused, _ = learn_taste(drawer, WORDS, pairs(4), settings, checkpoint=file, stop=lambda: next(asked) >= 7)
    assert paused.reason == "paused"
    _, resumed = learn_taste(drawer, WORDS, pairs(4), settings, checkpoint=file)
    assert (resumed.token == straight.token).all()
    assert (resumed.precision == straight.precision).all()


def test_nothing_needs_a_gradient(drawer):
    _, belief = learn_taste(drawer, WORDS, pairs(2), taste_settings(2))
    assert belief.token.is_inference() or not belief.token.requires_grad
