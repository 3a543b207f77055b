"""The engine on a real, random pipeline: int8 beside floating point, batches beside single calls, no gradient."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from client.backbone.engine import TorchEngine, fingerprint
from client.backbone.latents import draw_batch
from client.learn.search import learn
from client.learn.settings import Settings
from common.errors import BackboneError


@pytest.fixture(scope="module")
def engines(tiny_backbone):
    return TorchEngine(tiny_backbone), TorchEngine(tiny_backbone, int8=False)


@pytest.fixture(scope="module")
def latents(engines):
    side = engines[0].pixel_size
    return engines[0].encode(np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8))


def batch_of(engine, latents, draws=4):
    generator = torch.Generator().manual_seed(1)
    return draw_batch(latents, draws, engine.timesteps, engine.templates("object"), generator)


def candidates_of(engine, count=3):
    return engine.anchor("dog") + 0.1 * torch.randn(count, engine.width, generator=torch.Generator().manual_seed(2))


def test_int8_losses_agree_with_floating_point(engines, latents):
    quantized, exact = engines
    batch, candidates = batch_of(quantized, latents), candidates_of(quantized)
    ours, theirs = quantized.losses(candidates, batch, "object"), exact.losses(candidates, batch, "object")
    assert not torch.equal(ours, theirs), "nothing was quantized"
    # Eight bits a channel: 1/254 of a channel's largest weight; three times that for the chain of layers.
    torch.testing.assert_close(ours, theirs, rtol=3 / 254, atol=0)


def test_a_batch_of_candidates_scores_each_as_alone(engines, latents):
    engine = engines[1]
    batch, candidates = batch_of(engine, latents), candidates_of(engine)
    alone = torch.cat([engine.losses(c[None], batch, "object") for c in candidates])
    torch.testing.assert_close(engine.losses(candidates, batch, "object"), alone, rtol=1e-4, atol=0)


def test_a_candidate_is_the_token_in_the_prompt(engines, latents):
    engine = engines[1]
    batch = batch_of(engine, latents)
    word, other = engine.anchor("dog"), engine.anchor("cat")
    losses = engine.losses(torch.stack([word, other, word]), batch, "object")
    assert losses[0] == pytest.approx(float(losses[2]), rel=1e-5)
    assert abs(float(losses[0] - losses[1])) > 1e-7


def test_a_whole_learning_needs_no_gradient(tiny_backbone, latents):
    engine = TorchEngine(tiny_backbone)
    with torch.inference_mode():
        result = learn(engine, latents, kind="object", class_word="dog", settings=Settings(forwards=80, validation=8))
    assert result.forwards > 0
    mine = [p for m in (engine._unet, engine._text) for p in m.parameters()]
    assert mine
    assert not any(p.requires_grad or p.grad is not None for p in mine)


def test_a_folder_may_name_its_prompts_and_timesteps(tiny_backbone, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(tiny_backbone, folder)
    (folder / "shoal.json").write_text(json.dumps({"templates": {"object": ["{}", "a {}"]}, "timesteps": [600, 1000]}))
    engine = TorchEngine(folder)
    assert (engine.templates("object"), engine.templates("style")) == (2, 1)
    assert engine.timesteps == (600, 1000)


def test_the_fingerprint_names_the_weights(tiny_backbone, tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(tiny_backbone, folder)
    assert fingerprint(folder) == fingerprint(tiny_backbone)
    weights = next(folder.glob("unet/*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert fingerprint(folder) != fingerprint(tiny_backbone)


def test_a_folder_without_a_model_is_refused_by_name(tmp_path):
    with pytest.raises(BackboneError, match=str(tmp_path)):
        TorchEngine(tmp_path)
