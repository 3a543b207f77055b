"""What is said to a text encoder: templates, captions, and where in them the learned vectors stand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from common.errors import BackboneError

TEMPLATES = {
    "object": ("a photo of a {}",),
    "style": ("a picture in the style of {}",),
    "taste": ("{}",),
}
"""Prompts of a learning, by kind; a backbone's folder may bring its own in ``shoal.json``."""

TASTES = (
    "photograph", "painting", "watercolor", "oil", "sketch", "ink", "pastel", "cartoon", "anime", "comic", "poster",
    "pixel", "clay", "origami", "vintage", "retro", "modern", "minimalist", "ornate", "abstract", "realistic",
    "surreal", "cinematic", "bright", "dark", "colorful", "monochrome", "warm", "cold", "soft", "sharp", "simple",
    "detailed", "cute", "elegant", "gritty", "dreamy", "neon", "golden", "misty",
)  # fmt: skip
"""Words that say how a picture may be: between them a taste is looked for before anything is known of it. A backbone's
folder may bring its own in ``shoal.json``."""

THINGS = ("tree", "car", "boat", "chair", "book", "cup")
"""Words that a style should leave as they are: what they draw is kept apart while it is learned. A backbone's folder
may bring its own in ``shoal.json``."""

COMPANY = "company"
"""Kind of the prompts that have a style and, each, one of a backbone's things."""

TIMESTEPS = (500, 900)
"""[T_L, T_U) of Partial Uniform Timestep Sampling, as measured for Stable Diffusion (ZOODiP, arXiv:2503.14868); a
backbone's folder may bring its own in ``shoal.json``, because where text matters depends on the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sayings:
    """A backbone's own ``templates``, ``timesteps``, ``tastes`` and ``things``, in the ``shoal.json`` of its folder."""

    templates: dict[str, tuple[str, ...]]
    """By kind; of `COMPANY` a thing each."""
    timesteps: tuple[int, int]
    tastes: tuple[str, ...] = TASTES

    def tasteful(self, prompt: str, place: str = "{}") -> str:
        """Return a prompt with a taste said after it; ``place`` is what stands for the taste."""
        return f"{prompt}, {self.templates['taste'][0].replace('{}', place)}"


def sayings(folder: Path) -> Sayings:
    """Return what the folder says, or else what suits Stable Diffusion.

    Raises:
        BackboneError: its ``shoal.json`` cannot be read.
    """
    chosen = folder / "shoal.json"
    try:
        own = json.loads(chosen.read_text()) if chosen.is_file() else {}
        low, high = own.get("timesteps", TIMESTEPS)
        templates = {**TEMPLATES, **{kind: tuple(texts) for kind, texts in own.get("templates", {}).items()}}
        templates[COMPANY] = tuple(f"{thing}, {templates['style'][0]}" for thing in own.get("things", THINGS))
        tastes = tuple(map(str, own.get("tastes", TASTES)))
        return Sayings(templates=templates, timesteps=(int(low), int(high)), tastes=tastes)
    except (ValueError, TypeError, AttributeError) as error:
        raise BackboneError(f"{chosen} cannot be read ({error}): mend it or delete it") from error


def token_ids(tokenizer: CLIPTokenizer, template: str, vectors: int) -> Tensor:
    """Return padded token ids, shape (length,); the learned vectors stand as -1, -2, ... in the place of ``{}``.

    With no vectors the template is said without the concept.

    Raises:
        BackboneError: the template has not exactly one place for them, or they do not fit.
    """
    if template.count("{}") != 1:
        raise BackboneError(f"the caption {template!r} must have {{}} once, where the concept stands")
    before, after = (_ids(tokenizer, part.strip()) for part in template.split("{}"))
    length = int(tokenizer.model_max_length)
    body = [*before, *range(-1, -1 - vectors, -1), *after]
    if len(before) + vectors > length - 2:
        raise BackboneError(f"{vectors} vectors do not fit into a prompt of {length} tokens: ask for fewer")
    ids = [tokenizer.bos_token_id, *body[: length - 2], tokenizer.eos_token_id]
    return torch.tensor(ids + [tokenizer.pad_token_id] * (length - len(ids)))


def word_vector(tokenizer: CLIPTokenizer, table: Tensor, word: str) -> Tensor:
    """Return the embedding of a word, shape (d,): the mean over its tokens; zeros for no word."""
    ids = _ids(tokenizer, word)
    return table[ids].float().mean(dim=0) if ids else torch.zeros(table.shape[1])


def embedded(ids: Tensor, table: Tensor, vectors: Tensor) -> Tensor:
    """Return token embeddings of prompts for every candidate.

    Args:
        ids: shape (prompts, length), with -1, -2, ... where candidates stand.
        table: token embeddings, shape (V, d).
        vectors: the candidates' vectors, shape (candidates, vectors, d), or, where each prompt has candidates of its
            own, (candidates, prompts, vectors, d).

    Returns:
        Shape (candidates, prompts, length, d), float32.
    """
    known = table[ids.clamp(min=0)].float()
    if vectors.shape[-2] == 0:
        return known.expand(len(vectors), *known.shape)
    places = (-1 - ids).clamp(min=0)
    ours = vectors[:, places] if vectors.ndim == 3 else vectors[:, torch.arange(len(ids))[:, None], places]
    return torch.where((ids < 0)[..., None], ours.float(), known)


def _ids(tokenizer: Any, text: str) -> list[int]:  # noqa: ANN401 - transformers has no types
    found: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return found
