"""A whole learning: choose a start, descend, validate, stop, survive being killed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from client.backbone.engine import Engine
from client.backbone.latents import Batch, Latents, draw_batch
from client.learn.checkpoint import CheckpointError, Store, read_checkpoint, write_checkpoint
from client.learn.descent import Descent, Task
from client.learn.gate import choose_start
from client.learn.settings import Learned, Progress, Reason, Settings
from client.learn.stopping import Plateau
from common.errors import ShoalError
from common.prior import Prior

VALIDATION_SHARE = 0.1
"""Share of the forwards spent so far between two validations at the least: early ones are close together."""

RETREAT, LOST = 2, 0.25
"""After so many validations without improvement a search that lost this share of its gain goes back, more slowly."""


class LossError(ShoalError):
    """The backbone gave losses that are not numbers."""


@dataclass(slots=True)
class Search:
    """The state of a learning between two steps; all of it is in a checkpoint."""

    task: Task
    anchor: Tensor
    validation: Batch
    generator: torch.Generator
    descent: Descent = field(init=False)
    plateau: Plateau = field(init=False)
    start: str = "anchor"
    start_loss: float = 0.0
    spent: int = 0
    overhead: int = 0
    next_validation: int = 0
    best: Tensor = field(init=False)
    best_loss: float = float("inf")
    history: list[tuple[int, float]] = field(default_factory=list)

    def begin(self, prior: Prior | None) -> None:
        """Choose the start and score it."""
        settings = self.task.settings
        chosen = choose_start(self.task, self.anchor, prior, self.validation, self.generator)
        self.descent, self.start, self.spent = chosen.descent, chosen.name, chosen.forwards
        self.start_loss, self.overhead = chosen.anchor_loss, chosen.overhead
        self.plateau = Plateau(settings.patience, settings.tolerance, self.start_loss, self.start_loss)
        self.best, self.best_loss = self.anchor, chosen.anchor_loss
        self.history.append((0, chosen.anchor_loss))
        if chosen.overhead:
            self.validate()
        self._schedule()

    def validate(self) -> bool:
        """Score the running mean on the validation set, keep it if it is best; return whether it is time to end."""
        token = self.descent.token
        loss = float(self.task.engine.losses(token[None], self.validation, self.task.kind))
        self.spent += len(self.validation)
        self.history.append((self.spent, loss))
        if not torch.isfinite(torch.tensor(loss)):
            raise LossError(f"the loss became {loss} after {self.spent} forwards: the last good token is kept")
        if loss < self.best_loss:
            self.best, self.best_loss = token, loss
        self._schedule()
        ended = self.plateau.seen(loss)
        lost = loss - self.best_loss > LOST * (self.start_loss - self.best_loss)
        if lost and self.plateau.since and self.plateau.since % RETREAT == 0:
            self.descent.go_back(self.best)
        return ended

    def _schedule(self) -> None:
        gap = max(6 * len(self.validation), int(VALIDATION_SHARE * self.spent))
        self.next_validation = self.spent + gap

    def step(self) -> bool:
        """Take a step and, when it is due, validate; return whether the plateau is reached."""
        self.descent.step(self.task, self.generator, self.spent / self.task.settings.forwards)
        self.spent += self.task.settings.forwards_of_step
        return self.spent >= self.next_validation and self.validate()

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of a checkpoint, the random generator's state among them."""
        return {"best": self.best, "anchor": self.anchor, "generator": self.generator.get_state()} | {
            f"descent.{k}": v for k, v in self.descent.tensors().items()
        }

    def facts(self) -> dict[str, object]:
        """Return the numbers of a checkpoint."""
        names = ("start", "start_loss", "spent", "overhead", "next_validation", "best_loss", "history")
        return {n: getattr(self, n) for n in names} | {
            "backbone": self.task.engine.fingerprint,
            "kind": self.task.kind,
            "settings": asdict(self.task.settings),
            "descent": self.descent.numbers(),
            "plateau": [self.plateau.best, self.plateau.since],
        }

    def restore(self, path: Store) -> None:
        """Take up where a checkpoint ends.

        Raises:
            CheckpointError: it belongs to another backbone, kind or settings, or is damaged.
        """
        tensors, facts = read_checkpoint(path)
        mine: dict[str, object] = {"backbone": self.task.engine.fingerprint, "kind": self.task.kind}
        mine["settings"] = asdict(self.task.settings)
        for name, value in mine.items():
            if facts.get(name) != value:
                raise CheckpointError(f"{path} was begun with another {name}: delete it to begin again with this one")
        for name in ("start", "start_loss", "spent", "overhead", "next_validation", "best_loss"):
            setattr(self, name, facts[name])
        self.history = [(int(f), float(v)) for f, v in facts["history"]]  # type: ignore[attr-defined]
        settings = self.task.settings
        best, since = facts["plateau"]  # type: ignore[misc]
        begun = (settings.patience, settings.tolerance, self.start_loss)
        self.plateau = Plateau(*begun, float(best), int(since))  # type: ignore[has-type]
        parts = {k.removeprefix("descent."): v for k, v in tensors.items() if k.startswith("descent.")}
        self.descent = Descent.restored(parts, list(facts["descent"]))  # type: ignore[call-overload]
        self.best = tensors["best"]
        self.generator.set_state(tensors["generator"])

    def learned(self, reason: Reason) -> Learned:
        """Return what has been learned so far."""
        return Learned(
            token=self.best.numpy(),
            anchor=self.anchor.numpy(),
            start_loss=self.start_loss,
            loss=self.best_loss,
            forwards=self.spent,
            reason=reason,
            overhead=self.overhead,
            start=self.start,
            history=tuple(self.history),
        )


def new_search(engine: Engine, latents: Latents, kind: str, class_word: str, settings: Settings) -> Search:
    """Return a search that has not begun: its anchor, its validation draws and its random generator."""
    generator = torch.Generator().manual_seed(settings.seed)
    templates = engine.templates(kind)
    validation = draw_batch(
        latents, settings.validation, engine.timesteps, templates, generator, stratified=True, antithetic=True
    )
    task = Task(engine=engine, latents=latents, kind=kind, settings=settings)
    return Search(task, engine.anchor(class_word), validation, generator)


@torch.inference_mode()
def learn(
    engine: Engine,
    latents: Latents,
    *,
    kind: str,
    class_word: str,
    settings: Settings,
    prior: Prior | None = None,
    checkpoint: Store | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[int, Tensor], None] = lambda _forwards, _token: None,
) -> Learned:
    """Learn a token from photos with forward passes only.

    After ZOODiP (Seo et al., CVPR 2025, arXiv:2503.14868); what differs stands in docs/learning.md.

    Args:
        engine: the frozen backbone.
        latents: the photos, encoded once.
        kind: ``object``, ``style`` or ``taste``: which prompts the token is learned in.
        class_word: the word whose embedding is the anchor; may be empty.
        settings: budget, directions, rates, seed.
        prior: what others' searches taught the federation; None without one.
        checkpoint: where it is written after every validation and when stopped; an existing one is resumed, bit for bit
            when the device is the same. Whoever keeps the result deletes it afterwards.
        progress: called after every step.
        stop: asked before every step; True pauses.
        watch: sees (forwards, current token) after every step; for benchmarks.

    Raises:
        CheckpointError: the checkpoint is damaged or of another learning.
        LossError: the losses are not numbers; the checkpoint keeps the last good token.
    """
    search = new_search(engine, latents, kind, class_word, settings)
    if checkpoint is not None and checkpoint.exists():
        search.restore(checkpoint)
    else:
        search.begin(prior)
    return _run(search, checkpoint, progress, stop, watch)


def _run(
    search: Search,
    checkpoint: Store | None,
    progress: Callable[[Progress], None],
    stop: Callable[[], bool],
    watch: Callable[[int, Tensor], None],
) -> Learned:
    """Step until the plateau, the budget's end or a pause."""
    settings = search.task.settings
    reason: Reason = "budget"
    saved = -1
    watch(search.spent, search.descent.token)
    # Room is kept for a validation that falls due and for the last one: the budget is never overrun.
    while search.spent + settings.forwards_of_step + 2 * settings.validation <= settings.forwards:
        paused = stop()
        if checkpoint is not None and (paused or saved != len(search.history)):
            write_checkpoint(checkpoint, search.tensors(), search.facts())
            saved = len(search.history)
        if paused:
            return search.learned("paused")
        ended = search.step()
        watch(search.spent, search.descent.token)
        message = f"from {search.start}"
        progress(
            Progress(forwards=search.spent, total_forwards=settings.forwards, loss=search.best_loss, message=message)
        )
        if ended:
            reason = "plateau"
            break
    else:
        search.validate()
    return search.learned(reason)
