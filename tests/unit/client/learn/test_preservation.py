"""Semantic preservation: a term like any other of the loss, at the text encoder's price."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from client.backbone.compact import CompactEngine, Form
from client.backbone.engine import TorchEngine
from client.backbone.latents import Latents, draw_batch
from client.learn.photos import Photos
from client.learn.preservation import preservation
from client.learn.search import learn
from client.learn.settings import Settings

WORDS = {"kind": "object", "class_word": "dog"}


@pytest.fixture(params=["differences", "quanto"], scope="module")
def engine(request, tiny_backbone, tmp_path_factory):
    if request.param == "quanto":
        return TorchEngine(tiny_backbone)
    form = Form(arithmetic=torch.float32)
    return CompactEngine(tiny_backbone, tmp_path_factory.mktemp("cache"), form=form)


@pytest.fixture(scope="module")
def latents():
    mean = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    return Latents(mean=mean, spread=torch.full_like(mean, 0.1))


def tokens(engine):
    return engine.anchor("dog") + 0.3 * torch.randn(3, engine.width, generator=torch.Generator().manual_seed(2))


def test_the_penalty_is_the_mean_cosine_distance_to_the_class(engine):
    kept, candidates = preservation(engine, "dog", 2.0), tokens(engine)
    wanted = engine.meanings(torch.zeros(1, 0), "a {} dog")
    distances = [1 - cosine_similarity(engine.meanings(candidates, text), wanted) for text in ("a {}", "a {} dog")]
    torch.testing.assert_close(kept.penalty(candidates), 2.0 * (distances[0] + distances[1]) / 2, rtol=1e-3, atol=1e-6)


def test_the_class_word_itself_means_its_class(engine):
    word = engine.anchor("dog")[None]
    said, meant = engine.meanings(word, "a {}"), engine.meanings(torch.zeros(1, 0), "a {} dog")
    torch.testing.assert_close(said, meant, rtol=1e-4, atol=1e-5)
    assert cosine_similarity(engine.meanings(engine.anchor("cat")[None], "a {}"), meant) < 0.999


def test_residuals_square_to_what_is_scored(engine, latents):
    kept = preservation(engine, "dog", 0.7)
    task = Photos(engine=engine, latents=latents, kind="object", settings=Settings(), preserved=kept)
    batch = draw_batch(latents, 1, engine.timesteps, 1, torch.Generator().manual_seed(1))
    candidates = tokens(engine)
    found = task.residuals(candidates, batch).square().mean(dim=1)
    torch.testing.assert_close(found, task.losses(candidates, batch), rtol=1e-4, atol=1e-6)
    plain = engine.losses(candidates, batch, "object")
    assert (task.losses(candidates, batch) > plain + 1e-4).all()


def test_a_concept_stays_nearer_to_its_class(engine, latents):
    common = {"settings": Settings(forwards=160, seed=1), **WORDS}
    free = learn(engine, latents, **common)
    kept = learn(engine, latents, **common | {"settings": Settings(forwards=160, seed=1, preserve=10.0)})
    judge = preservation(engine, "dog", 1.0)
    far, near = (float(judge.penalty(torch.from_numpy(one.token)[None])) for one in (free, kept))
    assert far > 0, "nothing was learned: this test could not fail"
    assert near < 0.5 * far


def test_without_a_weight_or_a_word_nothing_is_kept(engine, latents):
    assert preservation(engine, "dog", 0.0) is None
    assert preservation(engine, "", 1.0) is None
    one, two = (
        learn(engine, latents, kind="object", class_word="dog", settings=Settings(forwards=80, preserve=weight))
        for weight in (0.0, 1e-12)
    )
    np.testing.assert_allclose(one.token, two.token, atol=1e-4)
