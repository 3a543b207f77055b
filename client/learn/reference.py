"""The published algorithm as it stands: ZOODiP, the baseline of every benchmark.

Seo et al., CVPR 2025, arXiv:2503.14868v1. Where the paper is silent we follow the authors' released program:
Gaussian directions, Adam with ε = 1e-3, the estimate divided by √((d + n - 1)/n) with d the dimensions that
Subspace Gradient left, history standardized before its principal components are taken, every τ steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from client.backbone.engine import Engine
from client.backbone.latents import Latents, draw_batch
from client.learn.estimator import Losses, forward_difference
from client.learn.subspace import low_variance_directions, without


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSettings:
    """Published settings (section 5 of the paper)."""

    directions: int = 2
    """n, perturbations of a step."""
    step: float = 1e-3
    """μ, length of a perturbation's unit."""
    rate: float = 1e-2
    """Adam's learning rate."""
    history: int = 128
    """τ, tokens that Subspace Gradient looks back on."""
    noise_share: float = 1e-3
    """ν, the share of their variance taken for noise."""

    @property
    def forwards(self) -> int:
        """Forward passes of one step."""
        return self.directions + 1


@dataclass(slots=True)
class ReferenceState:
    """Adam's moments, the history and the directions projected out: all that a step needs and changes."""

    token: Tensor
    first: Tensor = field(init=False)
    second: Tensor = field(init=False)
    count: int = 0
    history: list[Tensor] = field(default_factory=list)
    removed: Tensor = field(init=False)

    def __post_init__(self) -> None:
        """Start with moments of zero and nothing removed."""
        self.first = torch.zeros_like(self.token)
        self.second = torch.zeros_like(self.token)
        self.removed = torch.zeros(0, len(self.token))


def reference_step(
    state: ReferenceState, losses: Losses, settings: ReferenceSettings, generator: torch.Generator
) -> float:
    """Take one step of Algorithm 1 in place; return the loss before it."""
    width, n = len(state.token), settings.directions
    directions = torch.randn(n, width, generator=generator)
    gradient, loss = forward_difference(losses, state.token, directions, settings.step)
    gradient = gradient / ((width - len(state.removed) + n - 1) / n) ** 0.5
    gradient = without(gradient, state.removed)
    state.count += 1
    state.first = 0.9 * state.first + 0.1 * gradient
    state.second = 0.999 * state.second + 0.001 * gradient.square()
    first = state.first / (1 - 0.9**state.count)
    second = state.second / (1 - 0.999**state.count)
    state.token = state.token - settings.rate * first / (second.sqrt() + 1e-3)
    state.history = [*state.history[-settings.history + 1 :], state.token]
    if state.count % settings.history == 0:
        state.removed = low_variance_directions(torch.stack(state.history), settings.noise_share, standardize=True)
    return loss


def published_draws(engine: Engine, latents: Latents, kind: str, generator: torch.Generator) -> Callable[[], Losses]:
    """Return what gives each step its batch: one photo, noise and timestep, as published."""

    def next_losses() -> Losses:
        batch = draw_batch(latents, 1, engine.timesteps, engine.templates(kind), generator)
        return lambda candidates: engine.losses(candidates, batch, kind)

    return next_losses


def reference_search(
    start: Tensor,
    next_losses: Callable[[], Losses],
    settings: ReferenceSettings,
    generator: torch.Generator,
) -> Iterator[tuple[int, Tensor]]:
    """Yield (forwards spent, token) after every step, without end; ``next_losses`` draws each step's batch."""
    state = ReferenceState(start.clone())
    while True:
        reference_step(state, next_losses(), settings, generator)
        yield state.count * settings.forwards, state.token
