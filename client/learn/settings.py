"""How a learning goes: what may be set, what it reports, what it yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How hard a search tries; docs/learning.md tells how the defaults were chosen, on Pictograms."""

    forwards: int = 2400
    """Budget: U-Net forward passes (one candidate on one draw each), everything counted."""
    directions: int = 2
    """n, perturbations of a step."""
    draws: int = 1
    """Draws of photo, noise and timestep that a step's candidates share; with an even number each noise is also
    drawn reversed."""
    step: float = 1e-3
    """μ, length of a perturbation's unit, as published."""
    rate: float = 1e-2
    """Adam's rate at the start, as published; here it falls linearly to a tenth."""
    validation: int = 16
    """Draws of the fixed validation set; even, each noise is also drawn reversed."""
    patience: int = 12
    """Validations without improvement after which the search ends."""
    tolerance: float = 0.01
    """Share of all that was gained so far by which a loss must fall to count as an improvement."""
    overhead: float = 0.05
    """Most that asking whether a prior helps may cost, as a share of the budget."""
    history: int = 0
    """τ, tokens that Subspace Gradient looks back on (published: 128); 0 turns it off, which measured better with
    shaped coordinates: what it projects out is lost for good once the search has slowed (docs/learning.md)."""
    noise_share: float = 1e-3
    """ν, the share of their variance taken for noise."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        positive = ("directions", "draws", "step", "rate", "validation", "patience")
        for name in positive:
            if not getattr(self, name) > 0:
                raise ConfigError(f"learn.{name} must be > 0, got {getattr(self, name)}")
        if self.validation % 2:
            raise ConfigError(f"learn.validation must be even, got {self.validation}")
        if self.forwards < 4 * self.validation:
            raise ConfigError(
                f"learn.forwards must be at least {4 * self.validation} (four validations), got {self.forwards}"
            )

    @property
    def forwards_of_step(self) -> int:
        """Forward passes of one step: the base point and every perturbation, on each draw."""
        return (self.directions + 1) * self.draws


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a learning stands, for a bar on a screen."""

    forwards: int
    total_forwards: int
    loss: float
    """Best validation loss so far."""
    message: str


Reason = Literal["plateau", "budget", "paused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What came out of a learning, or where it was paused."""

    token: NDArray[np.float32]
    anchor: NDArray[np.float32]
    start_loss: float
    loss: float
    forwards: int
    reason: Reason
    overhead: int
    """Forwards spent on asking whether a prior helps, beyond what a search without one had spent by then."""
    start: str
    """Where the search began: ``anchor`` or ``cohort 0``, ...; stays on the device."""
    history: tuple[tuple[int, float], ...]
    """(forwards, validation loss) over time."""
