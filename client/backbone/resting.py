"""Networks in their resting form: int8 shards made once, kept beside nothing else, and mapped into memory ever after.

A model's files are quantized tensor by tensor, never as a whole, so that making the int8 form takes hardly more memory
than using it. Loading maps the shards: nothing is copied but norms and biases, and the system may drop and re-read
pages as it pleases.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accelerate import init_empty_weights
from diffusers import UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from client.backbone.stored import SCALE, Scratch, Stored, quantized, store
from common.errors import BackboneError

FORM = "int8-1"
"""Format of the shards: another number is another folder."""

SHARD_BYTES = 64 * 2**20
"""A shard is closed when it holds this much; making one needs that much memory."""

EMBEDDINGS = ("token_embedding.weight",)
"""Never part of a network: the engine looks rows up in it."""


def skeleton(folder: Path, part: str) -> Any:  # noqa: ANN401 - diffusers and transformers have no types
    """Return a part's network without its numbers, in evaluation mode, its linear layers `Stored`."""
    with init_empty_weights():
        if part == "unet":
            network: Any = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / part))
        else:
            config = CLIPTextConfig.from_pretrained(folder / part)
            projects = "CLIPTextModelWithProjection" in (config.architectures or ())
            network = (CLIPTextModelWithProjection if projects else CLIPTextModel)(config)
            network.set_input_embeddings(nn.Identity())  # the engine looks words up where the table lies
    store(network, Scratch())
    return network.eval().requires_grad_(requires_grad=False)


def weights(folder: Path, part: str) -> Iterator[tuple[str, Tensor]]:
    """Yield a part's tensors by name, each read on its own: nothing stays mapped."""
    for file in weight_files(folder, part):
        with safe_open(file, framework="pt") as opened:
            names = list(opened.keys())
        for name in names:
            with safe_open(file, framework="pt") as opened:
                yield name.removeprefix("text_model."), opened.get_tensor(name)


def weight_files(folder: Path, part: str) -> list[Path]:
    """Return the safetensors of a part; variants such as ``.fp16.`` only where there is nothing else.

    Raises:
        BackboneError: there are none.
    """
    found = sorted((folder / part).glob("*.safetensors"))
    plain = [file for file in found if file.stem.count(".") == 0]
    if not found:
        raise BackboneError(f"{folder / part} holds no safetensors: convert the model, pickles are never loaded")
    return plain or found


def rest(folder: Path, part: str, network: nn.Module, cache: Path, fingerprint: str) -> list[Path]:
    """Return the int8 shards of a part, made and kept below ``cache`` where they are not there yet.

    They appear whole or not at all: a killed process leaves a draft, which the next one does not look at.
    """
    place = cache / fingerprint[:32] / FORM / part
    if not place.exists():
        draft = place.with_name(f"{place.name}-{secrets.token_hex(4)}.draft")
        draft.mkdir(parents=True)
        try:
            _write_shards(folder, part, network, draft)
            draft.replace(place)
        except OSError as error:
            if not place.exists():  # else another process was first
                raise BackboneError(f"{place} cannot be written ({error.strerror}): make room there") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return sorted(place.glob("*.safetensors"))


def _write_shards(folder: Path, part: str, network: nn.Module, draft: Path) -> None:
    kinds = {name: layer for name, layer in network.named_modules() if isinstance(layer, Stored)}
    shard: dict[str, Tensor] = {}
    for name, tensor in weights(folder, part):
        layer = kinds.get(_bare(name, network).removesuffix(".weight"))
        if name.endswith(EMBEDDINGS):
            continue
        if layer is not None and name.endswith(".weight"):
            whole, scale = quantized(tensor)
            shard[name] = whole if layer.geometry is None else _channels_last(whole)
            shard[name.removesuffix("weight") + SCALE] = scale
        else:
            shard[name] = tensor.float()
        if sum(t.nbytes for t in shard.values()) > SHARD_BYTES:
            shard = _close(shard, draft)
    _close(shard, draft)


def _close(shard: dict[str, Tensor], draft: Path) -> dict[str, Tensor]:
    file = draft / f"{len(list(draft.glob('*.safetensors'))):04d}.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in shard.items()}, file)
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
    return {}


def _channels_last(weight: Tensor) -> Tensor:
    """Return (out, in, h, w) as (out, h, w, in): safetensors keep an order of axes, not of memory."""
    return weight.permute(0, 2, 3, 1).contiguous()


def load_int8(folder: Path, part: str, cache: Path, fingerprint: str) -> nn.Module:
    """Return a part's network on mapped int8 weights, everything else float32.

    Raises:
        BackboneError: the model's files or the shards do not hold this network.
    """
    network: nn.Module = skeleton(folder, part)
    tensors: dict[str, Tensor] = {}
    for file in rest(folder, part, network, cache, fingerprint):
        try:
            with safe_open(file, framework="pt") as opened:
                tensors |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
        except SafetensorError as error:
            raise BackboneError(f"{file} is damaged ({error}): delete {file.parent}, it is made again") from error
    _fill(network, tensors, f"{folder / part}")
    return network


def load_whole(folder: Path, part: str) -> nn.Module:
    """Return a part's network on its file's own weights, mapped: the yardstick for what int8 loses.

    Raises:
        BackboneError: the model's files do not hold this network.
    """
    network: nn.Module = skeleton(folder, part)
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder, part):
        with safe_open(file, framework="pt") as opened:
            tensors |= {name.removeprefix("text_model."): opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    _fill(network, tensors, f"{folder / part}")
    return network


def _bare(name: str, network: nn.Module) -> str:
    """Return a tensor's name within the network: a text encoder with a projection keeps the rest one level down."""
    inner = isinstance(network, CLIPTextModelWithProjection) and not name.startswith("text_projection")
    return f"text_model.{name}" if inner else name


def _fill(network: nn.Module, tensors: dict[str, Tensor], place: str) -> None:
    """Give each layer its numbers by name; norms and biases are copied and float32."""
    named = {_bare(name, network): tensor for name, tensor in tensors.items() if not name.endswith(EMBEDDINGS)}
    for path, layer in network.named_modules():
        if isinstance(layer, Stored) and f"{path}.weight" in named:
            weight, scale = named.pop(f"{path}.weight"), named.pop(f"{path}.{SCALE}", None)
            if layer.geometry is not None and scale is not None:
                weight = weight.permute(0, 3, 1, 2)
            layer.rest(weight, scale)
    small = {name: tensor.float().clone() for name, tensor in named.items() if not name.endswith("position_ids")}
    network.load_state_dict(small, strict=False, assign=True)
    network.requires_grad_(requires_grad=False)
    missing = [name for name, tensor in network.state_dict().items() if tensor.is_meta]
    if missing:
        raise BackboneError(f"{place} lacks {missing[0]}: it is not the network that its config.json describes")


def embedding_table(folder: Path, part: str) -> Tensor:
    """Return a text encoder's table of token embeddings, shape (V, d), mapped and in its file's own precision.

    Raises:
        BackboneError: there is none.
    """
    for file in weight_files(folder, part):
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - not a dict
                if name.endswith(EMBEDDINGS):
                    table: Tensor = opened.get_tensor(name)
                    return table
    raise BackboneError(f"{folder / part} holds no token embeddings: it is no CLIP text encoder")
