"""The yardstick: ordinary textual inversion with backpropagation, on the same backbone in floating point.

Gal et al., arXiv:2208.01618, with Adam on the token alone. It exists to define the target of a forward-only
search and is never part of a client.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from client.backbone.engine import TorchEngine
from client.backbone.latents import Latents, draw_batch


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientSettings:
    """How the yardstick descends; the defaults reach a plateau on Pictograms (see docs/learning.md)."""

    steps: int = 120
    draws: int = 8
    rate: float = 2e-2


def gradient_inversion(
    engine: TorchEngine,
    latents: Latents,
    anchor: Tensor,
    kind: str,
    settings: GradientSettings,
    seed: int,
    watch: Callable[[int, Tensor], None] = lambda _forwards, _token: None,
) -> Tensor:
    """Return the token, shape (d,), after a descent with a linearly falling rate, averaged over its last third.

    ``watch`` sees (forward passes, current token) after every step; each forward pass had a backward one.
    """
    generator = torch.Generator().manual_seed(seed)
    token = anchor.clone().requires_grad_()
    optimizer = torch.optim.Adam([token], lr=settings.rate)
    kept: list[Tensor] = []
    for step in range(settings.steps):
        optimizer.param_groups[0]["lr"] = settings.rate * (1 - step / settings.steps)
        batch = draw_batch(latents, settings.draws, engine.timesteps, engine.templates(kind), generator)
        optimizer.zero_grad()
        with torch.enable_grad():
            engine.losses_with_graph(token[None], batch, kind).sum().backward()
        optimizer.step()
        watch((step + 1) * settings.draws, token.detach())
        if step >= 2 * settings.steps // 3:
            kept.append(token.detach().clone())
    return torch.stack(kept).mean(dim=0)
