"""Layers that work on parts, and on the base alone while candidates do not differ: the same numbers, less work."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention import FeedForward

from client.backbone import differences
from client.backbone.compact import EXACT, CompactEngine, Form
from client.backbone.differences import Curved, Rows, carry_differences, stretches
from client.backbone.latents import Latents, draw_batch
from common.errors import BackboneError

FLOAT = Form(weights="whole", arithmetic=torch.float32)
DRAWS, CANDIDATES = 2, 3


@pytest.fixture
def carried(tiny_backbone, tmp_path):
    return CompactEngine(tiny_backbone, tmp_path, form=FLOAT)


def case_of(engine):
    random = torch.Generator().manual_seed(0)
    mean = torch.randn(3, *engine.latent_shape, generator=random)
    latents = Latents(mean=mean, spread=torch.full_like(mean, 0.1))
    batch = draw_batch(latents, DRAWS, engine.timesteps, engine.templates("object"), random)
    return engine.anchor("dog") + 0.1 * torch.randn(CANDIDATES, engine.width, generator=random), batch


def give_channels_weights_of_their_own(engine):
    random = torch.Generator().manual_seed(1)
    for norm in (layer for layer in engine._unet.modules() if isinstance(layer, torch.nn.GroupNorm)):
        norm.weight.copy_(1 + 0.3 * torch.randn(len(norm.weight), generator=random))
        norm.bias.copy_(0.3 * torch.randn(len(norm.bias), generator=random))


def rows_seen(engine, layer, case):
    seen = []
    layer.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    engine.losses(*case, "object")
    return seen


@pytest.mark.parametrize(("numbers", "places"), [(1, 1), (100, 3), (1000, 5), (2**30, 2**30)])
def test_parts_give_what_the_whole_gives(tiny_backbone, tmp_path, carried, monkeypatch, numbers, places):
    monkeypatch.setattr(differences, "AT_ONCE", numbers)
    monkeypatch.setattr(differences, "PLACES_AT_ONCE", places)
    exact, case = CompactEngine(tiny_backbone, tmp_path, form=EXACT), case_of(carried)
    for engine in (carried, exact):
        give_channels_weights_of_their_own(engine)
    ours, theirs = (engine.residuals(*case, "object") for engine in (carried, exact))
    torch.testing.assert_close(ours[1:] - ours[0], theirs[1:] - theirs[0], rtol=1e-3, atol=2e-6)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("unit", [1, 4])
def test_stretches_cover_a_dimension_once_and_are_small(monkeypatch, unit):
    monkeypatch.setattr(differences, "AT_ONCE", 100)
    x = torch.zeros(2, 24, 5)
    found = list(stretches(x, 1, unit))
    assert [place for start, length in found for place in range(start, start + length)] == list(range(24))
    assert all(length % unit == 0 and x[:, :length].numel() <= 100 for _, length in found)
    assert len(found) == 3
    assert list(stretches(x.to("meta"), 1, unit)) == [(0, 24)], "a GPU is not fed in morsels"


def test_what_comes_before_the_first_text_is_computed_for_the_base_alone(carried):
    case, unet = case_of(carried), carried._unet
    block = next(m for m in unet.modules() if type(m).__name__ == "BasicTransformerBlock")
    for layer in (unet.conv_in.layer, block.attn1.to_q.layer):
        assert rows_seen(carried, layer, case) == [DRAWS]
    assert rows_seen(carried, block.attn2.to_q.layer, case) == [DRAWS * CANDIDATES]
    assert rows_seen(carried, unet.conv_out.layer, case) == [DRAWS * CANDIDATES]


def test_a_call_that_broke_off_early_leaves_the_next_one_right(carried):
    case = case_of(carried)
    before = carried.losses(*case, "object")

    def run_out(*_):
        raise KeyboardInterrupt

    broken = carried._unet.conv_in.register_forward_pre_hook(run_out)
    with pytest.raises(KeyboardInterrupt):
        carried.losses(*case, "object")
    broken.remove()
    assert carried._rows.alike, "it broke off where candidates were alike"
    torch.testing.assert_close(carried.losses(*case, "object"), before, rtol=0, atol=0)


@torch.inference_mode()
@pytest.mark.parametrize("affine", [True, False])
def test_a_norm_with_and_without_weights_of_its_own(monkeypatch, affine):
    monkeypatch.setattr(differences, "AT_ONCE", 50)
    norm = torch.nn.GroupNorm(3, 6, affine=affine)
    points = torch.randn(2 * CANDIDATES, 6, 4, 4, generator=torch.Generator().manual_seed(2))
    rows = Rows(candidates=CANDIDATES)
    found = differences.together(Curved(norm, rows)(differences.apart(points.clone(), rows, torch.float32)), rows)
    torch.testing.assert_close(found, norm(points))


@pytest.mark.parametrize("kind", ["gelu", "geglu-approximate", "swiglu"])
def test_a_feed_forward_layer_of_another_kind_is_refused_not_taken_for_linear(kind):
    network = torch.nn.ModuleList([FeedForward(8, activation_fn=kind)])
    with pytest.raises(BackboneError, match="choose --engine quanto"):
        carry_differences(network, Rows())
