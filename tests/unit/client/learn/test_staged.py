"""Learning in stages: each stage learns its own token on its own timesteps, and survives being paused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from client.learn.search import learn
from client.learn.settings import Settings
from client.learn.staged import at_stage, learn_in_stages

SETTINGS = Settings(forwards=160, validation=8, seed=4)
WORDS = {"kind": "object", "class_word": "dog"}


@pytest.fixture
def turning(bowl):
    """Return a bowl whose bottom is at another place for the noisier half of its timesteps."""
    bottoms = {True: bowl.hidden, False: -bowl.hidden}
    seen = []

    class Turning(type(bowl)):
        def residuals(self, candidates, batch, kind):
            noisy = batch.timesteps >= 700
            seen.append(batch.timesteps)
            parts = []
            for draw, which in enumerate(noisy.tolist()):
                self.hidden = bottoms[which]
                parts.append(super().residuals(candidates, batch.some(torch.tensor([draw])), kind))
            return torch.cat(parts, dim=1)

    engine = Turning(hidden=bowl.hidden)
    engine.seen, engine.bottoms = seen, bottoms
    return engine


def rows(learned, stages=2):
    return torch.from_numpy(learned.token).view(stages, -1)


def test_each_stage_finds_its_own_bottom(turning, latents):
    learned = learn_in_stages(turning, latents, stages=2, settings=Settings(forwards=1200), **WORDS)
    for token, bottom in zip(rows(learned), (turning.bottoms[True], turning.bottoms[False]), strict=True):
        assert (token - bottom).norm() < 0.15 * bottom.norm()
    assert learned.anchor.shape == (24,)
    assert learned.loss < learned.start_loss


def test_a_stage_draws_all_of_its_timesteps_and_no_other(turning, latents):
    learn(at_stage(turning, (700, 900)), latents, settings=Settings(forwards=320, whole_range=True), **WORDS)
    drawn = torch.cat(turning.seen)
    assert drawn.min() >= 700
    assert drawn.min() < 720, "only the noisiest part was drawn"
    assert turning.timesteps == (500, 900)


def test_a_stage_begins_with_the_token_before_it_where_that_is_better(bowl, latents):
    near = bowl.hidden + 0.01
    begun = learn(bowl, latents, settings=SETTINGS, known=near, **WORDS)
    assert begun.start == "known"
    assert learn(bowl, latents, settings=SETTINGS, known=near + 9, **WORDS).start == "anchor"


def test_each_stage_draws_all_of_its_part_and_the_second_takes_up_where_the_first_ended(turning, latents):
    told = []
    turning.bottoms[False] = turning.bottoms[True]
    settings = Settings(forwards=320)
    learn_in_stages(turning, latents, stages=2, settings=settings, progress=told.append, **WORDS)
    drawn = torch.cat([steps for steps in turning.seen if len(steps) == 1])  # neither of a validation nor of the starts
    assert (drawn < 600).any()
    assert ((drawn >= 700) & (drawn < 800)).any()
    assert told[0].message == "stage 1 of 2, from anchor"
    assert told[-1].message == "stage 2 of 2, from known"


def test_progress_counts_over_all_stages(turning, latents):
    told = []
    learned = learn_in_stages(turning, latents, stages=2, settings=SETTINGS, progress=told.append, **WORDS)
    spent = [one.forwards for one in told]
    assert spent == sorted(spent)
    assert spent[-1] <= learned.forwards <= told[-1].total_forwards == 2 * SETTINGS.forwards
    assert [f for f, _ in learned.history] == sorted(f for f, _ in learned.history)
    assert learned.history[-1][1] <= learned.history[0][1]


@pytest.mark.parametrize("pause_after", [0, 3, 9, 14])
def test_a_learning_that_was_paused_ends_with_the_same_tokens(turning, latents, tmp_path, pause_after):
    whole = learn_in_stages(turning, latents, stages=3, settings=SETTINGS, **WORDS)

    def store(part):
        return tmp_path / part

    asked = iter([False] * pause_after + [True])
    common = {"stages": 3, "settings": SETTINGS, "store": store, **WORDS}
    paused = learn_in_stages(turning, latents, stop=lambda: next(asked, False), **common)
    assert paused.reason == "paused"
    before = turning.forwards
    resumed = learn_in_stages(turning, latents, **common)
    np.testing.assert_array_equal(resumed.token, whole.token)
    assert (resumed.forwards, resumed.loss, resumed.history) == (whole.forwards, whole.loss, whole.history)
    assert turning.forwards - before <= whole.forwards, "it began again"
