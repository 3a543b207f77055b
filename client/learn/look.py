"""What one draw says of a token: how its loss changes with what the U-Net is told."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RIDGE = 1e-3
"""Share of the mean square of rows that is added where one state is told apart into them."""


def reading_of(rows: Tensor, *, least: float = 1e-12) -> Tensor:
    """Return what reads states in rows: (RRᵀ + ridge)⁻¹ R, shape (m, entries).

    Args:
        rows: what states differ in along each probe or move, shape (m, entries).
        least: square of a row that counts for nothing, whatever the others.
    """
    alike = rows @ rows.T
    alike += (RIDGE * alike.diagonal().mean() + least) * torch.eye(len(alike))
    reading: Tensor = torch.linalg.solve(alike, rows)
    return reading.contiguous()  # as a checkpoint restores it: other strides would sum in another order


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One draw seen from a place, by m probes around it."""

    prompt: int
    """Which prompt the draw has."""
    states: Tensor
    """What the U-Net was told at the place, `sketched`, shape (entries,)."""
    reading: Tensor
    """`reading_of` what states differ in along each probe, shape (m, entries): what states are in probes."""
    pull: Tensor
    """J r / entries of the prediction, shape (m,)."""
    information: Tensor
    """J Jᵀ / entries of the prediction, shape (m, m)."""

    def loss(self, told: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the loss changes by where the U-Net is told this, and half its slope along the probes."""
        move = self.reading @ (told - self.states)
        missed = self.information @ move
        return 2 * self.pull @ move + move @ missed, self.pull + missed
