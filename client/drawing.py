"""`shoal generate` from a prompt to files: with which model, concepts and settings, and what is told meanwhile."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from client.backbone.choice import check_device, use_threads
from client.backbone.engine import fingerprint
from client.backbone.folder import find_backbone, sampling
from client.backbone.prompts import sayings
from client.backbone.schedulers import use_scheduler
from client.generate import Request, add_concepts, description, generate, load_pipeline, write_picture
from client.lesson import Listener
from client.taste.known import taste_token
from client.taste.standing import STRENGTH
from client.taste.steering import Steering, check_steerable
from client.taste.words import tasteful
from client.terminal import drawing_bar, pausing
from client.vault import Vault
from common.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Which pictures a person asks for; what is None the model or chance decides."""

    prompt: str
    negative: str = ""
    count: int = 1
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    scheduler: str | None = None
    batch: int = 4
    device: str = "cpu"
    threads: int | None = None
    """Of PyTorch, for the whole process; None leaves them as they are."""
    folder: Path = Path()
    """Where the PNG files go."""
    taste: bool = False
    """Whether to draw what the person likes."""
    strength: float = STRENGTH
    """How far the taste is followed in the prompt; 0 leaves the prompt as it is."""
    particles: int = 1
    """Drawings of each picture, of which steering towards the taste gives one."""

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if self.particles < 1:
            raise ConfigError(f"--particles must be at least 1, got {self.particles}")
        if not self.taste and (self.particles > 1 or self.strength != STRENGTH):
            raise ConfigError("--strength and --particles say how a taste is followed: add --taste")


def draw(order: Order, model: str | None, home: Path, console: Console) -> tuple[Path, ...]:
    """Draw pictures and write each when it is ready; return the files, fewer than ordered if it was stopped.

    Raises:
        ShoalError: a concept, the scheduler or the model is unknown, or the folder cannot be written.
    """
    check_device(order.device)
    use_threads(order.threads)
    folder = find_backbone(model)
    request = _request(order, folder)
    steering = None
    concepts = Vault(home).taught(order.prompt, order.negative)
    with console.status("loading the model"):
        pipeline = load_pipeline(folder, device=order.device)
        if order.scheduler is not None:
            use_scheduler(pipeline, order.scheduler)
        stages = add_concepts(pipeline, folder, concepts)
        if order.taste:
            request, steering = _tasteful(order, request, pipeline, folder, home, console)
    backbone, written = fingerprint(folder), list[Path]()
    with drawing_bar(console, request.count * request.steps) as progress, pausing() as stop:
        for seed, picture in zip(
            request.seeds, generate(pipeline, request, progress, stop, stages, steering), strict=False
        ):
            file = write_picture(picture, seed, order.folder, description(pipeline, request, seed, backbone))
            console.print(f"wrote {file}", markup=False, highlight=False, soft_wrap=True)
            written.append(file)
    if steering is not None:
        more = (steering.particles - 1) * len(written) * request.steps * (2 if request.guidance > 1 else 1)
        told = f"steering took {steering.forwards + more} forwards more: {steering.forwards} of them for rewards"
        console.print(told)
    if len(written) < request.count:
        console.print(f"stopped: {len(written)} of {request.count} pictures are drawn")
    return tuple(written)


def _tasteful(
    order: Order,
    request: Request,
    pipeline: Any,  # noqa: ANN401 - diffusers has no types
    folder: Path,
    home: Path,
    console: Console,
) -> tuple[Request, Steering | None]:
    """Return the request with the taste in its prompt, and what steers its pictures, if anything does."""
    listener = Listener(says=console.print, progress=lambda _: None, stop=lambda: False)
    token, anchor = taste_token(home, pipeline, folder, listener)
    said = sayings(folder)
    followed = tasteful(pipeline, said, order.prompt, token, anchor)
    asked = replace(request, tasteful=followed, strength=order.strength)
    if order.particles == 1:
        return asked, None
    check_steerable(pipeline)
    return asked, Steering.towards(pipeline, followed, order.prompt, said.timesteps, order.particles)


def _request(order: Order, folder: Path) -> Request:
    best = sampling(folder)
    return Request(
        prompt=order.prompt,
        negative=order.negative,
        count=order.count,
        seed=secrets.randbelow(2**31) if order.seed is None else order.seed,
        steps=best.steps if order.steps is None else order.steps,
        guidance=best.guidance if order.guidance is None else order.guidance,
        batch=order.batch,
    )
