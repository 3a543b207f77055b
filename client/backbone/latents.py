"""Photos as latents, encoded once, and the random draws that losses are measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class Latents:
    """The VAE posteriors of a person's photos, already multiplied by the backbone's scaling factor.

    ``mean`` and ``spread`` (the standard deviation) have shape (photos, channels, height, width).
    """

    mean: Tensor
    spread: Tensor
    captions: tuple[str, ...] = ()
    """What each photo shows, with ``{}`` where the concept stands; without them the kind's templates are used."""
    weights: Tensor | None = None
    """Where to learn from, shape (photos, 1, height, width), each photo's mean one; None is everywhere."""

    def told(self) -> str:
        """Return a digest of what is said of the photos and where they are looked at, to tell learnings apart."""
        seen = b"" if self.weights is None else self.weights.numpy().tobytes()
        return hashlib.sha256("\n".join(self.captions).encode() + b"\0" + seen).hexdigest()[:12]

    def captioned(self, captions: Sequence[str]) -> Latents:
        """Return the same photos, each with a caption of its own."""
        if len(captions) != len(self.mean):
            raise ValueError(f"{len(self.mean)} photos need as many captions, got {len(captions)}")
        return replace(self, captions=tuple(captions))

    def masked(self, masks: Tensor) -> Latents:
        """Return the same photos, learned from only where masks are white.

        Args:
            masks: 0 to 1, shape (photos, side, side), of any side: a latent counts as far as it is covered.

        Raises:
            ValueError: a mask is black all over, or they are not one a photo.
        """
        if len(masks) != len(self.mean):
            raise ValueError(f"{len(self.mean)} photos need as many masks, got {len(masks)}")
        covered = functional.adaptive_avg_pool2d(masks[:, None].float(), (self.mean.shape[2], self.mean.shape[3]))
        mean = covered.mean(dim=(2, 3), keepdim=True)
        if not (mean > 0).all():
            raise ValueError("a mask is black all over: white is what to learn from")
        return replace(self, weights=covered / mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Draws that every candidate of a step is scored on (common random numbers).

    ``latents`` and ``noise`` have shape (draws, channels, height, width), ``timesteps`` and ``templates``
    shape (draws,); ``templates`` indexes the prompts of the concept's kind, or ``captions`` where there are any.
    ``weights``, shape (draws, 1, height, width), say where errors count.
    """

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    templates: Tensor
    captions: tuple[str, ...] = ()
    weights: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of draws."""
        return len(self.latents)

    def split(self, draws: int) -> list[Batch]:
        """Return batches of at most so many draws."""
        return [self.some(rows) for rows in torch.arange(len(self)).split(draws)]

    def some(self, rows: Tensor) -> Batch:
        """Return the draws of these numbers."""
        return replace(
            self,
            latents=self.latents[rows],
            noise=self.noise[rows],
            timesteps=self.timesteps[rows],
            templates=self.templates[rows],
            weights=None if self.weights is None else self.weights[rows],
        )


def draw_batch(
    latents: Latents,
    draws: int,
    timesteps: tuple[int, int],
    templates: int,
    generator: torch.Generator,
    *,
    stratified: bool = False,
    antithetic: bool = False,
    turn: int = 0,
) -> Batch:
    """Draw photos, posterior samples, noise and timesteps.

    Timesteps are uniform in [T_L, T_U) (Partial Uniform Timestep Sampling, ZOODiP, arXiv:2503.14868, section 4.3).
    With ``stratified`` they cover the range evenly and photos take turns, which lowers the variance of a validation set
    of few draws; the first photo is the one whose ``turn`` it is. With ``antithetic`` the second half of an even number
    of draws repeats the first with the noise reversed, so that whatever is odd in the noise cancels in the mean.
    """
    if antithetic:
        if draws % 2:
            raise ValueError(f"antithetic draws come in pairs, got {draws}: ask for an even number")
        half = draw_batch(latents, draws // 2, timesteps, templates, generator, stratified=stratified, turn=turn)
        return _reversed(half)
    low, high = timesteps
    shape = (draws, *latents.mean.shape[1:])
    if stratified:
        rows = (turn + torch.arange(draws)) % len(latents.mean)
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
        templates=rows if latents.captions else torch.randint(templates, (draws,), generator=generator),
        captions=latents.captions,
        weights=None if latents.weights is None else latents.weights[rows],
    )


def _reversed(half: Batch) -> Batch:
    """Append every draw once more, its noise reversed."""
    both = half.some(torch.arange(len(half)).repeat(2))
    return replace(both, noise=torch.cat([half.noise, -half.noise]))
