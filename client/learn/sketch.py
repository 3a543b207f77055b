"""What the U-Net is told, in few numbers."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional

SKETCH = 768
"""Numbers that states are told apart by: Stable Diffusion has 59,136, and a hundred draws keep twelve rows each."""


def sketched(states: Tensor) -> Tensor:
    """Return states, shape (..., entries), in at most `SKETCH` numbers each, inner products kept but for noise.

    Count sketch (Charikar, Chen & Farach-Colton 2002): every entry is added to one of the numbers, under a random sign.
    Which to which is the same for everybody and always.
    """
    entries = states.shape[-1]
    if entries <= SKETCH:
        return states
    order, signs = _mixture(entries)
    mixed = functional.pad((states * signs)[..., order], (0, -entries % SKETCH))
    summed: Tensor = mixed.unflatten(-1, (-1, SKETCH)).sum(dim=-2)
    return summed


@functools.lru_cache(maxsize=4)
def _mixture(entries: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randperm(entries, generator=generator), 2.0 * torch.randint(2, (entries,), generator=generator) - 1
