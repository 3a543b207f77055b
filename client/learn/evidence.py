"""What draws have said so far about a token: a quadratic model of the loss, from forward passes alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from client.learn.estimator import Residuals, forward_jacobian

PRECISION = 3e-5
"""Weight of one standard deviation squared of the shape against the loss, once many draws have spoken. Tokens go ten
standard deviations of the words and more before the loss rises again: what is held back here is held back for good."""

DOUBT = 3e-4
"""What is added to that for a single draw, and falls as draws add up: a draw's own slopes are half noise."""

FORGETTING = 0.93
"""What a draw is worth when the next one comes: slopes were taken where the search was then."""

LONGEST = 4.0
"""Most standard deviations that one step goes: further the model's slopes do not reach."""


@dataclass(slots=True, kw_only=True)
class Quadratic:
    """The normal equations of all draws so far, along k axes; later draws weigh more.

    Gauss-Newton (Levenberg 1944; Nocedal & Wright 2006, section 10.3) with a Jacobian of finite differences: a forward
    pass yields a whole prediction, a thousand numbers and more, where ZOODiP (arXiv:2503.14868, Eq. 4) keeps only their
    mean square. Slopes of predictions give the loss's slope and its curvature at once.
    """

    axes: int
    information: Tensor = field(init=False)
    """Σ w JᵀJ / entries, shape (k, k)."""
    pull: Tensor = field(init=False)
    """Σ w Jᵀ(J y − r) / entries, shape (k,)."""
    weight: float = 0.0
    """Σ w over the draws."""

    def __post_init__(self) -> None:
        """Begin without any draw."""
        self.information, self.pull = torch.zeros(self.axes, self.axes), torch.zeros(self.axes)

    def look(self, residuals: Residuals, place: Tensor, step: float) -> float:
        """Take in a draw: k + 1 forward passes around a place, shape (k,); return the loss there."""
        missed, slopes = forward_jacobian(residuals, place, step)
        entries = len(missed)
        self.information = FORGETTING * self.information + slopes @ slopes.T / entries
        self.pull = FORGETTING * self.pull + slopes @ (place @ slopes - missed) / entries
        self.weight = FORGETTING * self.weight + 1
        return float(missed.square().mean())

    def forget(self, axes: Tensor, place: Tensor) -> None:
        """Forget what was said along some axes, a mask of shape (k,), as they will point elsewhere.

        The origin takes over how far the place, shape (k,), went along them, and what that did to the others.
        """
        self.pull[~axes] -= self.information[~axes][:, axes] @ place[axes]
        self.information[axes] = 0
        self.information[:, axes] = 0
        self.pull[axes] = 0

    def best(self, place: Tensor) -> Tensor:
        """Return the place that the model and the shape hold most probable, at most `LONGEST` from this one.

        The maximum a posteriori under places of mean 0 and variance 1 along every axis.
        """
        held = (PRECISION + DOUBT / self.weight) * torch.eye(self.axes)
        found: Tensor = torch.linalg.solve(self.information / self.weight + held, self.pull / self.weight)
        move = found - place
        return place + move * min(1.0, LONGEST / max(float(move.norm()), 1e-12))

    def tensors(self) -> dict[str, Tensor]:
        """Return all state."""
        weight = torch.tensor(self.weight, dtype=torch.float64)
        return {"information": self.information, "pull": self.pull, "weight": weight}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the state that `tensors` gave."""
        self.information, self.pull = tensors["information"], tensors["pull"]
        self.weight = float(tensors["weight"])
