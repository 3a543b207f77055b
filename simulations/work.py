"""What a worker process of a demo does: one person's learning, or one newcomer's comparison."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from client.backbone.engine import Engine, TorchEngine
from client.backbone.latents import Latents
from client.learn.search import learn
from client.learn.settings import Settings
from client.photos import load_photos, stack
from client.priors import current_prior
from client.vault import Concept
from common.prior import Prior
from simulations.lockstep import in_lockstep
from simulations.population import Person
from simulations.trials import Course, Target, evaluation_of, ours, reference, target_of
from simulations.vaults import virtual_vault

NAME = "mine"
"""What every simulated person calls their concept."""

PUBLISHED = "zoodip_reference"
"""The published algorithm's search, in reports."""

CHECKPOINT = "learning.safetensors"
"""In a person's folder, while they learn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Where things are and how hard to try; the same for every worker."""

    model: Path
    people: Path
    """Folder of the people's state folders, one a number."""
    settings: Settings
    reference_budget: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One newcomer's searches with and without the prior, beside the baselines."""

    person: Person
    photos: Path
    anchor_loss: float
    gradient_loss: float
    target: float
    forwards: dict[str, int | None]
    """Forwards to target by search; None where the target was not met within the budget."""
    curves: dict[str, list[tuple[int, float]]]
    tokens: dict[str, list[NDArray[np.float32]]]
    """Anchor, a token on the way, and the last one, by search."""
    start: str
    seconds: float
    memory: float

    @property
    def label(self) -> str:
        """How a report names this newcomer."""
        return f"{self.person.subject} ({self.person.number})"


_engines: dict[tuple[Path, bool], TorchEngine] = {}


def engine_of(model: Path, *, int8: bool) -> TorchEngine:
    """Load a backbone once a process."""
    torch.set_num_threads(1)
    if (model, int8) not in _engines:
        _engines[model, int8] = TorchEngine(model, int8=int8)
    return _engines[model, int8]


def peak_memory_mb() -> float:
    """Return this process's largest resident set, in MB of 10^6 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def latents_of(engine: Engine, job: Job, person: Person) -> Latents:
    """Encode a person's pictures, with their captions where they gave some."""
    photos, refused = load_photos(job.people / str(person.number) / "photos", engine.pixel_size)
    if refused:
        raise ValueError(f"the pictures of person {person.number} could not be read: {refused}")
    latents = engine.encode(stack(photos))
    return latents.captioned(person.captions) if person.captions else latents


def learn_and_keep(job: Job, person: Person) -> dict[str, Any]:
    """Learn a person's concept with the prior in their vault, and leave it there for the next round."""
    begun = time.monotonic()
    engine = engine_of(job.model, int8=True)
    folder = job.people / str(person.number)
    prior = current_prior(folder, engine.fingerprint, person.kind)
    result = learn(
        engine,
        latents_of(engine, job, person),
        kind=person.kind,
        class_word=person.class_word,
        settings=replace(job.settings, seed=person.number),
        prior=prior,
        checkpoint=folder / CHECKPOINT,
    )
    concept = Concept(
        name=NAME,
        kind=person.kind,
        class_word=person.class_word,
        backbone=engine.fingerprint,
        anchor=result.anchor,
        token=result.token,
        loss=result.loss,
        forwards=result.forwards,
    )
    virtual_vault(folder).save_concept(concept)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return {
        "person": person.number,
        "forwards": result.forwards,
        "start_loss": result.start_loss,
        "loss": result.loss,
        "reason": result.reason,
        "start": result.start,
        "prior_version": prior.version if prior else 0,
        "seconds": time.monotonic() - begun,
        "memory": peak_memory_mb(),
    }


def compare_with_own_prior(job: Job, person: Person) -> Comparison:
    """Compare with the prior that the newcomer's own vault received from the federation."""
    fingerprint = engine_of(job.model, int8=True).fingerprint
    return compare(job, person, current_prior(job.people / str(person.number), fingerprint, person.kind))


def compare(job: Job, person: Person, prior: Prior | None) -> Comparison:
    """Let a newcomer learn with and without the prior, from the same seed."""
    begun = time.monotonic()
    engine = engine_of(job.model, int8=True)
    latents = latents_of(engine, job, person)
    anchor = engine.anchor(person.class_word)
    yardstick = engine_of(job.model, int8=False)
    target = target_of(yardstick, engine, latents, anchor, person.kind, person.number)
    settings = replace(job.settings, seed=person.number)
    word, kind = person.class_word, person.kind
    without, _ = ours(engine, latents, word, kind, target, settings, None)
    guided, learned = ours(engine, latents, word, kind, target, settings, prior)
    courses = {"with_prior": guided, "without_prior": without}
    return Comparison(
        person=person,
        photos=job.people / str(person.number) / "photos",
        anchor_loss=target.anchor_loss,
        gradient_loss=target.gradient_loss,
        target=target.loss,
        forwards={name: course.reached for name, course in courses.items()},
        curves={name: course.points for name, course in courses.items()},
        tokens=_stages(anchor.numpy(), courses, target),
        start=learned.start,
        seconds=time.monotonic() - begun,
        memory=peak_memory_mb(),
    )


def compare_with_published(job: Job, compared: Sequence[Comparison]) -> list[Comparison]:
    """Let newcomers of a kind learn by the published algorithm too, in step with each other, from the same seeds."""
    begun = time.monotonic()
    engine = engine_of(job.model, int8=True)

    def search(comparison: Comparison, seat: Engine) -> Comparison:
        person, latents = comparison.person, latents_of(seat, job, comparison.person)
        target = Target(
            evaluation=evaluation_of(engine, latents, person.kind, person.number),
            anchor_loss=comparison.anchor_loss,
            gradient_loss=comparison.gradient_loss,
            gradient_token=torch.from_numpy(comparison.tokens["gradient"][0]),
        )
        word, budget = person.class_word, job.reference_budget
        course = reference(seat, latents, word, person.kind, target, budget, person.number)
        stages = _stages(engine.anchor(word).numpy(), {PUBLISHED: course}, target)
        return replace(
            comparison,
            forwards=comparison.forwards | {PUBLISHED: course.reached},
            curves=comparison.curves | {PUBLISHED: course.points},
            tokens=comparison.tokens | stages,
        )

    found = in_lockstep(engine, [partial(search, comparison) for comparison in compared])
    seconds = (time.monotonic() - begun) / len(compared)
    return [replace(each, seconds=each.seconds + seconds, memory=peak_memory_mb()) for each in found]


def _stages(
    anchor: NDArray[np.float32], courses: dict[str, Course], target: Target
) -> dict[str, list[NDArray[np.float32]]]:
    """Pick the tokens to draw: before, while, after; and the yardstick's."""
    stages = {
        name: [anchor, course.tokens[len(course.tokens) // 2].numpy(), course.tokens[-1].numpy()]
        for name, course in courses.items()
    }
    return stages | {"gradient": [target.gradient_token.numpy()]}
