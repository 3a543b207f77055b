"""Writes learned tokens the way other programs load them: diffusers, ComfyUI and AUTOMATIC1111."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from client.files import write_whole
from client.placeholder import placeholder
from client.vault import Concept
from client.version import version
from common.errors import ConfigError

FILE_NAME = "learned_embeds.safetensors"
"""What diffusers looks for in a folder (diffusers 0.42, `TEXT_INVERSION_NAME_SAFE`)."""

Layout = Literal["diffusers", "comfyui", "a1111"]
SUFFIXES: dict[Layout, str] = {"diffusers": ".safetensors", "comfyui": ".safetensors", "a1111": ".pt"}

SDXL_WIDTHS = {"clip_l": 768, "clip_g": 1280}
"""The two text encoders of Stable Diffusion XL, in the order in which it joins their states (arXiv:2307.01952); a
concept of their joint width is one vector for each."""

FIRST_FREE_TOKEN = 265
"""The id AUTOMATIC1111 itself writes for "*" in ``string_to_token``; nothing reads it."""


def write_embedding(
    path: Path, tensors: Mapping[str, NDArray[np.float32]], provenance: Mapping[str, str], *, replace: bool = False
) -> None:
    """Write a safetensors file.

    With one key, the placeholder as prompts use it, diffusers loads it (and refuses more), and so do ComfyUI, which
    takes the first tensor of such a file, and AUTOMATIC1111. SDXL's pair has the keys ``clip_l`` and ``clip_g``, by
    which ComfyUI and AUTOMATIC1111 know it; to diffusers its tensors are given one by one.

    Args:
        path: the file, written whole or not at all.
        tensors: by key, float32 of shape (tokens, width).
        provenance: where the token comes from, for the file's metadata.
        replace: whether a file that is there may go.

    Raises:
        ConfigError: there is no vector, or one is not finite, or the place is taken or cannot be written.
    """
    checked = {key: _checked(vectors) for key, vectors in tensors.items()}
    _write(path, save(checked, metadata={"format": "pt", **provenance}), replace=replace)


def write_a1111(
    path: Path,
    token_name: str,
    vectors: NDArray[np.float32],
    provenance: Mapping[str, str],
    *,
    steps: int,
    replace: bool = False,
) -> None:
    """Write AUTOMATIC1111's ``.pt`` layout: plain tensors in a dictionary, loadable with ``weights_only=True``.

    It is pickled in torch's old way: into the new one, a zip, torch 2.13 puts members that are not on that program's
    list of harmless ones (``modules/safe.py``), and it refuses the file as malicious.

    Args:
        path: the file; that program takes the prompt's word from its name.
        token_name: the placeholder, which diffusers takes from the file.
        vectors: float32 of shape (tokens, width).
        provenance: where the token comes from; all readers pass over it.
        steps: how long it was learned, shown by that program.
        replace: whether a file that is there may go.

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
        "provenance": dict(provenance),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    _write(path, buffer.getvalue(), replace=replace)


def export_concept(
    concept: Concept, path: Path, layout: Layout, *, width: int | None = None, replace: bool = False
) -> tuple[Path, ...]:
    """Write a concept as the other program wants it and return the file, or one for each stage of denoising.

    No other program knows of stages: each file is a token of its own, ``<my-dog-stage-1>`` the noisiest, to be used in
    its part of the steps by that program's own means (docs/more.md).

    Args:
        concept: from the vault.
        path: the file, or a folder, in which the file gets the name that the program looks for.
        layout: which program.
        width: of one vector; None where the concept has only one.
        replace: whether a file that is there may go.

    Raises:
        ConfigError: the file's ending is not that layout's, or as for `write_embedding`.
    """
    file = _file(concept.name, path, layout)
    if concept.stages == 1:
        return (_export(concept, concept.token, placeholder(concept.name), file, layout, width, replace=replace),)
    files = []
    for number, token in enumerate(concept.token.reshape(concept.stages, -1), start=1):
        part = file.with_name(f"{file.stem}-stage-{number}{file.suffix}")
        word = f"<{concept.name}-stage-{number}>"
        files.append(_export(concept, token, word, part, layout, width, replace=replace))
    return tuple(files)


def _file(name: str, path: Path, layout: Layout) -> Path:
    """Return the file that is meant by a file or a folder."""
    suffix = SUFFIXES[layout]
    usual = FILE_NAME if layout == "diffusers" else f"{name}{suffix}"
    file = path if path.suffix and not path.is_dir() else path / usual
    if file.suffix != suffix:
        raise ConfigError(f"{path} does not end in {suffix}: that is what --format {layout} writes")
    return file


def _export(
    concept: Concept,
    token: NDArray[np.float32],
    word: str,
    file: Path,
    layout: Layout,
    width: int | None,
    *,
    replace: bool,
) -> Path:
    """Write the token of one stage, or of all, by its word in prompts."""
    vectors = token.reshape(-1, width or token.size)
    pair = vectors.shape[1] == sum(SDXL_WIDTHS.values())
    if layout == "a1111":
        if pair:
            raise ConfigError(
                "a .pt file has no place for SDXL's two vectors: --format comfyui, AUTOMATIC1111 reads it"
            )
        write_a1111(file, word, vectors, provenance(concept), steps=concept.forwards, replace=replace)
    else:
        tensors = _sdxl(vectors) if pair else {word: vectors}
        write_embedding(file, tensors, provenance(concept), replace=replace)
    return file


def usage(files: tuple[Path, ...], name: str, layout: Layout) -> str:
    """Say in one line how the other program is given a concept's file, the first of several."""
    file = files[0]
    if len(files) > 1:
        name = f"{name}-stage-1"
    if layout == "diffusers":
        return f"pipeline.load_textual_inversion({file.as_posix()!r}), then <{name}> in a prompt"
    program, word = {"comfyui": ("ComfyUI", f"embedding:{file.stem}"), "a1111": ("AUTOMATIC1111", file.stem)}[layout]
    return f"put it into the embeddings folder of {program}, then {word} in a prompt"


def provenance(concept: Concept) -> dict[str, str]:
    """Say where a token comes from: nothing of photos, prompts or folders is in it."""
    return {
        "name": concept.name,
        "kind": concept.kind,
        "backbone": concept.backbone,
        "made_by": f"Shoal {version()}",
    }


def _sdxl(vectors: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return the part of each text encoder."""
    first = SDXL_WIDTHS["clip_l"]
    return {"clip_l": vectors[:, :first], "clip_g": vectors[:, first:]}


def _checked(vectors: NDArray[np.float32]) -> torch.Tensor:
    if vectors.ndim != 2 or vectors.size == 0:
        raise ConfigError(f"an export needs vectors of shape (tokens, width), got {vectors.shape}: learn it again")
    if not np.isfinite(vectors).all():
        raise ConfigError("a learned vector holds NaN or infinity: learn it again")
    return torch.from_numpy(np.array(vectors, np.float32, order="C"))


def _write(path: Path, data: bytes, *, replace: bool) -> None:
    try:
        write_whole(path, data, replace=replace)
    except FileExistsError as error:
        raise ConfigError(f"{path} is there already: --force replaces it, or choose another place") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}): choose another place") from error
