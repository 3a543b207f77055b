"""A whole learning: choose a start, descend, validate, stop, survive being killed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sized
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from client.backbone.engine import Engine
from client.backbone.latents import Latents
from client.learn.checkpoint import CheckpointError, Store, read_checkpoint, write_checkpoint
from client.learn.contrast import contrast
from client.learn.descent import Descent
from client.learn.gate import choose_start
from client.learn.photos import Photos
from client.learn.preservation import preservation
from client.learn.settings import Learned, Progress, Reason, Settings, falling
from client.learn.stopping import Plateau
from client.learn.task import Task
from common.errors import ShoalError
from common.prior import Prior

VALIDATION_SHARE = 0.3
"""Share of the forwards spent so far between two validations: early ones are close together."""

KEPT_EVERY = 30.0
"""Seconds after which a checkpoint is written though nothing was validated: a step of a large model takes minutes, and
whoever is killed should not lose many."""


class LossError(ShoalError):
    """The backbone gave losses that are not numbers, before there was anything good to keep."""


@dataclass(slots=True)
class Search:
    """The state of a learning between two steps; all of it is in a checkpoint."""

    task: Task
    word: Tensor
    """The class word's embedding, shape (vectors * d,)."""
    validation: Sized
    generator: torch.Generator
    anchor: Tensor = field(init=False)
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

    def begin(self, prior: Prior | None, known: Tensor | None = None) -> None:
        """Choose the start; nothing is validated before there is something to validate."""
        chosen = choose_start(self.task, self.word, prior, self.generator, known)
        self.descent, self.start, self.anchor = chosen.descent, chosen.name, chosen.anchor
        self.spent, self.overhead, self.best = chosen.forwards, chosen.overhead, chosen.anchor
        self.next_validation = self.task.first_validation(self.descent.shape.size)

    def validate(self) -> bool:
        """Score the token on the validation set, keep it if it is best; return whether it is time to end.

        The first time the class word is scored too, as what was gained is counted from there, and where a task says
        that a search may have been better before. Losses are compared with what a task adds to them by then, of the
        best so far too.
        """
        token = self.descent.token
        compared = token[None] if self.history else torch.stack([self.word, *self._others(), token])
        losses = self.task.losses(compared, self.validation).tolist()
        self.spent += len(compared) * len(self.validation)
        if not all(math.isfinite(loss) for loss in losses):
            raise LossError(f"the loss became {losses[-1]} after {self.spent} forwards: try another --engine")
        if not self.history:
            self._begin_counting(losses[0])
        self.history.append((self.spent, losses[-1]))
        more = self.task.more(self.descent.evidence, torch.cat([self.best[None], compared])).tolist()
        best = self.best_loss + more[0]
        for scored, loss, added in zip(compared, losses, more[1:], strict=True):
            if loss + added < best:
                self.best, self.best_loss, best = scored, loss, loss + added
        self.next_validation = self.spent + int(VALIDATION_SHARE * self.spent)
        return self.plateau.seen(losses[-1] + more[-1])

    def _others(self) -> list[Tensor]:
        return self.task.others(self.descent.evidence)

    @property
    def room(self) -> int:
        """Forwards that are kept for a validation that falls due, of several tokens the first time, and the last."""
        return (3 + len(self._others())) * len(self.validation)

    def _begin_counting(self, loss: float) -> None:
        settings = self.task.settings
        self.start_loss = self.best_loss = loss
        self.best = self.word
        self.history.append((0, loss))
        self.plateau = Plateau(settings.patience, settings.tolerance, loss, loss)

    def step(self) -> None:
        """Take a step."""
        forwards = self.descent.forwards
        loss = self.descent.step(self.generator)  # of the step's own draw, before it
        self.spent += forwards
        if not math.isfinite(loss) or not bool(self.descent.place.isfinite().all()):
            raise LossError(f"a loss became {loss} after {self.spent} forwards: try another --engine")

    @property
    def due(self) -> bool:
        """Whether it is time to validate."""
        return self.spent >= self.next_validation

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
            "descent": self.descent.count,
            "plateau": [self.plateau.best, self.plateau.since] if self.history else [],
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
        if self.history:
            best, since = facts["plateau"]  # type: ignore[misc]
            begun = (settings.patience, settings.tolerance, self.start_loss)
            self.plateau = Plateau(*begun, float(best), int(since))  # type: ignore[has-type]
        parts = {k.removeprefix("descent."): v for k, v in tensors.items() if k.startswith("descent.")}
        self.descent = Descent.restored(self.task, parts, int(facts["descent"]))  # type: ignore[call-overload]
        self.best, self.anchor = tensors["best"], tensors["anchor"]
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
    preserved = preservation(engine, class_word, settings.preserve)
    apart = contrast(engine, kind, class_word, settings)
    task = Photos(engine=engine, latents=latents, kind=kind, settings=settings, preserved=preserved, contrast=apart)
    return search_for(task, engine.anchor(class_word))


def search_for(task: Task, word: Tensor) -> Search:
    """Return a search that has not begun, from a class word's embedding, shape (vectors * d,)."""
    generator = torch.Generator().manual_seed(task.settings.seed)
    validation = task.draws(task.settings.validation, generator, whole=True)
    return Search(task, word, validation, generator)


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
    known: Tensor | None = None,
) -> Learned:
    """Learn a token from photos with forward passes only.

    The objective is ZOODiP's (Seo et al., CVPR 2025, arXiv:2503.14868), the search is not: Gauss-Newton steps from
    differences of predictions, from a start that words or others gave; docs/learning.md tells why.

    Args:
        engine: the frozen backbone.
        latents: the photos, encoded once.
        kind: ``object``, ``style`` or ``taste``: which prompts the token is learned in.
        class_word: a word for it; may be empty. The search starts there if nothing better is known.
        settings: budget, probing step, validation, seed.
        prior: what others' searches taught the federation; None without one.
        checkpoint: where it is written after every validation, every half minute and when stopped; an existing one is
            resumed, bit for bit when the device is the same. Whoever keeps the result deletes it afterwards.
        progress: called after every step.
        stop: asked before every step; True pauses.
        watch: sees (forwards, current token) after every step; for benchmarks.
        known: a token that may do for a start, shape (vectors * d,), if it proves better than the others there are.

    Raises:
        CheckpointError: the checkpoint is damaged or of another learning.
        LossError: the losses are not numbers from the start; later the search ends with the last good token.
    """
    search = new_search(engine, latents, kind, class_word, settings)
    if checkpoint is not None and checkpoint.exists():
        search.restore(checkpoint)
    else:
        search.begin(prior, known)
    return run(search, checkpoint, progress, stop, watch)


def run(
    search: Search,
    checkpoint: Store | None,
    progress: Callable[[Progress], None],
    stop: Callable[[], bool],
    watch: Callable[[int, Tensor], None] = lambda _forwards, _token: None,
) -> Learned:
    """Step a search that has begun until the plateau, the budget's end or a pause; or until losses are no numbers.

    Raises:
        LossError: the losses are not numbers, and nothing better than the class word was found before.
    """
    try:
        return _steps(search, checkpoint, progress, stop, watch)
    except LossError:
        if search.best_loss < search.start_loss:
            return search.learned("broken")
        raise


def _steps(
    search: Search,
    checkpoint: Store | None,
    progress: Callable[[Progress], None],
    stop: Callable[[], bool],
    watch: Callable[[int, Tensor], None],
) -> Learned:
    """Step until the plateau, the budget's end or a pause."""
    settings = search.task.settings
    reason: Reason = "budget"
    saved, saved_at = -1, time.monotonic()
    watch(search.spent, search.descent.token)
    while search.spent + search.descent.forwards + search.room <= settings.forwards:  # it is never overrun
        paused = stop()
        old = saved != len(search.history) or time.monotonic() - saved_at >= KEPT_EVERY
        if checkpoint is not None and (paused or old):
            write_checkpoint(checkpoint, search.tensors(), search.facts())
            saved, saved_at = len(search.history), time.monotonic()
        if paused:
            return search.learned("paused")
        search.step()
        watch(search.spent, search.descent.token)  # the validation that may follow is not what found the place
        ended = search.due and search.validate()
        losses, told = falling(search.history), f"from {search.start}"
        progress(Progress(forwards=search.spent, total_forwards=settings.forwards, losses=losses, message=told))
        if ended:
            reason = "plateau"
            break
    else:
        search.validate()
    return search.learned(reason)
