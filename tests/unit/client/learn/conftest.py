"""A backbone that is a quadratic bowl: losses whose gradients are known exactly."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from client.backbone.latents import Batch, Latents
from client.backbone.lexicon import Lexicon


@dataclass
class Bowl:
    """Loss of a token: mean squared distance to a hidden one, moved by noise that candidates of a draw share."""

    hidden: Tensor
    noise: float = 0.0
    width: int = field(init=False)
    pixel_size: int = 8
    timesteps: tuple[int, int] = (500, 900)
    fingerprint: str = "f" * 64
    vectors: int = 1
    lexicon: Lexicon | None = None
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
        return self.residuals(candidates, batch, kind).square().mean(dim=(1, 2))

    def residuals(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        del kind
        self.forwards += len(candidates) * len(batch)
        moved = self.noise * batch.noise.flatten(1)[:, torch.arange(self.width) % batch.noise[0].numel()]
        missed = 2**0.5 * (candidates[:, None] - self.hidden + moved)
        return torch.cat([missed, torch.full_like(missed, 0.1**0.5)], dim=2)

    def states(self, candidates: Tensor, kind: str, prompts: list[int], captions: tuple[str, ...] = ()) -> Tensor:
        del kind, captions
        return candidates[:, None].expand(-1, len(prompts), -1)


@pytest.fixture
def bowl() -> Bowl:
    """Return a bowl of width 24 whose bottom is not at the anchor."""
    return Bowl(hidden=0.3 * torch.randn(24, generator=torch.Generator().manual_seed(3)))


@pytest.fixture
def latents() -> Latents:
    """Return four tiny latents."""
    generator = torch.Generator().manual_seed(2)
    return Latents(mean=torch.randn(4, 2, 2, 2, generator=generator), spread=torch.full((4, 2, 2, 2), 0.1))
