from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from client.backbone.lexicon import Lexicon
from client.learn import photos, search
from client.learn.checkpoint import CheckpointError
from client.learn.gate import DRAWS
from client.learn.search import LossError, learn
from client.learn.settings import Settings
from common.errors import ConfigError
from common.prior import Cohort, Prior

SETTINGS = Settings(forwards=2400, seed=7)


def a_prior(bowl, mean, *, spread=0.5):
    """A prior over the first six coordinates: people's mean there, and a spread in the first three."""
    cohort = Cohort(
        weight=1.0,
        mean=np.asarray(mean, float),
        basis=np.eye(6)[:, :3],
        spectrum=np.full(3, spread**2),
        residual=1e-3,
    )
    return Prior(
        backbone=bowl.fingerprint, kind="object", version=1, people=20, rounds=("r",),
        public_basis=np.eye(bowl.width)[:, :6], cohorts=(cohort,), created="2026-01-01T00:00:00Z",
    )  # fmt: skip


def run(bowl, latents, settings=SETTINGS, **rest):
    return learn(bowl, latents, kind="object", class_word="dog", settings=settings, **rest)


def test_a_search_comes_close_to_the_hidden_token(bowl, latents):
    result = run(bowl, latents)
    assert result.loss < 0.05 + 0.15 * (result.start_loss - 0.05)
    assert result.start == "anchor"


def test_losses_are_told_of_the_same_draws_alone_and_after_a_pause_the_earlier_ones_too(bowl, latents, tmp_path):
    told, asked = [], iter([False] * 40)
    common = {"checkpoint": tmp_path / "c", "progress": told.append}
    paused = run(bowl, latents, stop=lambda: next(asked, None) is not False, **common)
    assert told[0].losses == ()
    begun = next(now.losses for now in told if now.losses)
    assert (len(begun), begun[0]) == (2, paused.start_loss)
    assert told[-1].losses == paused.losses
    assert paused.losses[-1] == paused.loss < paused.start_loss
    assert all(now <= before for before, now in pairwise(paused.losses))
    count = len(told)
    run(bowl, latents, **common)
    assert told[count].losses[: len(paused.losses)] == paused.losses


def test_every_forward_is_counted_and_the_budget_is_kept(bowl, latents):
    result = run(bowl, latents)
    assert result.forwards == bowl.forwards
    assert result.forwards <= SETTINGS.forwards


@pytest.mark.parametrize(("mean", "extra"), [([1, 0, 0, 0, 0, 0], 0.1), ([0.1, 0, 0, 0, 0, 0], 1.0)])
def test_a_prior_saves_forwards_by_where_it_starts_and_by_where_it_looks(bowl, latents, mean, extra, monkeypatch):
    monkeypatch.setattr(photos, "PROBES", 4)  # fewer than the bowl is wide by more than a few looks
    bowl.noise = 0.05
    moved = torch.zeros(bowl.width)
    moved[:6] = torch.tensor(mean, dtype=torch.float32)
    moved[:3] += extra
    bowl.hidden = bowl.anchor("dog") + moved
    reached = {}
    for name, prior in (("alone", None), ("guided", a_prior(bowl, mean, spread=max(extra, 0.1)))):
        seen = []
        run(bowl, latents, prior=prior, watch=lambda f, t, seen=seen: seen.append((f, float((t - bowl.hidden).norm()))))
        goal = 0.35 * float(moved.norm())
        reached[name] = next((f for f, distance in seen if distance < goal), 10 * SETTINGS.forwards)
    assert reached["guided"] < 0.7 * reached["alone"]


def test_a_bad_prior_costs_at_most_its_share(bowl, latents):
    result = run(bowl, latents, prior=a_prior(bowl, [-20, 20, -20, 20, -20, 20]))
    assert 0 < result.overhead <= SETTINGS.overhead * SETTINGS.forwards
    alone = run(bowl, latents, settings=replace(SETTINGS, forwards=SETTINGS.forwards - result.overhead))
    assert result.loss < 1.2 * alone.loss


def test_scoring_the_only_start_there_is_counts_as_asking(bowl, latents):
    spent = []
    asked = run(bowl, latents, prior=a_prior(bowl, [-20] * 6), watch=lambda forwards, _: spent.append(forwards))
    assert (asked.start, asked.overhead, spent[0]) == ("anchor", 2 * DRAWS, 2 * DRAWS)


def test_a_budget_too_small_to_ask_about_a_prior_is_searched_without_one(bowl, latents):
    small = replace(SETTINGS, forwards=72)
    asked = run(bowl, latents, settings=small, prior=a_prior(bowl, [1, 0, 0, 0, 0, 0]))
    assert (asked.overhead, asked.start) == (0, "anchor")


@pytest.mark.parametrize("stops", [[5], [1, 3, 2]])
def test_a_paused_search_ends_bit_for_bit_as_an_unbroken_one(bowl, latents, tmp_path, stops):
    whole = run(bowl, latents)
    path = tmp_path / "checkpoint"
    for steps in stops:
        left = iter(range(steps))
        paused = run(bowl, latents, checkpoint=path, stop=lambda left=left: next(left, None) is None)
        assert paused.reason == "paused"
        assert path.exists()
    resumed = run(bowl, latents, checkpoint=path)
    assert resumed.token.tobytes() == whole.token.tobytes()
    assert (resumed.history, resumed.forwards, resumed.reason) == (whole.history, whole.forwards, whole.reason)


def test_a_place_is_seen_at_what_was_spent_to_find_it_not_at_what_its_validation_costs(bowl, latents):
    seen = []
    result = run(bowl, latents, watch=lambda forwards, _: seen.append(forwards))
    steps = {later - earlier for earlier, later in pairwise(seen)}
    look, scored = min(steps), SETTINGS.validation
    assert steps == {look, look + scored, look + 2 * scored}, "a validation comes between two places"
    validated = [forwards for forwards, _ in result.history[1:-1]]
    assert seen[1] == look
    assert not set(validated) & set(seen)


class Kept:
    """A store that counts how often it is written."""

    def __init__(self):
        self.written, self.data = 0, b""

    def exists(self):
        return bool(self.data)

    def read_bytes(self):
        return self.data

    def write_bytes(self, data):
        self.written, self.data = self.written + 1, data
        return len(data)


@pytest.mark.parametrize("every", [0.0, 3600.0])
def test_a_slow_step_is_kept_though_nothing_was_validated(bowl, latents, monkeypatch, every):
    monkeypatch.setattr(search, "KEPT_EVERY", every)
    kept, steps = Kept(), []
    result = run(bowl, latents, checkpoint=kept, watch=lambda forwards, _: steps.append(forwards))
    validated = len(result.history) - 1  # the class word's score came with the first of them
    assert len(steps) > 2 * validated
    assert kept.written == (len(steps) - 1 if every == 0 else validated)


def test_a_checkpoint_of_another_learning_is_refused(bowl, latents, tmp_path):
    path = tmp_path / "checkpoint"
    run(bowl, latents, checkpoint=path, stop=lambda: True)
    with pytest.raises(CheckpointError, match="settings"):
        run(bowl, latents, settings=replace(SETTINGS, seed=8), checkpoint=path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="damaged"):
        run(bowl, latents, checkpoint=path)


def test_a_search_ends_when_it_no_longer_improves(bowl, latents):
    result = run(bowl, latents, settings=replace(SETTINGS, forwards=100_000, patience=3))
    assert result.reason == "plateau"
    assert result.forwards < 20_000


def test_losses_that_are_no_numbers_end_a_search(bowl, latents):
    bowl.hidden = torch.full_like(bowl.hidden, float("nan"))
    with pytest.raises(LossError, match="nan"):
        run(bowl, latents)


def test_losses_that_become_no_numbers_leave_the_last_good_token(bowl, latents, tmp_path):
    whole, hidden = run(bowl, latents), bowl.hidden
    seen = []

    def spoil(forwards, token):
        seen.append(forwards)
        if forwards > 150:
            bowl.hidden = torch.full_like(hidden, float("nan"))

    broken = run(bowl, latents, watch=spoil, checkpoint=tmp_path / "kept")
    assert broken.reason == "broken"
    assert broken.forwards < whole.forwards
    assert np.isfinite(broken.token).all()
    assert (torch.from_numpy(broken.token) - hidden).norm() < (bowl.anchor("dog") - hidden).norm()
    assert np.isfinite(broken.loss)
    assert broken.loss < broken.start_loss


def test_settings_that_cannot_run_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"learn\.step"):
        Settings(step=0)
    with pytest.raises(ConfigError, match=r"learn\.forwards"):
        Settings(forwards=10)
    with pytest.raises(ConfigError, match=r"learn\.validation"):
        Settings(validation=0)


def words_that_draw(bowl, latents):
    """A lexicon whose start for these photos is close to the hidden token."""
    return Lexicon(
        centre=torch.zeros(latents.mean[0].numel()),
        features=torch.zeros(2, latents.mean[0].numel()),
        weights=torch.cat([torch.zeros(2, bowl.width), bowl.hidden[None] + 0.02]),
        basis=torch.eye(bowl.width),
        curvature=torch.eye(bowl.width),
    )


def test_words_give_an_object_its_start_and_displacements_are_counted_from_there(bowl, latents):
    begun, far = [], []
    alone = run(bowl, latents, watch=lambda _, token: far.append(token))
    bowl.lexicon = words_that_draw(bowl, latents)
    result = run(bowl, latents, watch=lambda _, token: begun.append(token))
    assert (alone.start, result.start) == ("anchor", "words")
    np.testing.assert_allclose(result.anchor, bowl.hidden + 0.02, atol=1e-6)
    np.testing.assert_array_equal(begun[0], result.anchor)
    steps = [[float((token - bowl.hidden).norm()) < 0.12 for token in each].index(True) for each in (begun, far)]
    assert steps[0] < 0.7 * steps[1]
    assert result.start_loss == alone.start_loss  # counted from the class word either way


def test_a_style_begins_where_it_would_without_words(bowl, latents):
    bowl.lexicon = words_that_draw(bowl, latents)
    result = learn(bowl, latents, kind="style", class_word="", settings=SETTINGS)
    assert result.start == "anchor"
    assert not result.anchor.any()


def test_words_that_mislead_are_left_for_the_class_word(bowl, latents):
    lexicon = words_that_draw(bowl, latents)
    bowl.lexicon = replace(lexicon, weights=lexicon.weights + 30)
    assert run(bowl, latents).start == "anchor"
