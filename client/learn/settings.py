"""How a learning goes: what may be set, what it reports, what it yields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError

LEAST = 8
"""Validations that a budget must have room for: the starts, a first step and a score are half of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How hard a search tries; docs/learning.md tells how the defaults were chosen, on Pictograms."""

    forwards: int = 1200
    """Budget: U-Net forward passes (one candidate on one draw each), everything counted."""
    step: float = 0.5
    """μ, length of a perturbation, in the spread of words or people along its axis. Slopes over half a spread bend
    little and stand far above the rounding of bfloat16."""
    validation: int = 8
    """Draws of the fixed validation set: photos take turns, over all timesteps."""
    patience: int = 4
    """Validations without improvement after which the search ends."""
    tolerance: float = 0.01
    """Share of all that was gained so far by which a loss must fall to count as an improvement."""
    overhead: float = 0.05
    """Most that asking whether a prior helps may cost, as a share of the budget."""
    whole_range: bool = False
    """Whether nothing is drawn from the noisiest of the engine's timesteps alone: a stage is a part already."""
    preserve: float = 0.0
    """Weight of what keeps the concept's meaning near its class's (client.learn.preservation); 0 is without."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        for name in ("step", "validation", "patience"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"learn.{name} must be > 0, got {getattr(self, name)}")
        if not self.preserve >= 0:
            raise ConfigError(f"learn.preserve must be at least 0, got {self.preserve}")
        if self.forwards < LEAST * self.validation:
            raise ConfigError(
                f"learn.forwards must be at least {LEAST * self.validation} ({LEAST} validations), got {self.forwards}"
            )


def falling(history: Sequence[tuple[int, float]]) -> tuple[float, ...]:
    """Return the best validation loss up to each of some (forwards, loss)."""
    return tuple(accumulate((loss for _, loss in history), min))


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a learning stands, for a bar on a screen."""

    forwards: int
    total_forwards: int
    losses: tuple[float, ...]
    """`falling` of the validations so far, in stages of the stage under way; empty before the first."""
    message: str


Reason = Literal["plateau", "budget", "paused", "broken"]
"""Why a search ended; broken: losses became no numbers, and the last good token is what was learned."""


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
    """Where the search began: ``anchor``, ``words`` or ``cohort 0``, ...; stays on the device."""
    history: tuple[tuple[int, float], ...]
    """(forwards, validation loss) over time, the class word's first."""

    @property
    def losses(self) -> tuple[float, ...]:
        """The best so far at each validation, as `Progress` tells them."""
        return falling(self.history)
