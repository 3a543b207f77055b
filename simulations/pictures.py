"""Draws what learned tokens look like, for reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from client.backbone.engine import fingerprint
from client.generate import Request, add_concepts, generate, load_pipeline
from client.vault import Concept

if TYPE_CHECKING:
    from simulations.work import Comparison

STEPS, GUIDANCE = 20, 4.0


def draw_comparisons(
    model: Path, comparisons: Sequence[Comparison], seed: int
) -> dict[str, dict[str, NDArray[np.uint8]]]:
    """Return each newcomer's own pictures and what each search's tokens draw, by label.

    Arrays are uint8 of shape (pictures, side, side, 3): ``photos``, a search's three stages, ``gradient``'s one.
    """
    torch.set_num_threads(2)
    found: dict[str, dict[str, NDArray[np.uint8]]] = {}
    for comparison in comparisons:
        drawn = {name: _draw(model, comparison, tokens, seed) for name, tokens in comparison.tokens.items()}
        photos = [np.asarray(Image.open(f).convert("RGB")) for f in sorted(comparison.photos.glob("*.png"))]
        found[comparison.label] = {"photos": np.stack(photos)} | drawn
    return found


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


def _draw(model: Path, comparison: Comparison, tokens: Sequence[NDArray[np.float32]], seed: int) -> NDArray[np.uint8]:
    """Draw one picture for each token, all from the same noise, through the stock pipeline."""
    pipeline = load_pipeline(model)
    person = comparison.person
    concepts = [
        Concept(
            name=f"stage{i}",
            kind=person.kind,
            class_word=person.class_word,
            backbone=fingerprint(model),
            anchor=tokens[0],
            token=token,
            loss=0.0,
            forwards=0,
        )
        for i, token in enumerate(tokens)
    ]
    add_concepts(pipeline, model, concepts)
    prompt = person.captions[0] if person.captions else "{}"
    pictures = [
        next(
            generate(
                pipeline,
                Request(prompt=prompt.format(f"<{concept.name}>"), seed=seed, steps=STEPS, guidance=GUIDANCE),
                lambda _: None,
            )
        )
        for concept in concepts
    ]
    return np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
