"""Draws what learned tokens look like, for reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from client.backbone.engine import fingerprint
from client.generate import Request, add_concepts, generate, load_pipeline
from client.taught import Taught

if TYPE_CHECKING:
    from simulations.work import Comparison

STEPS, GUIDANCE = 20, 4.0


def draw_comparison(model: Path, comparison: Comparison, seed: int) -> dict[str, NDArray[np.uint8]]:
    """Return a newcomer's own pictures and what each search's tokens draw, all from the same noise.

    Arrays are uint8 of shape (pictures, side, side, 3): ``photos``, a search's three stages, ``gradient``'s one.
    Drawn on one thread, through the stock pipeline: newcomers are drawn side by side.
    """
    torch.set_num_threads(1)
    pipeline, own, person = load_pipeline(model), fingerprint(model), comparison.person
    prompt = person.captions[0] if person.captions else "{}"
    photos = [np.asarray(Image.open(f).convert("RGB")) for f in sorted(comparison.photos.glob("*.png"))]
    taught = {
        search: [Taught(f"{search.replace('_', '-')}-{stage}", own, token) for stage, token in enumerate(tokens)]
        for search, tokens in comparison.tokens.items()
    }
    add_concepts(pipeline, model, [token for some in taught.values() for token in some])
    drawn = {
        search: np.stack([_drawn(pipeline, prompt.format(f"<{token.name}>"), seed) for token in some])
        for search, some in taught.items()
    }
    return {"photos": np.stack(photos)} | drawn


def strip(pictures: dict[str, dict[str, NDArray[np.uint8]]], search: str = "with_prior") -> Image.Image:
    """Return a line for each newcomer: one of their own pictures, then before, while and after learning."""
    gap = 6
    lines = [np.concatenate([drawn["photos"][:1], drawn[search]]) for drawn in pictures.values()]
    height, width = lines[0].shape[1:3]
    columns, half = max(len(line) for line in lines), (len(lines) + 1) // 2  # two newcomers side by side
    sheet = Image.new("RGB", (2 * columns * (width + gap) + 4 * gap, half * (height + gap) + gap), "white")
    for i, line in enumerate(lines):
        left = gap + (i // half) * (columns * (width + gap) + 3 * gap)
        for j, picture in enumerate(line):
            sheet.paste(Image.fromarray(picture), (left + j * (width + gap), gap + (i % half) * (height + gap)))
    return sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.LANCZOS)


def _drawn(pipeline: Any, prompt: str, seed: int) -> NDArray[np.uint8]:  # noqa: ANN401 - diffusers has no types
    """Draw one picture, shape (side, side, 3)."""
    request = Request(prompt=prompt, seed=seed, steps=STEPS, guidance=GUIDANCE)
    [picture] = generate(pipeline, request, lambda _: None)
    return np.asarray(picture.convert("RGB"))
