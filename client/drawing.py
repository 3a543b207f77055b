"""`shoal generate` from a prompt to files: with which model, concepts and settings, and what is told meanwhile."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from client.backbone.choice import check_device, use_threads
from client.backbone.engine import fingerprint
from client.backbone.folder import find_backbone, sampling
from client.backbone.schedulers import use_scheduler
from client.generate import Request, add_concepts, description, generate, load_pipeline, write_picture
from client.placeholder import mentioned
from client.terminal import drawing_bar, pausing
from client.vault import Vault


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


def draw(order: Order, model: str | None, home: Path, console: Console) -> tuple[Path, ...]:
    """Draw pictures and write each when it is ready; return the files, fewer than ordered if it was stopped.

    Raises:
        ShoalError: a concept, the scheduler or the model is unknown, or the folder cannot be written.
    """
    check_device(order.device)
    use_threads(order.threads)
    folder = find_backbone(model)
    request = _request(order, folder)
    concepts = [Vault(home).concept(name) for name in mentioned(order.prompt, order.negative)]
    with console.status("loading the model"):
        pipeline = load_pipeline(folder, device=order.device)
        if order.scheduler is not None:
            use_scheduler(pipeline, order.scheduler)
        stages = add_concepts(pipeline, folder, concepts)
    backbone, written = fingerprint(folder), list[Path]()
    with drawing_bar(console, request.count * request.steps) as progress, pausing() as stop:
        for seed, picture in zip(request.seeds, generate(pipeline, request, progress, stop, stages), strict=False):
            file = write_picture(picture, seed, order.folder, description(pipeline, request, seed, backbone))
            console.print(f"wrote {file}", markup=False, highlight=False, soft_wrap=True)
            written.append(file)
    if len(written) < request.count:
        console.print(f"stopped: {len(written)} of {request.count} pictures are drawn")
    return tuple(written)


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
