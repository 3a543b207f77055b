"""When a search has learned what it can."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Plateau:
    """Watches losses on a fixed validation set and says when they stopped falling.

    Smith's rule of thumb in `torch.optim.lr_scheduler.ReduceLROnPlateau` form: a value is an improvement when it
    falls below the best by the share ``tolerance``; after ``patience`` values without one the search is over.
    """

    patience: int
    tolerance: float
    best: float = float("inf")
    since: int = 0

    def seen(self, loss: float) -> bool:
        """Take in a loss; return whether the plateau is reached."""
        if loss < self.best * (1 - self.tolerance):
            self.best, self.since = loss, 0
        else:
            self.since += 1
        return self.since >= self.patience
