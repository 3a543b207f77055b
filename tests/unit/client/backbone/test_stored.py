"""Layers on weights at rest: each beside PyTorch's own on the weights it stands for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from client.backbone.stored import DEEP, Scratch, Stored, gathered, quantized

LAYERS = [
    (nn.Linear(12, 5), (3, 7, 12)),
    (nn.Linear(12, 5, bias=False), (3, 12)),
    (nn.Conv2d(6, 4, 3, padding=1, stride=2), (2, 6, 8, 8)),
    (nn.Conv2d(6, 4, 1), (2, 6, 8, 8)),
]


def at_rest(layer, scratch):
    stored = Stored(layer, scratch)
    whole, scale = quantized(layer.weight)
    if isinstance(layer, nn.Conv2d):
        whole = whole.contiguous(memory_format=torch.channels_last)
    stored.rest(whole, scale)
    return stored, whole.float() * scale.view(-1, *(1,) * (whole.ndim - 1))


@pytest.mark.parametrize(("layer", "shape"), LAYERS)
@torch.inference_mode()
def test_a_layer_at_rest_computes_what_its_weights_stand_for(layer, shape):
    stored, weight = at_rest(layer, Scratch())
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    exact = torch.func.functional_call(layer, {"weight": weight}, x)
    torch.testing.assert_close(stored(x), exact, rtol=1e-5, atol=1e-5)
    half = stored(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, rtol=0.02, atol=0.02)


@torch.inference_mode()
def test_layers_take_turns_with_one_memory():
    scratch = Scratch()
    layers = [at_rest(layer, scratch)[0] for layer, _ in LAYERS]
    inputs = [torch.randn(shape, generator=torch.Generator().manual_seed(1)) for _, shape in LAYERS]
    alone = [at_rest(layer, Scratch())[0](x) for (layer, _), x in zip(LAYERS, inputs, strict=True)]
    for _ in range(2):
        for layer, x, expected in zip(layers, inputs, alone, strict=True):
            assert torch.equal(layer(x), expected)
    assert scratch._memory.numel() == max(layer.weight.numel() for layer, _ in LAYERS)


@pytest.mark.parametrize(("rows", "height", "width"), [(1, 4, 4), (3, 8, 5), (2, 1, 1)])
def test_a_convolution_of_many_channels_is_a_matrix_product_of_the_same_numbers(rows, height, width):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 12, height, width, generator=generator)
    weight = torch.randn(7, 12, 3, 3, generator=generator).contiguous(memory_format=torch.channels_last)
    wanted = torch.nn.functional.conv2d(x, weight, None, 1, 1)
    torch.testing.assert_close(gathered(x, weight), wanted)
    channels_last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(gathered(channels_last, weight), wanted)


@torch.inference_mode()
def test_only_deep_convolutions_of_few_places_in_bfloat16_are(monkeypatch):
    monkeypatch.setattr("client.backbone.stored.FEW", 16)
    seen = []
    monkeypatch.setattr("client.backbone.stored.gathered", lambda x, w: seen.append(len(w)) or gathered(x, w))
    cases = ((DEEP, torch.bfloat16, 4), (DEEP, torch.bfloat16, 5), (DEEP, torch.float32, 4), (8, torch.bfloat16, 4))
    for channels, dtype, side in cases:
        layer = nn.Conv2d(channels, channels, 3, padding=1)
        stored, weight = at_rest(layer, Scratch())
        x = torch.randn(1, channels, side, side)
        wanted = torch.func.functional_call(layer, {"weight": weight}, x)
        assert (stored(x.to(dtype)).float() - wanted).norm() < 0.01 * wanted.norm()
    assert seen == [DEEP]
