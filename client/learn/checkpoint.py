"""Checkpoints of a learning: written whole or not at all, resumed bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from client.files import write_whole
from common.errors import ShoalError

FORMAT = "shoal-learning-2"


class CheckpointError(ShoalError):
    """A checkpoint cannot be used: it is damaged or of another learning."""


class Store(Protocol):
    """Where a checkpoint lies: a `Path`, or something that seals what it is given and replaces it whole."""

    def exists(self) -> bool:
        """Return whether there is one."""
        ...

    def read_bytes(self) -> bytes:
        """Return all of it."""
        ...

    def write_bytes(self, data: bytes, /) -> int:
        """Replace all of it."""
        ...


def write_checkpoint(path: Store, tensors: dict[str, Tensor], facts: dict[str, object]) -> None:
    """Replace ``path`` atomically; after a crash it holds the old state or the new, never a mixture."""
    own = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    content = save(own, {"format": FORMAT, "facts": json.dumps(facts)})
    if isinstance(path, Path):
        write_whole(path, content, replace=True)
    else:
        path.write_bytes(content)


def read_checkpoint(path: Store) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Return what `write_checkpoint` wrote.

    Raises:
        CheckpointError: the file is damaged or of another format.
    """
    try:
        data = path.read_bytes()
        # Copies lie as new tensors do: arithmetic on unaligned memory may round otherwise.
        tensors = {key: tensor.clone() for key, tensor in load(data).items()}
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): delete it to begin this learning again") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of this version: delete it to begin this learning again")
    return tensors, json.loads(metadata["facts"])
