"""Checkpoints of a learning: written whole or not at all, resumed bit for bit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from common.errors import ShoalError

FORMAT = "shoal-learning-1"


class CheckpointError(ShoalError):
    """A checkpoint cannot be used: it is damaged or of another learning."""


def write_checkpoint(path: Path, tensors: dict[str, Tensor], facts: dict[str, object]) -> None:
    """Replace ``path`` atomically; after a crash it holds the old state or the new, never a mixture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    content = save(own, {"format": FORMAT, "facts": json.dumps(facts)})
    draft = path.with_suffix(".tmp")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Return what `write_checkpoint` wrote.

    Raises:
        CheckpointError: the file is damaged or of another format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copies lie as new tensors do: arithmetic on unaligned memory may round otherwise.
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): delete it to begin this learning again") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of this version: delete it to begin this learning again")
    return tensors, json.loads(metadata["facts"])
