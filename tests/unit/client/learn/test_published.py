"""A whole learning as published, where losses stop being numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from client.learn.published import learn_as_published
from client.learn.search import LossError


def test_losses_that_become_no_numbers_leave_the_last_good_token(bowl, latents):
    hidden, losses = bowl.hidden, type(bowl).losses

    class Spoiled(type(bowl)):
        def losses(self, candidates, batch, kind):
            found = losses(self, candidates, batch, kind)
            return found * float("nan") if self.forwards > 200 else found

    result = learn_as_published(Spoiled(hidden=hidden), latents, kind="object", class_word="dog", forwards=3000, seed=0)
    assert result.reason == "broken"
    assert np.isfinite(result.token).all()
    assert 0 < result.forwards < 250
    assert np.isfinite([result.start_loss, result.loss]).all()
    assert (torch.from_numpy(result.token) - hidden).norm() < (bowl.anchor("dog") - hidden).norm() + 0.1


def test_losses_that_never_were_numbers_are_told(bowl, latents):
    bowl.hidden = torch.full_like(bowl.hidden, float("nan"))
    with pytest.raises(LossError, match="engine"):
        learn_as_published(bowl, latents, kind="object", class_word="dog", forwards=30, seed=0)
