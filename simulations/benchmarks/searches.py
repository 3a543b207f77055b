"""One person's learnings, each kept in a file: a benchmark that was killed goes on, and others use the same tokens.

Everything is a function of a `Trial`, a person and a way to search. Files are named after all that they depend on (the
backbone's weights and the learner's own source, the person's pictures, budget, prior), so that none is taken for
another's. Whoever wants everything measured anew deletes the folder.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, cast
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import client.learn
from client.backbone.choice import open_engine
from client.backbone.engine import Engine, fingerprint
from client.backbone.latents import Latents
from client.backbone.lexicon import FILE
from client.files import write_whole
from client.learn.photos import AXES
from client.learn.search import learn
from client.learn.settings import Settings
from client.learn.subspace import shaped, vocabulary_covariance
from client.photos import load_photos, stack
from common.prior import Prior, encode_prior
from simulations.demo import MODEL
from simulations.lockstep import in_lockstep
from simulations.population import Person, write_pictures
from simulations.trials import Course, Target, evaluation_of, evolution, ours, reference, target_of
from simulations.work import engine_of

KEPT: Final = Path("build/bench/learned")
"""Where what was learned is kept, unless a benchmark is told otherwise."""

Way = Literal["gradient", "published", "evolution", "ours", "no lexicon", "random axes", "borrowed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How long everybody searches, and where what was learned is kept; the same for all of a run."""

    kept: Path
    descent: int
    """Steps of the gradient."""
    forwards: int
    """Of a newcomer's search."""
    published: int
    """Of the published algorithm and of evolution."""
    taught: dict[str, int]
    """By kind, of the people whom priors are made of."""

    def folder(self) -> Path:
        """Return where this trial's files are."""
        return self.kept / _sources()


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One way to search."""

    name: str
    """In tables."""
    way: Way
    prior: Prior | None = None
    owner: Person | None = None
    """Whose token is taken as it is, where it is borrowed."""
    patience: int | None = None
    """Budget in forwards, where it is not the trial's."""

    def file(self, trial: Trial) -> str:
        """Return a name for the files of what it found, another for every budget and prior."""
        if self.way == "gradient":
            return f"{self.way}-{trial.descent}"
        if self.owner is not None:
            return f"{self.way}-{trial.descent}-{_owned(self.owner)[:12]}"
        digest = hashlib.sha256(encode_prior(self.prior)).hexdigest()[:12] if self.prior else "none"
        return f"{self.way}-{self.budget(trial)}-{digest}".replace(" ", "-")

    def budget(self, trial: Trial) -> int:
        """Return how many forwards it has."""
        if self.patience is not None:
            return self.patience
        return trial.published if self.way in {"published", "evolution"} else trial.forwards


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """What one search on one newcomer's pictures came to."""

    reached: int | None
    """Forwards to target."""
    share: float
    """Of the gradient's improvement, by the token that it ended with."""
    forwards: int
    token: NDArray[np.float32]
    """Shape (width,): what the person would use."""
    start: str


@functools.cache
def _sources() -> str:
    """Return a digest of the backbone, of its lexicon and of the learner's own source."""
    digest = hashlib.sha256(fingerprint(MODEL).encode())
    digest.update((MODEL / FILE).read_bytes())
    for path in sorted(Path(client.learn.__path__[0]).glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@functools.cache
def searcher(kept: Path) -> Engine:
    """Return the engine that people's devices choose for themselves, on one thread; loaded once a process."""
    return open_engine(MODEL, kept / "engines", threads=1)


def latents_of(engine: Engine, person: Person) -> Latents:
    """Encode a person's pictures, with their captions where they gave some."""
    with tempfile.TemporaryDirectory() as folder:
        photos, _ = load_photos(write_pictures(person, Path(folder)), engine.pixel_size)
    latents = engine.encode(stack(photos))
    return latents.captioned(person.captions) if person.captions else latents


def displacement(trial: Trial, person: Person) -> NDArray[np.float32]:
    """Return what one of the crowd would contribute, learned without a prior; shape (width,)."""
    name = f"displacement-{trial.taught[person.kind]}"
    return _once(trial, person, name, lambda: {"displacement": _displacement(trial, person)})["displacement"]


def _displacement(trial: Trial, person: Person) -> NDArray[np.float32]:
    engine = searcher(trial.kept)
    settings = Settings(forwards=trial.taught[person.kind], seed=person.number)
    latents = latents_of(engine, person)
    learned = learn(engine, latents, kind=person.kind, class_word=person.class_word, settings=settings)
    return learned.token - learned.anchor


def _gradient(trial: Trial, person: Person) -> dict[str, NDArray[Any]]:
    return _once(trial, person, f"gradient-{trial.descent}", lambda: _descend(trial, person))


def _descend(trial: Trial, person: Person) -> dict[str, NDArray[Any]]:
    engine, yardstick = searcher(trial.kept), engine_of(MODEL, int8=False)
    latents, anchor = latents_of(engine, person), engine.anchor(person.class_word)
    seen: list[tuple[int, Tensor]] = []

    def watch(forwards: int, token: Tensor) -> None:
        seen.append((forwards, token.clone()))

    target = target_of(yardstick, engine, latents, anchor, person.kind, person.number, trial.descent, watch)
    course = Course(engine, target, person.kind, to_the_end=True)
    for forwards, token in seen:
        course.watch(forwards, token)
    course.measure(seen[-1][0], target.gradient_token)
    losses = {"anchor_loss": np.array(target.anchor_loss), "gradient_loss": np.array(target.gradient_loss)}
    return _packed(course, target.gradient_token.numpy(), "gradient") | losses


def target(trial: Trial, person: Person, latents: Latents) -> Target:
    """Return what searches on a newcomer's pictures are measured by."""
    kept = _gradient(trial, person)
    return Target(
        evaluation=evaluation_of(searcher(trial.kept), latents, person.kind, person.number),
        anchor_loss=float(kept["anchor_loss"]),
        gradient_loss=float(kept["gradient_loss"]),
        gradient_token=torch.from_numpy(kept["token"]),
    )


def found(trial: Trial, person: Person, search: Search) -> Found:
    """Return what a search on a newcomer's pictures comes to.

    The gradient's is what all others are measured by; its forward passes each had a backward one, which is not counted.
    """
    if search.way == "gradient":
        return _found(_gradient(trial, person))
    return _sought(trial, person, search, searcher(trial.kept))


def found_by_all(trial: Trial, some: Sequence[Person], search: Search) -> list[Found]:
    """Return what a search comes to on the pictures of several newcomers of a kind: as published, they go in step."""
    new = [person for person in some if not is_kept(trial, person, search)]
    if search.way == "published" and len(new) > 1:
        for person in new:
            _gradient(trial, person)  # whose own steps are no single draws
        in_lockstep(searcher(trial.kept), [partial(_sought, trial, person, search) for person in new])
    return [found(trial, person, search) for person in some]


def _sought(trial: Trial, person: Person, search: Search, engine: Engine) -> Found:
    return _found(_once(trial, person, search.file(trial), lambda: _search(trial, person, search, engine)))


def _search(trial: Trial, person: Person, search: Search, engine: Engine) -> dict[str, NDArray[Any]]:
    latents, word, kind, seed = latents_of(engine, person), person.class_word, person.kind, person.number
    goal = target(trial, person, latents)
    if search.owner is not None:
        token = _gradient(trial, search.owner)["token"]
        course = Course(engine, goal, kind)
        course.measure(1, torch.from_numpy(token))  # to look at it once; 0 is a target that was not met
        return _packed(course, token, "borrowed")
    if search.way in {"published", "evolution"}:
        run = reference if search.way == "published" else evolution
        course = run(engine, latents, word, kind, goal, search.budget(trial), seed, to_the_end=True)
        return _packed(course, course.tokens[-1].numpy(), "anchor")
    settings = Settings(forwards=trial.forwards, seed=seed)
    learner = (
        {"no lexicon": wordless, "random axes": randomized}[search.way](engine) if search.way != "ours" else engine
    )
    course, learned = ours(learner, latents, word, kind, goal, settings, search.prior, to_the_end=True)
    return _packed(course, learned.token, learned.start)


def wordless(engine: Engine) -> Engine:
    """Return the same engine without its lexicon: searches start at the class word and know no curvature."""
    changed = copy.copy(engine)
    changed.lexicon = None
    return changed


def randomized(engine: Engine) -> Engine:
    """Return the same engine with words along random directions."""
    return cast("Engine", Random(engine))


class Random:
    """The same engine, its words spread along random directions alone: the axes of a search know nothing.

    As many orthonormal axes as the words' own shape has, each as long as those on average. The start stays the
    lexicon's.
    """

    def __init__(self, engine: Engine) -> None:
        """Draw the axes, the same for everybody."""
        self._engine = engine
        words = vocabulary_covariance(engine.vocabulary())
        most = max(AXES.values())
        axes = shaped(words, engine.anchor(""), engine.lexicon, least=most, most=most).axes
        count, width = axes.shape
        directions = torch.linalg.qr(torch.randn(width, count, generator=torch.Generator().manual_seed(0)))[0].T
        lengths = axes.square().sum(dim=1).mean().sqrt() * ((2 * count - 1) / 2) ** 0.5
        self._table = torch.cat([directions, -directions]) * lengths
        """Its covariance is that of the axes, as `vocabulary_covariance` computes it."""
        self.lexicon = None
        if engine.lexicon is not None:
            identity = torch.eye(width)
            self.lexicon = replace(engine.lexicon, basis=identity, curvature=identity)

    def vocabulary(self) -> Tensor:
        """Return the words that give the axes, shape (2 axes, width)."""
        table: Tensor = self._table
        return table

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the engine has
        """Be the engine in all else."""
        return getattr(self._engine, name)


def _packed(course: Course, token: NDArray[np.float32], start: str) -> dict[str, NDArray[Any]]:
    numbers = {"reached": course.reached or 0, "share": course.share, "forwards": course.points[-1][0], "start": start}
    return {name: np.array(value) for name, value in numbers.items()} | {"token": token}


def _found(kept: dict[str, NDArray[Any]]) -> Found:
    return Found(
        reached=int(kept["reached"]) or None,
        share=float(kept["share"]),
        forwards=int(kept["forwards"]),
        token=kept["token"],
        start=str(kept["start"]),
    )


def is_kept(trial: Trial, person: Person, search: Search) -> bool:
    """Say whether a search was made before."""
    return _place(trial, person, search.file(trial)).exists()


def _place(trial: Trial, person: Person, what: str) -> Path:
    return trial.folder() / person.kind / _owned(person)[:16] / f"{what}.npz"


def _owned(person: Person) -> str:
    return hashlib.sha256("\n".join((str(person.number), person.class_word, *person.pictures)).encode()).hexdigest()


def _once(
    trial: Trial, person: Person, what: str, make: Callable[[], dict[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    """Return what is kept of a person, made if it is not there; a file is there whole or not at all."""
    path = _place(trial, person, what)
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, EOFError, ValueError, BadZipFile):
        made = make()
        buffer = io.BytesIO()
        np.savez(buffer, **cast("dict[str, Any]", made))
        write_whole(path, buffer.getvalue(), replace=True)
        return made
