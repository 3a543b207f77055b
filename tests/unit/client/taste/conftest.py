"""A backbone whose every picture has a token that denoises it best: choices say which token that should be."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

WIDTH = 6


@dataclass
class Drawer:
    """What a token misses of a picture is its distance to the picture's own numbers."""

    width: int = WIDTH
    noise: float = 0.0
    timesteps: tuple[int, int] = (500, 900)
    fingerprint: str = "f" * 64
    vectors: int = 1
    lexicon: None = None
    seen: list = field(default_factory=list)

    def anchor(self, word):
        return torch.randn(self.width, generator=torch.Generator().manual_seed(len(word)))

    def vocabulary(self):
        return torch.randn(50, self.width, generator=torch.Generator().manual_seed(1))

    def templates(self, kind):
        assert kind == "taste"
        return 1

    def losses(self, candidates, batch, kind):
        return self.residuals(candidates, batch, kind).square().mean(dim=(1, 2))

    def residuals(self, candidates, batch, kind):
        assert kind == "taste"
        self.seen.append((len(candidates), batch))
        own = batch.latents.flatten(1)[:, : self.width] + self.noise * batch.noise.flatten(1)[:, : self.width]
        return candidates[:, None] - own


@pytest.fixture
def drawer():
    return Drawer()


def picture(numbers):
    """Return latents, (2, 2, 2), of which a `Drawer` sees these numbers."""
    found = torch.zeros(8)
    found[: len(numbers)] = torch.as_tensor(numbers, dtype=torch.float32)
    return found.view(2, 2, 2)
