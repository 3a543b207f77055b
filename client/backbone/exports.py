"""Writes learned tokens the way other programs load them: diffusers, ComfyUI and AUTOMATIC1111."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from client.vault import Concept
from common.errors import ConfigError

FILE_NAME = "learned_embeds.safetensors"
"""What diffusers looks for in a folder (diffusers 0.42, `TEXT_INVERSION_NAME_SAFE`)."""

Layout = Literal["diffusers", "a1111"]
SUFFIXES: dict[Layout, str] = {"diffusers": ".safetensors", "a1111": ".pt"}

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST_NAME = 40

FIRST_FREE_TOKEN = 265
"""The id AUTOMATIC1111 itself writes for "*" in ``string_to_token``; nothing reads it."""


def placeholder(name: str) -> str:
    """Return the word that stands for a concept in prompts: ``<my-dog>``.

    Raises:
        ConfigError: the name would not survive every tokenizer.
    """
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no name for a concept: use up to {LONGEST_NAME} of a-z, 0-9 and single hyphens, as in my-dog"
        )
    return f"<{name}>"


def write_embedding(path: Path, token_name: str, vectors: NDArray[np.float32], provenance: Mapping[str, str]) -> None:
    """Write a safetensors file with exactly one key, the placeholder; diffusers refuses more.

    Args:
        path: the file, replaced whole or not at all.
        token_name: the placeholder as prompts use it, ``<my-dog>``.
        vectors: float32 of shape (tokens, width).
        provenance: where the token comes from, for the file's metadata.

    Raises:
        ConfigError: there is no vector, or one is not finite, or the place cannot be written.
    """
    tensor = _checked(vectors)
    facts = {"format": "pt", **provenance}
    _replace(path, lambda draft: save_file({token_name: tensor}, draft, metadata=facts))


def write_a1111(path: Path, token_name: str, vectors: NDArray[np.float32], *, steps: int) -> None:
    """Write AUTOMATIC1111's ``.pt`` layout: plain tensors in a dictionary, loadable with ``weights_only=True``.

    Args:
        path: the file; that program takes the prompt's word from its name.
        token_name: the placeholder, which diffusers takes from the file.
        vectors: float32 of shape (tokens, width).
        steps: how long it was learned, shown by that program.

    Raises:
        ConfigError: as for `write_embedding`.
    """
    content = {
        "string_to_token": {"*": FIRST_FREE_TOKEN},
        "string_to_param": {"*": _checked(vectors)},
        "name": token_name,
        "step": steps,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
    }
    _replace(path, lambda draft: torch.save(content, draft))


def export_concept(concept: Concept, path: Path, layout: Layout) -> Path:
    """Write a concept as the other program wants it and return the file.

    Args:
        concept: from the vault.
        path: the file, or a folder, in which the file gets the name that the program looks for.
        layout: which program.

    Raises:
        ConfigError: the file's ending is not that layout's, or as for `write_embedding`.
    """
    suffix, usual = SUFFIXES[layout], FILE_NAME if layout == "diffusers" else f"{concept.name}.pt"
    file = path if path.suffix and not path.is_dir() else path / usual
    if file.suffix != suffix:
        raise ConfigError(f"{path} does not end in {suffix}: that is what --format {layout} writes")
    vectors = concept.token[None]
    if layout == "a1111":
        write_a1111(file, placeholder(concept.name), vectors, steps=concept.forwards)
        return file
    facts = {
        "name": concept.name,
        "kind": concept.kind,
        "class_word": concept.class_word,
        "backbone": concept.backbone,
        "forwards": str(concept.forwards),
        "loss": f"{concept.loss:.6f}",
        "made_by": "shoal",
    }
    write_embedding(file, placeholder(concept.name), vectors, facts)
    return file


def _checked(vectors: NDArray[np.float32]) -> torch.Tensor:
    if vectors.ndim != 2 or vectors.size == 0:
        raise ConfigError(f"an export needs vectors of shape (tokens, width), got {vectors.shape}: learn it again")
    if not np.isfinite(vectors).all():
        raise ConfigError("a learned vector holds NaN or infinity: learn it again")
    return torch.from_numpy(np.array(vectors, np.float32))


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    """Write beside the file and move over it, so that nobody ever loads half of one."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(draft)
        draft.replace(path)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise ConfigError(f"{path} cannot be written ({error}): choose another place") from error
