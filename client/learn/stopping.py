"""When a search has learned what it can."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Plateau:
    """Watches losses on a fixed validation set and says when they stopped falling.

    A value is an improvement when it falls below the best by the share ``tolerance`` of all that was gained since
    ``start``: a denoising loss is mostly noise that no token removes, so shares of the loss itself mean nothing. After
    ``patience`` values without an improvement the search is over.
    """

    patience: int
    tolerance: float
    start: float
    best: float
    since: int = 0

    def seen(self, loss: float) -> bool:
        """Take in a loss; return whether the plateau is reached."""
        if loss < self.best - self.tolerance * (self.start - self.best):
            self.best, self.since = loss, 0
        else:
            self.since += 1
        return self.since >= self.patience
