"""A batch that is too large for the memory is scored in parts, and the search goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from client.backbone.latents import Batch
from common.errors import BackboneError

LATENT_PIXELS = 3 * 64 * 64
"""Places of the latents in one U-Net call at most, over all its rows: a step of the published size (base and two
perturbations) at 64 x 64, 48 rows at 16 x 16. A validation of 16 draws would otherwise set the peak of the memory."""

Score = Callable[[Tensor, Batch, str], Tensor]
"""Maps candidates and a batch to scores of shape (candidates, draws, ...)."""


@dataclass(slots=True)
class Slices:
    """How much goes into one call; it shrinks where the memory runs out, and stays so."""

    pixels: int = LATENT_PIXELS
    with_base: bool = True
    """Whether the first candidate goes into every call, as the one that the others are carried as differences from."""

    def losses(self, score: Score, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return each candidate's mean over the draws, shape (candidates,); raises what `scored` raises."""
        return self.scored(score, candidates, batch, kind).mean(dim=1)

    def scored(self, score: Score, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return each candidate's scores on each draw, shape (candidates, draws, ...).

        Raises:
            BackboneError: not even one candidate on one draw fits.
        """
        while True:
            try:
                return self._cut(score, candidates, batch, kind)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
            self._shrink(candidates, batch)

    def rows(self, batch: Batch) -> int:
        """Return how many rows of this batch go into one call."""
        return max(1, self.pixels // (batch.latents.shape[-2] * batch.latents.shape[-1]))

    def _cut(self, score: Score, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Score by slices of draws, or draw by draw by slices of candidates."""
        rows = self.rows(batch)
        if len(candidates) <= rows:
            parts = batch.split(rows // len(candidates))
            return torch.cat([score(candidates, part, kind) for part in parts], dim=1)
        return torch.cat([self._by_candidates(score, candidates, part, kind, rows) for part in batch.split(1)], dim=1)

    def _by_candidates(self, score: Score, candidates: Tensor, draw: Batch, kind: str, rows: int) -> Tensor:
        base, rest = candidates[:1], candidates[1:]
        if rows == 1 or not self.with_base:
            return torch.cat([score(part, draw, kind) for part in candidates.split(rows)])
        parts = [score(torch.cat([base, part]), draw, kind) for part in rest.split(rows - 1)]
        return torch.cat([parts[0][:1], *(part[1:] for part in parts)])

    def _shrink(self, candidates: Tensor, batch: Batch) -> None:
        rows = min(self.rows(batch), len(candidates) * len(batch))
        if rows == 1:
            raise BackboneError(
                "the memory does not hold one forward pass of this model: "
                "close other programs, or choose a smaller model"
            )
        self.pixels = rows // 2 * batch.latents.shape[-2] * batch.latents.shape[-1]


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error is about memory, on a processor (PyTorch gives it no class of its own) or a GPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
