"""Stable Diffusion XL's two text encoders, beside what diffusers itself computes."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from client.backbone.compact import EXACT, CompactEngine, Form
from client.backbone.engine import TorchEngine
from client.backbone.gate import cosine, slopes
from client.backbone.latents import Latents, draw_batch
from client.learn.search import learn
from client.learn.settings import Settings
from common.errors import BackboneError
from simulations.benchmarks.shapes import write_shape


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_shape("tiny-xl", tmp_path_factory.mktemp("xl") / "xl", dtype=torch.float32)


@pytest.fixture(scope="module")
def exact(folder):
    return CompactEngine(folder, folder / "cache", form=EXACT)


@pytest.fixture(scope="module")
def latents():
    mean = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    return Latents(mean=mean, spread=torch.full_like(mean, 0.1))


def batch_of(engine, latents):
    return draw_batch(latents, 2, engine.timesteps, engine.templates("object"), torch.Generator().manual_seed(1))


def test_a_word_as_candidate_is_what_diffusers_computes_of_the_word(folder, exact, latents):
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder)
    batch = batch_of(exact, latents)
    word = pipeline.tokenizer("red", add_special_tokens=False).input_ids[:1]
    name = pipeline.tokenizer.decode(word)
    with torch.inference_mode():
        states, _, summary, _ = pipeline.encode_prompt(f"a photo of a {name}", do_classifier_free_guidance=False)
        sizes = torch.tensor([[16.0, 16.0, 0, 0, 16.0, 16.0]] * 2) * exact.pixel_size / 16
        noisy = pipeline.scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)
        more = {"text_embeds": summary.repeat(2, 1), "time_ids": sizes}
        output = pipeline.unet(noisy, batch.timesteps, states.repeat(2, 1, 1), added_cond_kwargs=more).sample
    theirs = (output - batch.noise).square().mean()
    ours = exact.losses(exact.anchor(name)[None], batch, "object")[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)


def test_each_encoder_gets_its_part(exact, latents):
    batch, word = batch_of(exact, latents), exact.anchor("dog")
    assert (exact.width, exact.vocabulary().shape[1]) == (80, 80)
    first, second = word.clone(), word.clone()
    first[:32] += 0.5
    second[32:] += 0.5
    base, one, two = exact.losses(torch.stack([word, first, second]), batch, "object").tolist()
    assert len({base, one, two}) == 3


def test_differences_are_exact_where_arithmetic_is(folder, exact, latents):
    carried = CompactEngine(folder, folder / "cache", form=Form(weights="whole", arithmetic=torch.float32))
    batch = batch_of(exact, latents)
    candidates = exact.anchor("dog") + 0.1 * torch.randn(3, 80, generator=torch.Generator().manual_seed(2))
    ours, theirs = carried.losses(candidates, batch, "object"), exact.losses(candidates, batch, "object")
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)


def test_int8_and_bfloat16_pass_the_gate_and_learn(folder, exact, latents):
    engine = CompactEngine(folder, folder / "cache")
    assert cosine(slopes(engine), slopes(exact)) > 0.99
    result = learn(engine, latents, kind="object", class_word="dog", settings=Settings(forwards=80, validation=8))
    assert result.token.shape == (80,)


def test_the_reference_refuses_what_it_cannot_do(folder):
    with pytest.raises(BackboneError, match="two text encoders"):
        TorchEngine(folder)
