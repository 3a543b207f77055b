"""Draws pictures with the Pictograms backbone, one seed for each, so that a batch's size changes nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from client import generate


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How pictures are drawn: DDIM steps, classifier-free guidance, pictures at a time."""

    steps: int = 20
    guidance: float = 4.0
    batch: int = 16


def default_folder() -> Path:
    """Return the backbone's folder: SHOAL_MODEL, or the one that comes with the installed client."""
    if chosen := os.environ.get("SHOAL_MODEL"):
        return Path(chosen)
    spec = find_spec("client")  # found, not imported: only its place is wanted
    base = Path(spec.origin).parent if spec and spec.origin else Path("client")
    return base / "backbone" / "pictograms"


def load_pipeline(folder: Path) -> Any:  # noqa: ANN401 - diffusers' pipelines are untyped
    """Load a pipeline as `shoal generate` does, on the GPU where there is one.

    Raises:
        BackboneError: there is no pipeline in the folder.
    """
    return generate.load_pipeline(folder, device="cuda" if torch.cuda.is_available() else "cpu")


@torch.inference_mode()
def draw(pipeline: Any, captions: Sequence[str], seed: int, settings: Sampling) -> NDArray[np.uint8]:  # noqa: ANN401
    """Draw one picture for each caption, uint8 of shape (captions, side, side, 3).

    The i-th picture starts from noise with the seed (seed, i), whatever the others are.
    """
    parts = []
    for start in range(0, len(captions), settings.batch):
        part = list(captions[start : start + settings.batch])
        noises = [torch.Generator().manual_seed(1_000_003 * seed + start + i) for i in range(len(part))]
        drawn = pipeline(
            part,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            generator=noises,
            output_type="np",
        ).images
        parts.append((np.clip(drawn, 0, 1) * 255).round().astype(np.uint8))
    return np.concatenate(parts)
