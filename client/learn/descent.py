"""One forward-only descent: Gauss-Newton steps along the axes of a shape."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from client.backbone.engine import Engine
from client.backbone.latents import Batch, Latents, draw_batch
from client.backbone.lexicon import noisiest
from client.learn.evidence import Evidence
from client.learn.preservation import Preservation
from client.learn.settings import Settings
from client.learn.subspace import LEADING, Shape

TURNED_EVERY = 4
"""Steps after which a shape that could not hold all axes turns to others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What every part of a learning needs: the model, the photos as latents, the kind, the settings."""

    engine: Engine
    latents: Latents
    kind: str
    settings: Settings
    preserved: Preservation | None = None
    """What the concept should go on meaning."""

    @property
    def timesteps(self) -> tuple[int, int]:
        """Where steps draw from, [low, high)."""
        return self.engine.timesteps if self.settings.whole_range else noisiest(self.engine.timesteps)

    def losses(self, candidates: Tensor, batch: Batch) -> Tensor:
        """Return what is to fall, shape (candidates,): the denoising loss, and what preserving adds to it."""
        losses = self.engine.losses(candidates, batch, self.kind)
        return losses if self.preserved is None else losses + self.preserved.penalty(candidates)

    def residuals(self, candidates: Tensor, batch: Batch) -> Tensor:
        """Return numbers whose mean square is `losses` on a batch of one draw, shape (candidates, entries)."""
        missed = self.engine.residuals(candidates, batch, self.kind)[:, 0]
        if self.preserved is None:
            return missed
        count = missed.shape[1]
        more = self.preserved.residuals(candidates) * count**0.5
        rows: Tensor = torch.cat([missed, more], dim=1) * ((count + more.shape[1]) / count) ** 0.5
        return rows


@dataclass(slots=True, kw_only=True)
class Descent:
    """A place in a shape's coordinates and the evidence that led there."""

    shape: Shape
    place: Tensor = field(init=False)
    evidence: Evidence = field(init=False)
    count: int = 0
    """Steps taken: whose photo's turn it is."""

    def __post_init__(self) -> None:
        """Begin at the shape's origin, without evidence."""
        self.place = torch.zeros(self.shape.size)
        self.evidence = Evidence(axes=self.shape.size)

    @property
    def token(self) -> Tensor:
        """The token, shape (vectors * d,)."""
        return self.shape.token(self.place)

    @property
    def forwards(self) -> int:
        """Forward passes of one step: the place itself and one along each axis."""
        return self.shape.size + 1

    def step(self, task: Task, generator: torch.Generator) -> float:
        """Look at one photo at a timestep, and go where all evidence points; return the loss."""
        engine = task.engine
        if len(self.shape.rest) and self.count and self.count % TURNED_EVERY == 0:
            self._turn(generator)
        templates = engine.templates(task.kind)
        batch = draw_batch(task.latents, 1, task.timesteps, templates, generator, stratified=True, turn=self.count)

        def residuals(places: Tensor) -> Tensor:
            return task.residuals(self.shape.token(places), batch)

        loss = self.evidence.look(residuals, self.place, task.settings.step)
        self.place = self.evidence.best(self.place)
        self.count += 1
        return loss

    def _turn(self, generator: torch.Generator) -> None:
        """Bring in other axes; of the evidence what is about the leading ones stays."""
        later = torch.arange(self.shape.size) % len(self.shape.axes) >= LEADING
        self.evidence.forget(later, self.place)
        self.shape, self.place = self.shape.turned(self.place, generator)

    def tensors(self) -> dict[str, Tensor]:
        """Return all state that a step needs or changes."""
        return {
            "origin": self.shape.origin,
            "axes": self.shape.axes,
            "rest": self.shape.rest,
            "place": self.place,
            "information": self.evidence.information,
            "pull": self.evidence.pull,
        }

    def numbers(self) -> list[float]:
        """Return the rest of the state."""
        return [self.count, self.evidence.weight]

    @classmethod
    def restored(cls, tensors: dict[str, Tensor], numbers: list[float]) -> Descent:
        """Return a descent as it was when `tensors` and `numbers` were taken."""
        shape = Shape(origin=tensors["origin"], axes=tensors["axes"], rest=tensors["rest"])
        found = cls(shape=shape, count=int(numbers[0]))
        found.place, found.evidence.weight = tensors["place"], float(numbers[1])
        found.evidence.information, found.evidence.pull = tensors["information"], tensors["pull"]
        return found
