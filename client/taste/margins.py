"""What choices say of a taste: how much likelier a token makes the chosen picture than the other."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

BETA = 10.0
"""β of the Diffusion-DPO loss, times its T: how much a difference of denoising losses counts. Chosen on Pictograms by
how well held-out choices are foretold (docs/taste.md); 10 to 100 do about as well."""

REMEMBERED = 0.7
"""What a look at a pair is worth at the next look at it: slopes were taken where the search was then."""

LONGEST = 2.0
"""Most standard deviations that one step goes."""

ENOUGH = 1e-5
"""Steps shorter than this change nothing."""

ROUNDS = 32
"""Newton steps at most; each is a small linear system, no forward pass."""


@dataclass(slots=True, kw_only=True)
class Margins:
    """A straight line of each pair's margin over places of a shape: a `client.learn.task.Evidence`.

    Diffusion-DPO (Wallace et al., arXiv:2311.12908, Eq. 14): −log σ(m) for a pair with the margin

        m(y) = β [(L_l(y) − L_l(0)) − (L_w(y) − L_w(0))],

    L the denoising loss of the chosen picture w or the other one l, 0 the anchor. Given lines c + a·y, the most likely
    y is a logistic regression under places of mean 0 and variance 1 along every axis.
    """

    pairs: int
    axes: int
    constants: Tensor = field(init=False)
    """c, shape (pairs,)."""
    slopes: Tensor = field(init=False)
    """a by rows, shape (pairs, axes)."""
    weights: Tensor = field(init=False)
    """How many looks each rests on, shape (pairs,); 0 for a pair not looked at."""

    def __post_init__(self) -> None:
        """Begin without any look."""
        self.constants, self.weights = torch.zeros(self.pairs), torch.zeros(self.pairs)
        self.slopes = torch.zeros(self.pairs, self.axes)

    def look(self, pair: int, margin: float, slope: Tensor, place: Tensor) -> None:
        """Take in a pair's margin at a place and its slope there, shape (axes,)."""
        old = REMEMBERED * self.weights[pair]
        new = old + 1
        self.constants[pair] = (old * self.constants[pair] + margin - slope @ place) / new
        self.slopes[pair] = (old * self.slopes[pair] + slope) / new
        self.weights[pair] = new

    def best(self, place: Tensor) -> Tensor:
        """Return the place that the choices hold most probable, at most `LONGEST` from this one."""
        found = place
        for _ in range(ROUNDS):
            margins = self.constants + self.slopes @ found
            uphill = (self._seen * torch.sigmoid(-margins)) @ self.slopes - found
            move = torch.linalg.solve(self.precision(found), uphill)
            while self._surprise(found + move) > self._surprise(found) and float(move.norm()) > ENOUGH:
                move = move / 2  # where choices are foretold surely the curvature is small, and steps are too long
            found = found + move
            if float(move.norm()) <= ENOUGH:
                break
        move = found - place
        return place + move * min(1.0, LONGEST / max(float(move.norm()), 1e-12))

    def _surprise(self, place: Tensor) -> float:
        """Return −log of a place's posterior probability, up to a constant."""
        margins = self.constants + self.slopes @ place
        return float(-(self._seen * functional.logsigmoid(margins)).sum() + place.square().sum() / 2)

    def precision(self, place: Tensor) -> Tensor:
        """Return the inverse covariance of what is known around a place, shape (axes, axes), by Laplace's method."""
        sure = torch.sigmoid(self.constants + self.slopes @ place)
        spread = self._seen * sure * (1 - sure)
        return torch.eye(self.axes) + (self.slopes.T * spread) @ self.slopes

    def forget(self, axes: Tensor, place: Tensor) -> None:
        """Forget what was said along some axes, a mask of shape (k,); the origin takes over how far the place went."""
        self.constants += self.slopes[:, axes] @ place[axes]
        self.slopes[:, axes] = 0

    @property
    def _seen(self) -> Tensor:
        return (self.weights > 0).float()

    def tensors(self) -> dict[str, Tensor]:
        """Return all state."""
        return {"constants": self.constants, "slopes": self.slopes, "weights": self.weights}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the state that `tensors` gave."""
        self.constants, self.slopes, self.weights = (tensors[name] for name in ("constants", "slopes", "weights"))


def preference_loss(margins: Tensor) -> Tensor:
    """Return the mean of −log σ(m) over pairs, shape (...), from margins of shape (..., pairs)."""
    return -functional.logsigmoid(margins).mean(dim=-1)
