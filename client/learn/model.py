"""What the loss of a place is held to be, and the place that is held most probable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from client.learn.look import Look
from client.learn.sketch import sketched

LONGEST = 4.0
"""Most standard deviations that one step goes: further the model's slopes do not reach."""

NEAR = 0.02
"""Standard deviations between two places whose states give the states' slopes: engines carry so small differences."""

ROUNDS = 8
"""Places that are tried for one step at most; each costs states of the text encoder, no forward pass."""

MOVES = 2
"""Places that are gone to in one step at most: at each, states' slopes along all axes are taken anew."""

ENOUGH = 0.05
"""Moves shorter than this, in standard deviations, end a step."""

Kept = Callable[[Tensor], Tensor]
"""Maps places, shape (places, k), to numbers whose squares are added to their losses, shape (places, entries)."""

States = Callable[[Tensor, Sequence[int]], Tensor]
"""Maps places, shape (places, k), and prompts' numbers to what the U-Net is told, shape (places, prompts, entries)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The loss of places of a shape, as a mean of looks says, and what holds places to the origin.

    Gauss-Newton (Levenberg 1944; Nocedal & Wright 2006, section 10.3): a look takes the U-Net for linear in what it is
    told; what it is told of a place is as the text encoder has it, which costs no forward pass.
    """

    looks: Sequence[tuple[Look, float]]
    """And what each is worth."""
    held: float
    """Weight of one standard deviation squared of the shape against the loss."""
    states: States
    kept: Kept | None = None
    """What should be small besides."""

    def best(self, place: Tensor) -> Tensor:
        """Return the place that is held most probable, at most `LONGEST` from this one, shape (k,).

        The maximum a posteriori under places of mean 0 and variance 1 along every axis, found from here by
        Levenberg-Marquardt steps (Marquardt 1963), damped until the model itself says that they pay.
        """
        found, damping, moves = place, 1e-2, 0
        height, slope, curvature = self.around(found)
        for _ in range(ROUNDS):
            held = curvature + damping * curvature.diagonal().mean() * torch.eye(len(place))
            away = found - torch.linalg.solve(held, slope) - place
            tried = place + away * min(1.0, LONGEST / max(float(away.norm()), 1e-12))
            if not self.height(tried) < height:
                damping *= 6
                continue
            moved, found, damping = float((tried - found).norm()), tried, max(damping / 5, 1e-4)
            moves += 1
            if moved < ENOUGH or moves == MOVES:
                break
            height, slope, curvature = self.around(found)
        return found

    def height(self, place: Tensor) -> float:
        """Return the loss at a place, shape (k,), less a constant."""
        prompts = self._prompts
        told = dict(zip(prompts, sketched(self.states(place[None], prompts))[0], strict=True))
        height = sum(weight * float(look.loss(told[look.prompt])[0]) for look, weight in self.looks)
        more = 0.0 if self.kept is None else float(self.kept(place[None]).square().sum())
        return height / self._total + self.held * float(place @ place) + more

    def around(self, place: Tensor) -> tuple[float, Tensor, Tensor]:
        """Return the same, half its slope, shape (k,), and half its curvature, shape (k, k)."""
        axes = torch.eye(len(place))
        near = torch.cat([place[None], place + NEAR * axes])
        prompts = self._prompts
        seen = sketched(self.states(near, prompts))
        told = dict(zip(prompts, seen[0], strict=True))
        turns = dict(zip(prompts, ((seen[1:] - seen[0]) / NEAR).unbind(dim=1), strict=True))
        height, slope, curvature = 0.0, torch.zeros(len(place)), torch.zeros_like(axes)
        for look, weight in self.looks:
            loss, along = look.loss(told[look.prompt])
            turned = look.reading @ turns[look.prompt].T
            height += weight * float(loss)
            slope += weight * along @ turned
            curvature += weight * turned.T @ look.information @ turned
        total = self._total
        height = height / total + self.held * float(place @ place)
        slope, curvature = slope / total + self.held * place, curvature / total + self.held * axes
        if self.kept is not None:
            missed = self.kept(near)
            turned = (missed[1:] - missed[0]) / NEAR
            height += float(missed[0] @ missed[0])
            slope, curvature = slope + turned @ missed[0], curvature + turned @ turned.T
        return height, slope, curvature

    @property
    def _total(self) -> float:
        return sum(weight for _, weight in self.looks)

    @property
    def _prompts(self) -> list[int]:
        return sorted({look.prompt for look, _ in self.looks})
