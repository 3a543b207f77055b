"""What is learned, from what: the part of a learning that photos and choices do not share."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, Protocol

import torch
from torch import Tensor

from client.backbone.engine import Engine
from client.learn.settings import Settings
from client.learn.subspace import Shape
from common.prior import Cohort, Prior


class Evidence(Protocol):
    """What draws have said so far about places of a shape."""

    def forget(self, axes: Tensor, place: Tensor) -> None:
        """Forget what was said along some axes, a mask of shape (k,), as they will point elsewhere."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return all state."""
        ...

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the state that `tensors` gave."""
        ...


class Task(Protocol):
    """What every part of a learning needs: the model, the kind, the settings, and losses."""

    @property
    def engine(self) -> Engine:
        """The frozen backbone."""

    @property
    def kind(self) -> str:
        """``object``, ``style`` or ``taste``."""

    @property
    def settings(self) -> Settings:
        """How hard to try."""

    @property
    def trust(self) -> float:
        """By how much a start without a prior must be better than a cohort's to be preferred."""

    def draws(self, count: int, generator: torch.Generator, *, whole: bool = False) -> Sized:
        """Return draws that candidates can be scored on; their length is the forward passes of a candidate.

        With ``whole`` they are from all of the timesteps, for a validation set.
        """
        ...

    def costs(self, count: int) -> int:
        """Return the length of so many draws."""
        ...

    def losses(self, candidates: Tensor, draws: Any) -> Tensor:  # noqa: ANN401 - as its own `draws` gave them
        """Return what is to fall, shape (candidates,)."""
        ...

    def anchors(self, word: Tensor) -> list[tuple[str, Tensor]]:
        """Return where a search without a prior may begin, by name, shape (vectors * d,).

        Displacements are counted from the last one.
        """
        ...

    def covariance(self, known: tuple[Prior, Cohort] | None = None) -> Tensor:
        """Return how tokens are spread, shape (width, width), as far as is publicly known or as a cohort's are."""
        ...

    def shape(self, covariance: Tensor, origin: Tensor) -> Shape:
        """Return the coordinates to search in, under a covariance of shape (width, width)."""
        ...

    def evidence(self, axes: int) -> Evidence:
        """Return that nothing was seen yet."""
        ...

    def first(self, evidence: Any, shape: Shape) -> Tensor:  # noqa: ANN401 - as its own `evidence` gave it
        """Return the place to begin at, shape (k,): no forward pass is spent on it."""
        ...

    def looks(self, evidence: Any, axes: int) -> int:  # noqa: ANN401 - as its own `evidence` gave it
        """Return the forward passes of the next look."""
        ...

    def first_validation(self, axes: int) -> int:
        """Return the forwards before the first validation."""
        ...

    def look(self, evidence: Any, shape: Shape, place: Tensor, generator: torch.Generator, turn: int) -> float:  # noqa: ANN401 - as its own `evidence` gave it
        """Take in one look around a place of the shape; return the loss there."""
        ...

    def others(self, evidence: Any) -> list[Tensor]:  # noqa: ANN401 - as its own `evidence` gave it
        """Return tokens of before that may be better than those to come, for the first validation."""
        ...

    def more(self, evidence: Any, candidates: Tensor) -> Tensor:  # noqa: ANN401 - as its own `evidence` gave it
        """Return what is added to candidates' losses when they are compared, shape (candidates,)."""
        ...

    def best(self, evidence: Any, shape: Shape, place: Tensor) -> Tensor:  # noqa: ANN401 - as its own `evidence` gave it
        """Return the most probable place, shape (k,), not far from this one."""
        ...
