"""One forward-only descent: Adam on forward differences in shaped coordinates."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from client.backbone.engine import Engine
from client.backbone.latents import Latents, draw_batch
from client.learn.estimator import forward_difference
from client.learn.settings import Settings
from client.learn.subspace import Shape, low_variance_directions, without

AVERAGED = 0.95
"""Decay of the iterates' running mean (Polyak & Juditsky 1992), which is what gets scored and kept."""

SLOWER = 0.7
"""Factor on the pace when a search goes back to its best token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What every part of a learning needs: the model, the photos as latents, the kind, the settings."""

    engine: Engine
    latents: Latents
    kind: str
    settings: Settings


@dataclass(slots=True, kw_only=True)
class Descent:
    """A place in shaped coordinates with Adam's moments and the places it came through.

    Coordinates and what they mean are the `Shape`'s: with a prior, directions are drawn from its covariance.
    """

    shape: Shape
    place: Tensor
    mean: Tensor = field(init=False)
    first: Tensor = field(init=False)
    second: Tensor = field(init=False)
    history: Tensor = field(init=False)
    removed: Tensor = field(init=False)
    count: int = 0
    fresh: int = 0
    """Steps since momentum last began from zero."""
    pace: float = 1.0
    """Factor on the settings' rate."""

    def __post_init__(self) -> None:
        """Begin with moments of zero and an empty history."""
        self.mean = self.place.clone()
        self.first, self.second = torch.zeros_like(self.place), torch.zeros_like(self.place)
        self.history = self.removed = self.place.new_zeros(0, len(self.place))

    @property
    def token(self) -> Tensor:
        """The token, shape (d,), of the running mean of places."""
        return self.shape.token(self.mean)

    def step(self, task: Task, generator: torch.Generator, progress: float) -> float:
        """Take one step in place; return the mean loss of its candidates.

        ``progress`` in [0, 1] is the share of the budget spent: the rate falls linearly to a tenth.
        """
        settings = task.settings
        templates = task.engine.templates(task.kind)
        batch = draw_batch(
            task.latents,
            settings.draws,
            task.engine.timesteps,
            templates,
            generator,
            antithetic=settings.draws % 2 == 0,
        )
        directions = torch.randn(settings.directions, len(self.place), generator=generator)

        def losses(places: Tensor) -> Tensor:
            return task.engine.losses(self.shape.token(places), batch, task.kind)

        gradient, loss = forward_difference(losses, self.place, directions, settings.step)
        self._descend(without(gradient, self.removed), self.pace * settings.rate * (1 - 0.9 * progress))
        if settings.history:
            self._remember(settings)
        return loss

    def _descend(self, gradient: Tensor, rate: float) -> None:
        """Adam (Kingma & Ba 2015) with one second moment for all axes: the shape has set their proportions."""
        self.count += 1
        self.fresh += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient.square().mean()
        first = self.first / (1 - 0.9**self.fresh)
        second = self.second / (1 - 0.999**self.count)
        self.place = self.place - rate * first / (second.sqrt() + 1e-12)
        self.mean = AVERAGED * self.mean + (1 - AVERAGED) * self.place

    def _remember(self, settings: Settings) -> None:
        """Keep the last τ places; every τ steps find out which directions were noise (Subspace Gradient)."""
        self.history = torch.cat([self.history, self.place[None]])[-settings.history :]
        if self.count % settings.history == 0:
            self.removed = low_variance_directions(self.history, settings.noise_share, standardize=False)

    def go_back(self, token: Tensor) -> None:
        """Return to a token that was better and go on from there more slowly, without momentum."""
        self.place = self.shape.place(token)
        self.mean = self.place.clone()
        self.first = torch.zeros_like(self.place)
        self.fresh = 0
        self.pace *= SLOWER

    def tensors(self) -> dict[str, Tensor]:
        """Return all state that a step needs or changes."""
        names = ("place", "mean", "first", "second", "history", "removed")
        return {"origin": self.shape.origin, "axes": self.shape.axes} | {n: getattr(self, n) for n in names}

    def numbers(self) -> list[float]:
        """Return the rest of the state."""
        return [self.count, self.fresh, self.pace]

    @classmethod
    def restored(cls, tensors: dict[str, Tensor], numbers: list[float]) -> Descent:
        """Rebuild a descent from `tensors` and `numbers`."""
        shape = Shape(origin=tensors["origin"], axes=tensors["axes"])
        descent = cls(shape=shape, place=tensors["place"])
        for name in ("mean", "first", "second", "history", "removed"):
            setattr(descent, name, tensors[name])
        count, fresh, descent.pace = numbers
        descent.count, descent.fresh = int(count), int(fresh)
        return descent
