"""Stable Diffusion 2.x: v-prediction and the penultimate layer of a wider encoder, beside what diffusers computes."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline

from client.backbone.compact import EXACT, CompactEngine, Form
from client.backbone.engine import TorchEngine
from client.backbone.gate import cosine, slopes
from client.backbone.latents import Latents, draw_batch
from client.learn.search import learn
from client.learn.settings import Settings
from simulations.benchmarks.shapes import TEXTS, UNETS, write_shape


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_shape("tiny-2", tmp_path_factory.mktemp("two") / "two", dtype=torch.float32)


@pytest.fixture(scope="module")
def exact(folder):
    return CompactEngine(folder, folder / "cache", form=EXACT)


@pytest.fixture(scope="module")
def latents():
    mean = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    return Latents(mean=mean, spread=torch.full_like(mean, 0.1))


def batch_of(engine, latents):
    return draw_batch(latents, 2, engine.timesteps, engine.templates("object"), torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["compact", "quanto"])
def test_a_word_as_candidate_is_what_diffusers_computes_of_the_word(folder, exact, latents, kind):
    engine = exact if kind == "compact" else TorchEngine(folder, int8=False)
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    batch = batch_of(engine, latents)
    name = pipeline.tokenizer.decode(pipeline.tokenizer("red", add_special_tokens=False).input_ids[:1])
    with torch.inference_mode():
        states, _ = pipeline.encode_prompt(f"a photo of a {name}", "cpu", 1, do_classifier_free_guidance=False)
        noisy = pipeline.scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)
        output = pipeline.unet(noisy, batch.timesteps, states.repeat(2, 1, 1)).sample
        signal = pipeline.scheduler.alphas_cumprod[batch.timesteps].view(-1, 1, 1, 1)
    velocity = signal.sqrt() * batch.noise - (1 - signal).sqrt() * batch.latents
    theirs = (output - velocity).square().mean()
    ours = engine.losses(engine.anchor(name)[None], batch, "object")[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    assert not torch.isclose(ours, (output - batch.noise).square().mean(), rtol=1e-2)


def test_a_prompt_is_filled_up_with_the_tokenizer_s_own_word(folder, exact):
    (text,) = exact._texts
    assert text.tokenizer.pad_token_id == text.tokenizer.convert_tokens_to_ids("!")
    assert json.loads((folder / "text_encoder" / "config.json").read_text())["hidden_act"] == "gelu"


def test_differences_are_exact_where_arithmetic_is(folder, exact, latents):
    carried = CompactEngine(folder, folder / "cache", form=Form(weights="whole", arithmetic=torch.float32))
    batch = batch_of(exact, latents)
    candidates = exact.anchor("dog") + 0.1 * torch.randn(3, 64, generator=torch.Generator().manual_seed(2))
    ours, theirs = carried.losses(candidates, batch, "object"), exact.losses(candidates, batch, "object")
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)


def test_int8_and_bfloat16_pass_the_gate_and_learn(folder, exact, latents):
    engine = CompactEngine(folder, folder / "cache")
    assert cosine(slopes(engine), slopes(exact)) > 0.99
    result = learn(engine, latents, kind="object", class_word="dog", settings=Settings(forwards=80, validation=8))
    assert result.token.shape == (64,)


def test_the_true_shape_is_2_1_s():
    assert (UNETS["sd2"]["cross_attention_dim"], TEXTS["sd2"]["hidden_size"]) == (1024, 1024)
    assert TEXTS["sd2"]["num_hidden_layers"] == 23, "the last of 24 layers is left out"
