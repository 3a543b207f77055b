"""One forward-only descent: Gauss-Newton steps along the axes of a shape."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from client.learn.subspace import LEADING, Shape
from client.learn.task import Evidence, Task

TURNED_EVERY = 4
"""Steps after which a shape that could not hold all axes turns to others."""


@dataclass(slots=True, kw_only=True)
class Descent:
    """A place in a shape's coordinates and the evidence that led there."""

    task: Task
    shape: Shape
    evidence: Evidence = field(init=False)
    place: Tensor = field(init=False)
    count: int = 0
    """Steps taken: whose photo's turn it is."""

    def __post_init__(self) -> None:
        """Begin without evidence, where what is publicly known points to."""
        self.evidence = self.task.evidence(self.shape.size)
        self.place = self.task.first(self.evidence, self.shape)

    @property
    def token(self) -> Tensor:
        """The token, shape (vectors * d,)."""
        return self.shape.token(self.place)

    @property
    def forwards(self) -> int:
        """Forward passes of the next step."""
        return self.task.looks(self.evidence, self.shape.size)

    def step(self, generator: torch.Generator) -> float:
        """Look once at what there is to learn from, and go where all evidence points; return the loss."""
        if len(self.shape.rest) and self.count and self.count % TURNED_EVERY == 0:
            self._turn(generator)
        loss = self.task.look(self.evidence, self.shape, self.place, generator, self.count)
        self.place = self.task.best(self.evidence, self.shape, self.place)
        self.count += 1
        return loss

    def _turn(self, generator: torch.Generator) -> None:
        """Bring in other axes; evidence that is bound to axes forgets what it held along those that turn away."""
        later = torch.arange(self.shape.size) % len(self.shape.axes) >= LEADING
        self.evidence.forget(later, self.place)
        self.shape, self.place = self.shape.turned(self.place, generator)

    def tensors(self) -> dict[str, Tensor]:
        """Return all state that a step needs or changes, but for the count."""
        shape = {"origin": self.shape.origin, "axes": self.shape.axes, "rest": self.shape.rest}
        return shape | {"place": self.place} | self.evidence.tensors()

    @classmethod
    def restored(cls, task: Task, tensors: dict[str, Tensor], count: int) -> Descent:
        """Return a descent as it was when its `tensors` and its count were taken."""
        shape = Shape(origin=tensors["origin"], axes=tensors["axes"], rest=tensors["rest"])
        found = cls(task=task, shape=shape, count=count)
        found.place = tensors["place"]
        found.evidence.restore(tensors)
        return found
