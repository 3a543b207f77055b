"""What one draw says of a token: how its loss changes with what the U-Net is told."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One draw seen from a place, by m probes around it."""

    prompt: int
    """Which prompt the draw has."""
    states: Tensor
    """What the U-Net was told at the place, `sketched`, shape (entries,)."""
    reading: Tensor
    """(DDᵀ + ridge)⁻¹ D with D the states' differences a probe, shape (m, entries): what states are in probes."""
    pull: Tensor
    """J r / entries of the prediction, shape (m,)."""
    information: Tensor
    """J Jᵀ / entries of the prediction, shape (m, m)."""

    def loss(self, told: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the loss changes by where the U-Net is told this, and half its slope along the probes."""
        move = self.reading @ (told - self.states)
        missed = self.information @ move
        return 2 * self.pull @ move + move @ missed, self.pull + missed
