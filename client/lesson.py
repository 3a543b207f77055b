"""`shoal learn` from photos to vault: what is taught, with which prior, and what is told meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from client.backbone.choice import Name as EngineName
from client.backbone.choice import open_engine
from client.backbone.engine import Engine
from client.backbone.folder import find_backbone
from client.backbone.latents import Latents
from client.course import Course, watching
from client.learn.preservation import PRESERVING
from client.learn.published import PUBLISHED_FORWARDS, learn_as_published
from client.learn.search import learn
from client.learn.settings import LEAST, Learned, Progress, Settings
from client.learn.staged import learn_in_stages
from client.photos import Photo, captions_of, listed, load_photos, region_of, stack
from client.placeholder import placeholder
from client.priors import admit_backbone, trusted_prior
from client.taste.standing import NAME as TASTE
from client.taste.starting import proposed_prompt
from client.terminal import learning_bar, pausing
from client.unfinished import Checkpoint, checkpoint_of, delete_unfinished, learning_alone
from client.vault import Concept, Vault
from common.errors import ConfigError
from common.prior import Prior

MODELS = "models"
"""Below the person's folder: int8 forms of models, and what the gate found of engines on them."""

MOST_VECTORS = 16
"""A prompt of Stable Diffusion has 75 places."""

MOST_STAGES = 10
"""As in ProSpect (arXiv:2305.16225); each costs a search of its own."""

REASONS = {
    "plateau": "it stopped getting better",
    "budget": "the budget was spent",
    "paused": "it was stopped",
    "broken": "then its losses were no numbers any more, and the last good token was kept",
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
    vectors: int = 1
    """Vectors of the concept, learned together; more than one are learned without a prior."""
    stages: int = 1
    """Stages of denoising, each with a token of its own."""
    preserve_class: bool = False
    """Whether to keep the concept's meaning near its class's."""
    captions: Literal["none", "files", "names"] = "none"
    """Where what each photo shows is said; else the model's own templates are used."""
    region: str | None = None
    """``masks``, or a box: what of the photos to learn from."""
    again: bool = False
    """Whether to replace what was learned under that name before, once this is learned."""

    def __post_init__(self) -> None:
        """Refuse what could not be learned, before anything is loaded."""
        check_name(self.name)
        if self.kind == "object" and not self.class_word:
            raise ConfigError("an object needs --class, the common word for what it is, as in --class dog")
        if self.forwards is not None and self.forwards < 1:
            raise ConfigError(f"--forwards must be at least 1, got {self.forwards}")
        if not 1 <= self.vectors <= MOST_VECTORS:
            raise ConfigError(f"--vectors must be between 1 and {MOST_VECTORS}, got {self.vectors}")
        if not 1 <= self.stages <= MOST_STAGES:
            raise ConfigError(f"--stages must be between 1 and {MOST_STAGES}, got {self.stages}")
        if self.preserve_class and not self.class_word:
            raise ConfigError("--preserve-class needs --class, the word whose meaning is kept, as in --class dog")
        if self.published and (self.stages > 1 or self.preserve_class):
            raise ConfigError("the published algorithm has neither stages nor a class: leave --reference out")
        if not self.published:
            _ = self.settings

    @property
    def settings(self) -> Settings:
        """How hard the search tries; a budget is shared out among the stages.

        Raises:
            ConfigError: the budget is too small.
        """
        preserve = PRESERVING if self.preserve_class else 0.0
        settings = Settings(seed=self.seed, preserve=preserve)
        if self.forwards is None:
            return settings
        least = LEAST * settings.validation * self.stages
        if self.forwards < least:
            raise ConfigError(f"--forwards must be at least {least} with {self.stages} stage(s), got {self.forwards}")
        return replace(settings, forwards=self.forwards // self.stages)


def check_name(name: str) -> None:
    """Refuse what cannot be a concept's name, or is the name of what a person likes.

    Raises:
        ConfigError: choose another.
    """
    placeholder(name)
    if name == TASTE:
        raise ConfigError("what you like is called taste (shoal rate): choose another --name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who is told of a lesson, and asked whether it is to go on."""

    says: Callable[[str], None]
    """One line for the person."""
    progress: Callable[[Progress], None]
    stop: Callable[[], bool]
    """Asked before each step; True pauses."""


def teach(lesson: Lesson, model: str | None, home: Path, console: Console) -> Learned:
    """Learn a concept at a terminal and keep it, unless Ctrl-C pauses it.

    Raises:
        ShoalError: the name is taken, no photo is usable, the model or the vault is not.
    """

    def says(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    listed(lesson.photos)  # what is not there is told before a passphrase is asked for and a model is loaded
    Vault(home).unlock()  # a question for a passphrase would be drawn over by the bar
    with learning_bar(console, f"learning <{lesson.name}>") as progress, pausing() as stop:
        learned = study(lesson, model, home, Listener(says=says, progress=progress, stop=stop))
    if learned.reason == "paused":
        again = "it starts anew next time" if lesson.published else "the same command goes on from here"
        says(f"paused after {learned.forwards} forwards: {again}")
    else:
        says(_told(lesson, learned))
    return learned


def study(lesson: Lesson, model: str | None, home: Path, listener: Listener) -> Learned:
    """Learn a concept and keep it, unless it is paused, or forgotten meanwhile.

    Raises:
        ShoalError: the name is taken, no photo is usable, the model or the vault is not.
    """
    vault = Vault(home)
    if not lesson.again and any(one.name == lesson.name for one in vault.listed()):
        raise ConfigError(f"<{lesson.name}> was taught already: choose another --name, or shoal forget {lesson.name}")
    with learning_alone(home, lesson.name) as forgotten:
        engine = _engine(lesson, model, home, listener)
        engine.vectors = lesson.vectors
        photos = _photos(lesson, engine.pixel_size, listener)
        pixels = stack(photos)
        latents = _seen(engine.encode(pixels), lesson, photos)
        admit_backbone(home, engine.fingerprint, engine.width)
        alone = lesson.published or lesson.vectors > 1
        prior = None if alone else trusted_prior(home, engine.fingerprint, lesson.kind, listener.says)
        what = f"{lesson.kind}/{lesson.class_word}/{lesson.engine}/{lesson.device}/{latents.told()}/{lesson.vectors}"
        what += f"/{lesson.stages}/{lesson.preserve_class}"

        def store(part: str) -> Checkpoint:
            return checkpoint_of(home, lesson.name, f"{what}/{part}", pixels)

        learning = store("").name

        def stop() -> bool:
            return forgotten() or listener.stop()

        watch = watching(Course(home), lesson.name, learning)
        learned = _learn(engine, latents, lesson, prior, store, listener.progress, stop, watch)
        if learned.reason != "paused" and not forgotten():
            vault.save_concept(_concept(lesson, engine.fingerprint, learned))
            Course(home).note(lesson.name, learning, learned.forwards, learned.token)
            delete_unfinished(home, lesson.name)
        if forgotten():
            delete_unfinished(home, lesson.name)
    return learned


def _engine(lesson: Lesson, model: str | None, home: Path, listener: Listener) -> Engine:
    return open_engine(
        find_backbone(model),
        home / MODELS,
        lesson.engine,
        device=lesson.device,
        threads=lesson.threads,
        by="losses" if lesson.published else "predictions",
        told=listener.says,
    )


def _learn(
    engine: Engine,
    latents: Latents,
    lesson: Lesson,
    prior: Prior | None,
    store: Callable[[str], Checkpoint],
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
    common |= {"settings": lesson.settings, "prior": prior, "watch": watch}
    if lesson.stages > 1:
        return learn_in_stages(engine, latents, stages=lesson.stages, store=store, **common)
    return learn(engine, latents, checkpoint=store(""), **common)


def _photos(lesson: Lesson, size: int, listener: Listener) -> list[Photo]:
    photos, refusals = load_photos(lesson.photos, size)
    for refusal in refusals:
        listener.says(f"skipped {refusal.name}: {refusal.reason}")
    listener.says(f"learning from {len(photos)} photo{'s' if len(photos) > 1 else ''}")
    return photos


def _seen(latents: Latents, lesson: Lesson, photos: Sequence[Photo]) -> Latents:
    """Return the photos' latents with what is said of them and where they are looked at."""
    if lesson.captions != "none":
        latents = latents.captioned(captions_of(photos, lesson.name, lesson.captions))
    if lesson.region is not None:
        latents = latents.masked(torch.from_numpy(region_of(photos, lesson.region, photos[0].pixels.shape[0])))
    return latents


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


def _told(lesson: Lesson, learned: Learned) -> str:
    better = 100 * (1 - learned.loss / learned.start_loss)
    told = f"loss {learned.start_loss:.4f} -> {learned.loss:.4f}, {better:.1f} % better"
    example = proposed_prompt(lesson.kind, lesson.name)
    return (
        f"learned <{lesson.name}> with {learned.forwards} forwards ({told}); {REASONS[learned.reason]}\n"
        f'try: shoal generate "{example}"'
    )
