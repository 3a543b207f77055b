"""Draws pictures from a prompt in which concepts stand as `<my-dog>`."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from client.backbone.engine import fingerprint
from client.backbone.prompts import sayings
from client.backbone.schedulers import check_steps
from client.files import write_whole
from client.placeholder import mentioned, word
from client.spoken import Spoken, Stages, stage_word
from client.version import version
from common.errors import BackboneError, ConfigError

LARGEST_SEED = 2**63 - 1
ONE_STAGE = Stages(timesteps=(0, 1), counts={})
"""Of a pipeline whose concepts are the same at every step."""

STEERED_NOISE = 0.9
"""η of DDIM (arXiv:2010.02502, Eq. 16) while particles are steered: at 1 a first step from pure noise takes the root of
less than nothing, by rounding."""

MOST_STEPS = 1000
"""As many as the timesteps that the models are trained on."""


class Steering(Protocol):
    """What chooses among several drawings of a picture while they are drawn: `client.taste.steering`."""

    @property
    def particles(self) -> int:
        """How many are drawn at once."""

    def begin(self, seed: int) -> list[int]:
        """Begin a picture; return the particles' seeds."""

    def turned(
        self,
        pipeline: Any,  # noqa: ANN401 - diffusers has no types
        timesteps: list[float],
        step: int,
        latents: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Return what the pipeline's own variables are to become after a step."""

    def best(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the best of the finished particles, shape (1, channels, height, width)."""


class Token(Protocol):
    """What generating needs to know of a concept: a `client.vault.Concept` is one."""

    @property
    def name(self) -> str:
        """What stands between the brackets: its name, and its strength if that is not 1."""

    @property
    def backbone(self) -> str:
        """Fingerprint of the backbone that it was learned on."""

    @property
    def token(self) -> NDArray[np.float32]:
        """Its vectors, stage by stage, one after the other or as rows: shape (tokens * width,) or (tokens, width)."""

    @property
    def stages(self) -> int:
        """How many stages of denoising have vectors of their own; 1 is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which pictures are wanted."""

    prompt: str
    negative: str = ""
    count: int = 1
    seed: int = 0
    """Seed of the first picture; the next ones take the seeds that follow."""
    tasteful: tuple[str, str] | None = None
    """The prompt with a taste in it and with the taste's anchor (`client.taste.words`); None is without."""
    strength: float = 1.0
    """How much of what the first says and the second does not is added to what the prompt says; 0 is nothing."""
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
        if self.steps > MOST_STEPS:
            raise ConfigError(f"steps must be at most {MOST_STEPS}, got {self.steps}")
        if not math.isfinite(self.strength):
            raise ConfigError(f"strength must be a number, got {self.strength}")
        if not (math.isfinite(self.guidance) and self.guidance >= 0):
            raise ConfigError(f"guidance must be a number >= 0, got {self.guidance}")

    @property
    def seeds(self) -> range:
        """The seed of each picture, in their order."""
        return range(self.seed, self.seed + self.count)


class _StoppedError(Exception):
    """Carries a wish to stop out of the middle of a pipeline's run."""


def load_pipeline(folder: Path, *, device: str = "cpu") -> Any:  # noqa: ANN401 - diffusers has no types
    """Load a `StableDiffusionPipeline`, or an XL one, in single precision from a local folder, safetensors only.

    Raises:
        BackboneError: the folder holds no such pipeline.
    """
    large = (folder / "text_encoder_2").is_dir()
    kind = StableDiffusionXLPipeline if large else StableDiffusionPipeline
    unchecked = {"add_watermarker": False} if large else {"safety_checker": None, "requires_safety_checker": False}
    try:
        pipeline = kind.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, **unchecked
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise BackboneError(
            f"{folder} cannot be loaded as a Stable Diffusion pipeline ({type(error).__name__}): "
            "name one in safetensors with --model or SHOAL_MODEL"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def add_concepts(pipeline: Any, folder: Path, concepts: Sequence[Token]) -> Stages:  # noqa: ANN401 - as above
    """Teach a pipeline the tokens of concepts, as `learned_embeds.safetensors` would; return their stages.

    XL's two text encoders each get their part of a vector.

    Raises:
        BackboneError: a concept was learned on another backbone.
    """
    if not concepts:
        return ONE_STAGE
    own = fingerprint(folder)
    for concept in concepts:
        if concept.backbone != own:
            raise BackboneError(
                f"<{concept.name}> was learned on model {concept.backbone[:12]}, this is {own[:12]}: "
                "name that model with --model, or learn it again on this one"
            )
        plain = word(concept.name)
        for number, vectors in enumerate(np.array(concept.token, np.float32).reshape(concept.stages, -1)):
            said = plain if concept.stages == 1 else stage_word(concept.name, number)
            _teach(pipeline, said, torch.from_numpy(vectors))
    counts = {concept.name: concept.stages for concept in concepts}
    return Stages(timesteps=sayings(folder).timesteps, counts=counts)


def add_taste(pipeline: Any, token: NDArray[np.float32], word: str) -> None:  # noqa: ANN401 - as above
    """Teach a pipeline a taste's vector, shape (width,), as a word that is no concept's; the next takes its place."""
    _teach(pipeline, word, torch.from_numpy(np.array(token, np.float32)))


def _teach(pipeline: Any, word: str, vectors: torch.Tensor) -> None:  # noqa: ANN401 - as above
    """Give each text encoder its part of a word's vectors, shape (vectors * width,).

    A word that is there already gets the new ones: making room for a word goes over the whole vocabulary.
    """
    names = [name for name in ("text_encoder", "text_encoder_2") if getattr(pipeline, name, None) is not None]
    encoders = [getattr(pipeline, name) for name in names]
    widths = [int(encoder.config.hidden_size) for encoder in encoders]
    parts = vectors.view(-1, sum(widths)).split(widths, dim=1)
    for name, encoder, part in zip(names, encoders, parts, strict=True):
        tokenizer = getattr(pipeline, name.replace("text_encoder", "tokenizer"))
        numbers = tokenizer.convert_tokens_to_ids([word, *(f"{word}_{i}" for i in range(1, len(part)))])
        if tokenizer.unk_token_id not in numbers:
            encoder.get_input_embeddings().weight.data[numbers] = part.to(encoder.device, encoder.dtype)
        else:
            pipeline.load_textual_inversion({word: part.contiguous()}, text_encoder=encoder, tokenizer=tokenizer)


def generate(
    pipeline: Any,  # noqa: ANN401 - as above
    request: Request,
    progress: Callable[[float], None],
    stop: Callable[[], bool] = lambda: False,
    stages: Stages = ONE_STAGE,
    steering: Steering | None = None,
) -> Iterator[Image.Image]:
    """Draw what is requested; the pictures come in the order of their seeds, each batch when it is ready.

    Every picture has its own generator, on the CPU, so that neither the batch nor the device changes it.

    Args:
        pipeline: from `load_pipeline`, with the concepts of the prompt added.
        request: what to draw.
        progress: told as the drawing goes on how much was done, in steps of one picture; ``count * steps`` in all.
        stop: asked now and then whether to end early; no picture is given that is not finished.
        stages: from `add_concepts`: at each step the prompt holds the words of its stage.
        steering: draws several particles of each picture and gives the best.

    Raises:
        ConfigError: the pipeline's scheduler cannot draw in that many steps.
    """
    for latents in drawn_latents(pipeline, request, progress, stop, stages, steering):
        yield from decoded(pipeline, latents)


@torch.inference_mode()
def decoded(pipeline: Any, latents: torch.Tensor) -> list[Image.Image]:  # noqa: ANN401 - as above
    """Return the pictures of latents, shape (pictures, channels, height, width)."""
    config = pipeline.vae.config
    latents = latents / config.scaling_factor
    mean, spread = (getattr(config, name, None) for name in ("latents_mean", "latents_std"))  # of some XL models
    if mean is not None and spread is not None:
        latents = latents * latents.new_tensor(spread).view(1, -1, 1, 1) + latents.new_tensor(mean).view(1, -1, 1, 1)
    pixels = pipeline.vae.decode(latents, return_dict=False)[0]
    pictures: list[Image.Image] = pipeline.image_processor.postprocess(pixels, output_type="pil")
    return pictures


def drawn_latents(
    pipeline: Any,  # noqa: ANN401 - as above
    request: Request,
    progress: Callable[[float], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    stages: Stages = ONE_STAGE,
    steering: Steering | None = None,
) -> Iterator[torch.Tensor]:
    """Draw as `generate` does, but give latents, shape (pictures, channels, height, width), a batch at a time."""
    check_steps(pipeline, request.steps)
    guided = request.guidance > 1 and pipeline.unet.config.time_cond_proj_dim is None  # as the pipeline decides it
    with torch.inference_mode():
        towards = (*request.tasteful, request.strength) if request.tasteful else None
        spoken = Spoken(pipeline, stages, request.prompt, request.negative, guided=guided, towards=towards)
        times = pipeline.scheduler.timesteps.tolist()
    at_once = request.batch if steering is None else 1
    for first in range(0, request.count, at_once):
        seeds: Sequence[int] = request.seeds[first : first + at_once]
        share = len(seeds) / (1 if steering is None else steering.particles)
        if steering is not None:
            seeds = steering.begin(seeds[0])

        def told(
            _pipeline: Any,  # noqa: ANN401 - as above
            step: int,
            _time: Any,  # noqa: ANN401
            state: dict[str, Any],
            drawn: int = len(seeds),
            done: float = share,
        ) -> Any:  # noqa: ANN401
            if stop():
                raise _StoppedError
            progress(done * request.steps / pipeline.num_timesteps)  # some schedulers call the model twice a step
            if steering is not None:
                state |= steering.turned(pipeline, times, step, state["latents"])
            return state | spoken.turned(times, step, drawn)

        try:
            with torch.inference_mode():
                batch = pipeline(
                    **spoken.named(times[0], len(seeds)),
                    num_inference_steps=request.steps,
                    guidance_scale=request.guidance,
                    eta=0.0 if steering is None else STEERED_NOISE,
                    generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
                    callback_on_step_end=told,
                    output_type="latent",
                ).images
        except _StoppedError:
            return
        yield batch if steering is None else steering.best(batch)


def description(pipeline: Any, request: Request, seed: int, backbone: str) -> dict[str, str]:  # noqa: ANN401 - as above
    """Return what a picture's file says of how it was made: enough to draw it again, but no prompt and no path."""
    return {
        "Software": f"Shoal {version()}",
        "Concepts": ", ".join(mentioned(request.prompt, request.negative)),
        "Model": backbone,
        "Seed": str(seed),
        "Scheduler": type(pipeline.scheduler).__name__,
        "Steps": str(request.steps),
        "Guidance": str(request.guidance),
    }


def write_picture(picture: Image.Image, seed: int, folder: Path, facts: Mapping[str, str]) -> Path:
    """Write a PNG named by its seed, whole or not at all; a file that is there already is never replaced.

    Args:
        picture: what was drawn.
        seed: from what.
        folder: where to, made if it is missing.
        facts: the file's text chunks (``tEXt``, PNG specification 1.2, 4.2.3).

    Raises:
        ConfigError: the folder cannot be written.
    """
    chunks = PngInfo()
    for key, value in facts.items():
        chunks.add_text(key, value)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=chunks)
    for again in ("", *(f"-{i}" for i in range(2, 10**6))):
        file = folder / f"shoal-{seed}{again}.png"
        try:
            write_whole(file, buffer.getvalue())
        except FileExistsError:
            continue
        except OSError as error:
            told = f"{folder} cannot be written ({error.strerror}): choose another place with --out"
            raise ConfigError(told) from error
        return file
    raise ConfigError(f"{folder} is full of pictures of seed {seed}: choose another place with --out")
