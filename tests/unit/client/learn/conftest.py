"""A backbone that is a quadratic bowl: losses whose gradients are known exactly."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from client.backbone.latents import Batch, Latents


@dataclass
class Bowl:
    """Loss of a token: squared distance to a hidden one, plus noise that candidates of a batch share."""

    hidden: Tensor
    noise: float = 0.0
    width: int = field(init=False)
    pixel_size: int = 8
    timesteps: tuple[int, int] = (500, 900)
    fingerprint: str = "f" * 64
    forwards: int = 0

    def __post_init__(self) -> None:
        self.width = len(self.hidden)

    def anchor(self, word: str) -> Tensor:
        return torch.full((self.width,), float(len(word)) / 10)

    def vocabulary(self) -> Tensor:
        return torch.randn(50, self.width, generator=torch.Generator().manual_seed(1))

    def templates(self, kind: str) -> int:
        return {"object": 2, "style": 1, "taste": 1}[kind]

    def losses(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        del kind
        self.forwards += len(candidates) * len(batch)
        shared = self.noise * batch.noise.mean() * (1 + candidates.sum(dim=1))
        return 0.05 + (candidates - self.hidden).square().mean(dim=1) + shared


@pytest.fixture
def bowl() -> Bowl:
    """Return a bowl of width 24 whose bottom is not at the anchor."""
    return Bowl(hidden=0.3 * torch.randn(24, generator=torch.Generator().manual_seed(3)))


@pytest.fixture
def latents() -> Latents:
    """Return four tiny latents."""
    generator = torch.Generator().manual_seed(2)
    return Latents(mean=torch.randn(4, 2, 2, 2, generator=generator), spread=torch.full((4, 2, 2, 2), 0.1))
