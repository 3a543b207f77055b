"""`shoal learn` from photos to vault: what is taught, with which prior, and what is told meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from client.backbone.choice import Name as EngineName
from client.backbone.choice import open_engine
from client.backbone.engine import Engine
from client.backbone.folder import find_backbone
from client.backbone.latents import Latents
from client.course import Course, watching
from client.learn.published import PUBLISHED_FORWARDS, learn_as_published
from client.learn.search import learn
from client.learn.settings import Learned, Progress, Settings
from client.photos import load_photos, stack
from client.placeholder import placeholder
from client.priors import admit_backbone, current_prior
from client.terminal import learning_bar, pausing
from client.unfinished import checkpoint_path, forget_unfinished
from client.vault import Concept, Vault
from common.errors import ConfigError, PriorError
from common.prior import Prior

MODELS = "models"
"""Below the person's folder: int8 forms of models, and what the gate found of engines on them."""

REASONS = {
    "plateau": "it stopped getting better",
    "budget": "the budget was spent",
    "paused": "it was stopped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a person asks to be learned."""

    photos: Sequence[Path]
    name: str
    kind: Literal["object", "style"]
    class_word: str = ""
    forwards: int | None = None
    """Budget in forward passes; None is the learner's own."""
    seed: int = 0
    published: bool = False
    """Whether to learn by the published algorithm instead of ours."""
    engine: EngineName = "auto"
    device: str = "cpu"
    threads: int | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be learned, before anything is loaded."""
        placeholder(self.name)
        if self.kind == "object" and not self.class_word:
            raise ConfigError("an object needs --class, the common word for what it is, as in --class dog")
        if self.forwards is not None and self.forwards < 1:
            raise ConfigError(f"--forwards must be at least 1, got {self.forwards}")


def teach(lesson: Lesson, model: str | None, home: Path, console: Console) -> bool:
    """Learn a concept and keep it; return whether it is learned, or else paused.

    Raises:
        ShoalError: the name is taken, no photo is usable, the model or the vault is not.
    """
    vault = Vault(home)
    if any(concept.name == lesson.name for concept in vault.concepts()):
        raise ConfigError(f"<{lesson.name}> was taught already: choose another --name, or shoal forget {lesson.name}")
    with console.status("loading the model"):
        engine = _engine(lesson, model, home, console)
        pixels = _pixels(lesson, engine.pixel_size, console)
        latents = engine.encode(pixels)
    admit_backbone(home, engine.fingerprint, engine.width)
    prior = None if lesson.published else _prior(home, engine.fingerprint, lesson.kind, console)
    what = f"{lesson.kind}/{lesson.class_word}/{lesson.engine}/{lesson.device}"
    checkpoint = checkpoint_path(home, lesson.name, what, pixels)
    with learning_bar(console, f"learning <{lesson.name}>") as progress, pausing() as stop:
        watch = watching(Course(home), lesson.name, checkpoint.stem)
        learned = _learn(engine, latents, lesson, prior, checkpoint, progress, stop, watch)
    if learned.reason == "paused":
        again = "it starts anew next time" if lesson.published else "the same command goes on from here"
        console.print(f"paused after {learned.forwards} forwards: {again}")
        return False
    vault.save_concept(_concept(lesson, engine.fingerprint, learned))
    Course(home).note(lesson.name, checkpoint.stem, learned.forwards, learned.token)
    forget_unfinished(home, lesson.name)
    _tell(lesson, learned, console)
    return True


def _engine(lesson: Lesson, model: str | None, home: Path, console: Console) -> Engine:
    return open_engine(
        find_backbone(model),
        home / MODELS,
        lesson.engine,
        device=lesson.device,
        threads=lesson.threads,
        told=lambda text: console.print(text, highlight=False),
    )


def _learn(
    engine: Engine,
    latents: Latents,
    lesson: Lesson,
    prior: Prior | None,
    checkpoint: Path,
    progress: Callable[[Progress], None],
    stop: Callable[[], bool],
    watch: Callable[[int, Any], None],
) -> Learned:
    common: dict[str, Any] = {
        "kind": lesson.kind, "class_word": lesson.class_word, "progress": progress, "stop": stop,
    }  # fmt: skip
    if lesson.published:
        forwards = PUBLISHED_FORWARDS if lesson.forwards is None else lesson.forwards
        return learn_as_published(engine, latents, forwards=forwards, seed=lesson.seed, **common)
    settings = Settings(seed=lesson.seed)
    if lesson.forwards is not None:
        settings = replace(settings, forwards=lesson.forwards)
    return learn(engine, latents, settings=settings, prior=prior, checkpoint=checkpoint, watch=watch, **common)


def _pixels(lesson: Lesson, size: int, console: Console) -> NDArray[np.uint8]:
    photos, refusals = load_photos(lesson.photos, size)
    for refusal in refusals:
        console.print(f"skipped {refusal.name}: {refusal.reason}", markup=False, highlight=False)
    console.print(f"learning from {len(photos)} photo{'s' if len(photos) > 1 else ''}")
    return stack(photos)


def _prior(home: Path, backbone: str, kind: str, console: Console) -> Prior | None:
    """Return the federation's prior; one that cannot be trusted is left out, the learning goes on without."""
    try:
        return current_prior(home, backbone, kind)
    except PriorError as error:
        console.print(f"learning without the federation's prior: {error}", markup=False, highlight=False)
        return None


def _concept(lesson: Lesson, backbone: str, learned: Learned) -> Concept:
    return Concept(
        name=lesson.name,
        kind=lesson.kind,
        class_word=lesson.class_word,
        backbone=backbone,
        anchor=learned.anchor,
        token=learned.token,
        loss=learned.loss,
        forwards=learned.forwards,
    )


def _tell(lesson: Lesson, learned: Learned, console: Console) -> None:
    better = 100 * (1 - learned.loss / learned.start_loss)
    told = f"loss {learned.start_loss:.4f} -> {learned.loss:.4f}, {better:.1f} % better"
    example = f"<{lesson.name}>" if lesson.kind == "object" else f"a house, <{lesson.name}> style"
    console.print(
        f"learned <{lesson.name}> with {learned.forwards} forwards ({told}); {REASONS[learned.reason]}\n"
        f'try: shoal generate "{example}"',
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
