"""Draws pictures from a prompt in which concepts stand as `<my-dog>`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image

from client.backbone.engine import fingerprint
from client.backbone.exports import placeholder
from common.errors import BackboneError, ConfigError

MENTION = re.compile(r"<([^<>\s]+)>")
LARGEST_SEED = 2**63 - 1


class Token(Protocol):
    """What generating needs to know of a concept: a `client.vault.Concept` is one."""

    @property
    def name(self) -> str:
        """Its name, without the brackets."""

    @property
    def backbone(self) -> str:
        """Fingerprint of the backbone that it was learned on."""

    @property
    def token(self) -> NDArray[np.float32]:
        """Its vector, shape (width,), or vectors, shape (tokens, width)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which pictures are wanted."""

    prompt: str
    negative: str = ""
    count: int = 1
    seed: int = 0
    """Seed of the first picture; the next ones take the seeds that follow."""
    steps: int = 30
    guidance: float = 7.5
    batch: int = 4
    """Pictures drawn at once: more need more memory. It never changes a picture."""

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        for name in ("count", "steps", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.seed <= LARGEST_SEED - self.count:
            raise ConfigError(f"seed must be between 0 and {LARGEST_SEED - self.count}, got {self.seed}")
        if not self.guidance >= 0:
            raise ConfigError(f"guidance must be >= 0, got {self.guidance}")


def mentioned(prompt: str) -> list[str]:
    """Return the names of the concepts in a prompt, each once, in their order."""
    return list(dict.fromkeys(MENTION.findall(prompt)))


def load_pipeline(folder: Path, *, device: str = "cpu") -> Any:  # noqa: ANN401 - diffusers has no types
    """Load a `StableDiffusionPipeline` in single precision from a local folder, safetensors only.

    Raises:
        BackboneError: the folder holds no such pipeline.
    """
    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            safety_checker=None,
            requires_safety_checker=False,
            local_files_only=True,
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise BackboneError(
            f"{folder} cannot be loaded as a Stable Diffusion pipeline ({type(error).__name__}): "
            "name one in safetensors with --model or SHOAL_MODEL"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def add_concepts(pipeline: Any, folder: Path, concepts: Sequence[Token]) -> None:  # noqa: ANN401 - as above
    """Teach a pipeline the tokens of concepts, as `learned_embeds.safetensors` would.

    Raises:
        BackboneError: a concept was learned on another backbone.
    """
    if not concepts:
        return
    own = fingerprint(folder)
    for concept in concepts:
        if concept.backbone != own:
            raise BackboneError(
                f"<{concept.name}> was learned on model {concept.backbone[:12]}, this is {own[:12]}: "
                "name that model with --model, or learn it again on this one"
            )
        vectors = torch.from_numpy(np.atleast_2d(np.array(concept.token, np.float32)))
        pipeline.load_textual_inversion({placeholder(concept.name): vectors})


@torch.inference_mode()
def generate(pipeline: Any, request: Request, progress: Callable[[int], None]) -> list[Image.Image]:  # noqa: ANN401
    """Draw what is requested.

    Every picture has its own generator, on the CPU, so that neither the batch nor the device changes it.

    Args:
        pipeline: from `load_pipeline`, with the concepts of the prompt added.
        request: what to draw.
        progress: called after every step of denoising with how many steps' worth of pictures that was.
    """
    prompt = pipeline.maybe_convert_prompt(request.prompt, pipeline.tokenizer)
    seeds = range(request.seed, request.seed + request.count)
    pictures: list[Image.Image] = []
    for first in range(0, request.count, request.batch):
        part = seeds[first : first + request.batch]

        def told(_pipeline: Any, _step: int, _time: Any, state: dict[str, Any], drawn: int = len(part)) -> Any:  # noqa: ANN401
            progress(drawn)
            return state

        pictures += pipeline(
            [prompt] * len(part),
            negative_prompt=[request.negative] * len(part),
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in part],
            callback_on_step_end=told,
        ).images
    return pictures


def write_pictures(pictures: Sequence[Image.Image], seeds: Sequence[int], folder: Path) -> list[Path]:
    """Write PNG files named by seed; a file that is there already is never replaced.

    Raises:
        ConfigError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for picture, seed in zip(pictures, seeds, strict=True):
            names = (f"shoal-{seed}{again}.png" for again in ("", *(f"-{i}" for i in range(2, 10**6))))
            file = next(folder / name for name in names if not (folder / name).exists())
            picture.save(file)
            files.append(file)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written ({error}): choose another place with --out") from error
    return files
