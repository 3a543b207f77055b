"""The compact engine beside the others: the same losses, and slopes that survive bfloat16."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from client.backbone.compact import EXACT, CompactEngine, Form
from client.backbone.engine import TorchEngine
from client.backbone.gate import cosine, slopes
from client.backbone.latents import draw_batch
from client.learn.search import learn
from client.learn.settings import Settings

POINTS = Form(differences=False)
"""int8 and bfloat16, but each candidate as it is."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def exact(tiny_backbone, cache):
    return CompactEngine(tiny_backbone, cache, form=EXACT)


@pytest.fixture(scope="module")
def compact(tiny_backbone, cache):
    return CompactEngine(tiny_backbone, cache)


@pytest.fixture(scope="module")
def latents(compact):
    side = compact.pixel_size
    return compact.encode(np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8))


def batch_of(engine, latents, draws=4):
    return draw_batch(latents, draws, engine.timesteps, engine.templates("object"), torch.Generator().manual_seed(1))


def candidates_of(engine, count=3):
    return engine.anchor("dog") + 0.1 * torch.randn(count, engine.width, generator=torch.Generator().manual_seed(2))


def test_float32_throughout_is_what_transformers_and_diffusers_compute(tiny_backbone, exact, latents):
    plain = TorchEngine(tiny_backbone, int8=False)
    batch, candidates = batch_of(exact, latents), candidates_of(exact)
    ours, theirs = exact.losses(candidates, batch, "object"), plain.losses(candidates, batch, "object")
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)


def test_differences_are_exact_where_arithmetic_is(tiny_backbone, cache, exact, latents):
    form = Form(weights="whole", arithmetic=torch.float32)
    carried = CompactEngine(tiny_backbone, cache, form=form)
    batch, candidates = batch_of(exact, latents), candidates_of(exact)
    ours, theirs = carried.losses(candidates, batch, "object"), exact.losses(candidates, batch, "object")
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)


def test_int8_losses_agree_with_quanto(tiny_backbone, cache, latents):
    quanto = TorchEngine(tiny_backbone)
    ours = CompactEngine(tiny_backbone, cache, form=Form(arithmetic=torch.float32))
    batch, candidates = batch_of(ours, latents), candidates_of(ours)
    # quanto quantizes the text encoder's and the U-Net's layers by the same rule: what is left is float32's rounding.
    torch.testing.assert_close(
        ours.losses(candidates, batch, "object"), quanto.losses(candidates, batch, "object"), rtol=1e-4, atol=0
    )


def test_slopes_survive_bfloat16_as_differences_and_not_as_points(tiny_backbone, cache, exact, compact):
    points = CompactEngine(tiny_backbone, cache, form=POINTS)
    true = slopes(exact)
    assert cosine(slopes(compact), true) > 0.99
    assert cosine(slopes(points), true) < 0.95, "bfloat16 is fine enough here: this test could not fail"


@pytest.mark.parametrize("form", [Form(), POINTS, Form(weights="whole", arithmetic=torch.float32)], ids=str)
def test_states_are_float32_whatever_the_arithmetic(tiny_backbone, cache, exact, form):
    engine = CompactEngine(tiny_backbone, cache, form=form)
    plain = TorchEngine(tiny_backbone, int8=form.weights == "int8")
    near = engine.anchor("dog") + 0.02 * torch.eye(engine.width)[:3]
    captions = ("a {}", "red {} in a style")
    told, theirs = (each.states(near, "object", [1], captions) for each in (engine, plain))
    assert told.dtype == torch.float32
    moved, truly = told[1:] - told[0], theirs[1:] - theirs[0]
    assert (moved - truly).norm() < 0.02 * truly.norm(), "of what near candidates differ in, rounding left little"
    assert not torch.allclose(told, engine.states(near, "object", [0], captions))


def test_a_batch_of_candidates_scores_each_as_alone(tiny_backbone, cache, latents):
    engine = CompactEngine(tiny_backbone, cache, form=Form(arithmetic=torch.float32))
    batch, candidates = batch_of(engine, latents), candidates_of(engine)
    alone = torch.cat([engine.losses(c[None], batch, "object") for c in candidates])
    torch.testing.assert_close(engine.losses(candidates, batch, "object"), alone, rtol=1e-4, atol=0)


def test_losses_do_not_depend_on_how_a_batch_is_cut(tiny_backbone, cache, latents):
    engine = CompactEngine(tiny_backbone, cache, form=Form(arithmetic=torch.float32))
    batch, candidates = batch_of(engine, latents), candidates_of(engine)
    whole = engine.losses(candidates, batch, "object")
    for pixels in (1, 2 * 64, 3 * 64, 7 * 64):
        engine._slices.pixels = pixels
        torch.testing.assert_close(engine.losses(candidates, batch, "object"), whole, rtol=1e-5, atol=0)


def test_a_whole_learning_needs_no_gradient_and_repeats(compact, latents):
    settings = Settings(forwards=80, validation=8)
    one, two = (learn(compact, latents, kind="object", class_word="dog", settings=settings) for _ in range(2))
    assert one.forwards > 0
    np.testing.assert_array_equal(one.token, two.token)
    assert not any(p.requires_grad for p in compact._unet.parameters())


def test_a_noise_prediction_is_scored_against_noise(tiny_backbone, cache, latents, tmp_path):
    folder = tmp_path / "epsilon"
    shutil.copytree(tiny_backbone, folder)
    config = folder / "scheduler" / "scheduler_config.json"
    said = json.loads(config.read_text())
    assert said["prediction_type"] == "v_prediction", "Stable Diffusion 2.x predicts v: the other tests hold that"
    config.write_text(json.dumps(said | {"prediction_type": "epsilon", "rescale_betas_zero_snr": False}))
    ours, plain = CompactEngine(folder, cache, form=EXACT), TorchEngine(folder, int8=False)
    batch, candidates = batch_of(ours, latents), candidates_of(ours)
    losses = ours.losses(candidates, batch, "object")
    torch.testing.assert_close(losses, plain.losses(candidates, batch, "object"), rtol=1e-5, atol=0)
    by_v = CompactEngine(tiny_backbone, cache, form=EXACT).losses(candidates, batch, "object")
    assert not torch.allclose(losses, by_v, rtol=1e-2)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_the_same_slopes_on_a_gpu(tiny_backbone, cache, exact, device):
    there = torch.cuda.is_available() if device == "cuda" else torch.backends.mps.is_available()
    if not there:
        pytest.skip(f"NO {device.upper()} HERE: nothing of it was tested")
    engine = CompactEngine(tiny_backbone, cache, device=device)
    assert cosine(slopes(engine), slopes(exact)) > 0.99


@pytest.fixture(params=["differences", "quanto"])
def engine(request, tiny_backbone, cache):
    if request.param == "quanto":
        return TorchEngine(tiny_backbone)
    return CompactEngine(tiny_backbone, cache, form=Form(arithmetic=torch.float32))


def test_a_memory_that_is_too_small_is_no_end(engine, latents, monkeypatch):
    batch, candidates, unet, calls = batch_of(engine, latents), candidates_of(engine), engine._unet, []
    whole = engine.losses(candidates, batch, "object"), engine.residuals(candidates, batch, "object")

    def small(sample, *given, **named):
        calls.append(len(sample))
        if len(sample) > 5:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return unet(sample, *given, **named)

    monkeypatch.delattr(engine, "_unet")
    monkeypatch.setattr(engine, "_unet", small, raising=False)
    torch.testing.assert_close(engine.losses(candidates, batch, "object"), whole[0], rtol=1e-5, atol=0)
    torch.testing.assert_close(engine.residuals(candidates, batch, "object"), whole[1], rtol=1e-3, atol=1e-5)
    assert calls[0] == 12
    assert max(calls[-3:]) <= 5


def test_nothing_outside_a_mask_counts(engine, latents, monkeypatch):
    masks = torch.zeros(3, 8, 8)
    masks[:, :, 4:] = 1
    here, everywhere = batch_of(engine, latents.masked(masks)), batch_of(engine, latents)
    candidates, unet = candidates_of(engine), engine._unet
    before = engine.losses(candidates, here, "object"), engine.losses(candidates, everywhere, "object")

    def wrong_on_the_left(*given, **named):
        (output,) = unet(*given, **named)
        output[:, :, :, :4] += 3
        return (output,)

    monkeypatch.delattr(engine, "_unet")
    monkeypatch.setattr(engine, "_unet", wrong_on_the_left, raising=False)
    torch.testing.assert_close(engine.losses(candidates, here, "object"), before[0])
    assert (engine.losses(candidates, everywhere, "object") > before[1] + 1).all()


def test_a_white_mask_changes_nothing(engine, latents):
    white = latents.masked(torch.ones(3, 16, 16))
    candidates = candidates_of(engine)
    ours = engine.losses(candidates, batch_of(engine, white), "object")
    torch.testing.assert_close(ours, engine.losses(candidates, batch_of(engine, latents), "object"))


def test_a_mask_of_any_size_weighs_as_much(latents):
    masks = torch.zeros(3, 16, 16)
    masks[0, :4, :4], masks[1], masks[2, 3, 3] = 1, 0.5, 1
    weights = latents.masked(masks).weights
    torch.testing.assert_close(weights.mean(dim=(1, 2, 3)), torch.ones(3))
    assert (weights[0, 0, 2:, 2:] == 0).all()


def test_captions_are_what_is_said(engine, latents):
    said = latents.captioned(["a photo of a {}"] * 3)
    other = latents.captioned(["a {}", "red {} in a style", "the {}"])
    candidates = candidates_of(engine)
    plain = engine.losses(candidates, batch_of(engine, latents), "object")
    # Drawing no template leaves the generator elsewhere, but everything else of a draw comes before it.
    torch.testing.assert_close(engine.losses(candidates, batch_of(engine, said), "object"), plain)
    assert not torch.allclose(engine.losses(candidates, batch_of(engine, other), "object"), plain, rtol=1e-5)


def test_two_vectors_stand_side_by_side(engine, latents):
    batch = batch_of(engine, latents)
    words = engine.anchor("dog"), engine.anchor("cat")
    pair = engine.losses(torch.stack([torch.cat(words), torch.cat(words[::-1])]), batch, "object")
    said = latents.captioned(["a photo of a {} cat"] * 3)
    one = engine.losses(words[0][None], batch_of(engine, said), "object")
    torch.testing.assert_close(pair[:1], one, rtol=1e-5, atol=0)
    assert abs(float(pair[0] - pair[1])) > 1e-7


def test_masks_that_cannot_be_meant_are_refused(latents):
    with pytest.raises(ValueError, match="black"):
        latents.masked(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match="as many"):
        latents.masked(torch.ones(2, 8, 8))
    with pytest.raises(ValueError, match="as many"):
        latents.captioned(["a {}"])


def test_an_anchor_stands_for_each_vector(engine, monkeypatch):
    word = engine.anchor("dog")
    monkeypatch.setattr(engine, "vectors", 3)
    assert torch.equal(engine.anchor("dog"), torch.cat([word, word, word]))


def test_two_vectors_are_learned_together(engine, latents, monkeypatch):
    monkeypatch.setattr(engine, "vectors", 2)
    result = learn(engine, latents, kind="object", class_word="dog", settings=Settings(forwards=96, validation=8))
    moved = torch.from_numpy(result.token - result.anchor).view(2, engine.width).norm(dim=1)
    assert result.loss <= result.start_loss
    assert len(result.token) == 2 * engine.width
    assert (moved > 0).all() or (moved == 0).all(), "one vector moved without the other"
