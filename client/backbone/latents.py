"""Photos as latents, encoded once, and the random draws that losses are measured on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Latents:
    """The VAE posteriors of a person's photos, already multiplied by the backbone's scaling factor.

    ``mean`` and ``spread`` (the standard deviation) have shape (photos, channels, height, width).
    """

    mean: Tensor
    spread: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Draws that every candidate of a step is scored on (common random numbers).

    ``latents`` and ``noise`` have shape (draws, channels, height, width), ``timesteps`` and ``templates``
    shape (draws,); ``templates`` indexes the prompts of the concept's kind.
    """

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    templates: Tensor

    def __len__(self) -> int:
        """Return the number of draws."""
        return len(self.latents)

    def split(self, draws: int) -> list[Batch]:
        """Return batches of at most so many draws."""
        parts = (part.split(draws) for part in (self.latents, self.noise, self.timesteps, self.templates))
        return [
            Batch(latents=latents, noise=noise, timesteps=timesteps, templates=templates)
            for latents, noise, timesteps, templates in zip(*parts, strict=True)
        ]


def draw_batch(
    latents: Latents,
    draws: int,
    timesteps: tuple[int, int],
    templates: int,
    generator: torch.Generator,
    *,
    stratified: bool = False,
    antithetic: bool = False,
) -> Batch:
    """Draw photos, posterior samples, noise and timesteps.

    Timesteps are uniform in [T_L, T_U) (Partial Uniform Timestep Sampling, ZOODiP, arXiv:2503.14868, section 4.3).
    With ``stratified`` they cover the range evenly and photos take turns, which lowers the variance of a
    validation set of few draws. With ``antithetic`` the second half of an even number of draws repeats the first
    with the noise reversed, so that whatever is odd in the noise cancels in the mean.
    """
    if antithetic:
        if draws % 2:
            raise ValueError(f"antithetic draws come in pairs, got {draws}: ask for an even number")
        half = draw_batch(latents, draws // 2, timesteps, templates, generator, stratified=stratified)
        return _reversed(half)
    low, high = timesteps
    shape = (draws, *latents.mean.shape[1:])
    if stratified:
        rows = torch.arange(draws) % len(latents.mean)
        places = (torch.randperm(draws, generator=generator) + torch.rand(draws, generator=generator)) / draws
        steps = (low + places * (high - low)).long().clamp(max=high - 1)
    else:
        rows = torch.randint(len(latents.mean), (draws,), generator=generator)
        steps = torch.randint(low, high, (draws,), generator=generator)
    posterior = torch.randn(shape, generator=generator)
    return Batch(
        latents=latents.mean[rows] + latents.spread[rows] * posterior,
        noise=torch.randn(shape, generator=generator),
        timesteps=steps,
        templates=torch.randint(templates, (draws,), generator=generator),
    )


def _reversed(half: Batch) -> Batch:
    """Append every draw once more, its noise reversed."""
    return Batch(
        latents=half.latents.repeat(2, 1, 1, 1),
        noise=torch.cat([half.noise, -half.noise]),
        timesteps=half.timesteps.repeat(2),
        templates=half.templates.repeat(2),
    )
