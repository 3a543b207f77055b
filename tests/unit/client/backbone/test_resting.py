"""int8 shards: made once, whole or not at all, and mapped ever after."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from client.backbone import resting
from client.backbone.resting import load_int8, load_whole, rest, skeleton, weight_files, weights
from client.backbone.stored import Stored, quantized
from common.errors import BackboneError


def test_quantized_weights_are_within_half_a_step_and_zeros_stay():
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    weight[2] = 0
    whole, scale = quantized(weight)
    back = whole * scale[:, None, None, None]
    assert ((back - weight).abs() <= 0.5001 * scale[:, None, None, None]).all()
    assert (back[2] == 0).all()
    assert int(whole.abs().max()) == 127


def test_a_network_rests_in_int8_and_little_else(tiny_backbone, tmp_path):
    network = load_int8(tiny_backbone, "unet", tmp_path, "f" * 64)
    layers = [layer for layer in network.modules() if isinstance(layer, Stored)]
    assert layers
    assert all(layer.weight.dtype == torch.int8 for layer in layers)
    original = dict(weights(tiny_backbone, "unet"))
    name, layer = next((n, m) for n, m in network.named_modules() if isinstance(m, Stored) and m.geometry)
    back = layer.weight.float() * layer.scale[:, None, None, None]
    torch.testing.assert_close(back, original[f"{name}.weight"], rtol=0, atol=float(layer.scale.max()) / 1.9)


def test_the_second_time_nothing_is_made(tiny_backbone, tmp_path, monkeypatch):
    first = rest(tiny_backbone, "unet", skeleton(tiny_backbone, "unet"), tmp_path, "f" * 64)
    monkeypatch.setattr(resting, "quantized", lambda _weight: pytest.fail("quantized again"))
    assert rest(tiny_backbone, "unet", skeleton(tiny_backbone, "unet"), tmp_path, "f" * 64) == first


def test_another_model_has_other_shards(tiny_backbone, tmp_path):
    network = skeleton(tiny_backbone, "unet")
    one = rest(tiny_backbone, "unet", network, tmp_path, "f" * 64)
    two = rest(tiny_backbone, "unet", network, tmp_path, "e" * 64)
    assert not set(one) & set(two)


def test_a_failure_in_the_middle_leaves_nothing_that_counts(tiny_backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(resting, "SHARD_BYTES", 1000)
    calls = []

    def failing(weight):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return quantized(weight)

    monkeypatch.setattr(resting, "quantized", failing)
    with pytest.raises(KeyboardInterrupt):
        load_int8(tiny_backbone, "unet", tmp_path, "f" * 64)
    assert not list(tmp_path.rglob("*.safetensors"))
    monkeypatch.setattr(resting, "quantized", quantized)
    load_int8(tiny_backbone, "unet", tmp_path, "f" * 64)
    assert len(list(tmp_path.rglob("*.safetensors"))) > 5


def test_a_damaged_shard_is_named_with_the_remedy(tiny_backbone, tmp_path):
    file = rest(tiny_backbone, "unet", skeleton(tiny_backbone, "unet"), tmp_path, "f" * 64)[0]
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(BackboneError, match="delete"):
        load_int8(tiny_backbone, "unet", tmp_path, "f" * 64)


def test_a_model_that_lacks_a_layer_is_refused(tiny_backbone, tmp_path):
    folder = tmp_path / "lacking"
    shutil.copytree(tiny_backbone, folder)
    file = weight_files(folder, "unet")[0]
    tensors = load_file(file)
    del tensors["conv_in.weight"]
    save_file(tensors, file)
    with pytest.raises(BackboneError, match="conv_in"):
        load_int8(folder, "unet", tmp_path / "cache", "f" * 64)
    with pytest.raises(BackboneError, match="conv_in"):
        load_whole(folder, "unet")


def test_the_names_of_older_text_encoders_are_known(tiny_backbone, tmp_path):
    folder = tmp_path / "older"
    shutil.copytree(tiny_backbone, folder)
    file = weight_files(folder, "text_encoder")[0]
    with safe_open(file, framework="pt") as opened:
        save = {f"text_model.{name}": opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    save_file(save, file)
    ours, theirs = load_whole(folder, "text_encoder"), load_whole(tiny_backbone, "text_encoder")
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))
