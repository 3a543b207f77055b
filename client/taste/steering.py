"""Steers pictures towards a taste while they are drawn, with forward passes only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from client.taste.margins import BETA
from common.errors import ConfigError

DRAWS = 4
"""Draws that a reward is measured on; even, each noise is also drawn reversed."""

TURNS = 3
"""Times that particles are weighed on the way: after a quarter, a half and three quarters of the steps."""

FIRM = 5.0
"""λ, how firmly better particles are preferred; the paper's 10 is for a reward of a wider range."""


@dataclass(slots=True, kw_only=True)
class Steering:
    """Feynman-Kac steering (Singhal et al., arXiv:2501.06848, Algorithm 1) by the preference loss's own reward.

    k particles of a picture are drawn by a scheduler that adds noise at every step. At some steps each one's finished
    picture is foretold, and chance takes them in proportion to exp(λ (r − r before)), the "difference" potential.
    In the end the one of the highest reward is given. The reward is Diffusion-DPO's (arXiv:2311.12908, Eq. 5),

        r(x) = β [L(x; anchor) − L(x; taste)],

    how much better the taste's token denoises the picture than the anchor's does.
    """

    taste: Tensor
    """Text states of the prompt with the taste in it, shape (1, length, width)."""
    anchor: Tensor
    """The same with the anchor in its place."""
    plain: Tensor
    """The prompt's own."""
    timesteps: tuple[int, int]
    """Where losses are measured."""
    particles: int = 4
    firmness: float = FIRM
    forwards: int = 0
    """Passes spent on rewards so far."""
    _generator: torch.Generator = field(init=False)
    _before: Tensor = field(init=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        if self.particles < 1:
            raise ConfigError(f"--particles must be at least 1, got {self.particles}")

    @classmethod
    def towards(
        cls,
        pipeline: Any,  # noqa: ANN401 - diffusers has no types
        followed: tuple[str, str],
        prompt: str,
        timesteps: tuple[int, int],
        particles: int,
    ) -> Self:
        """Steer a pipeline's pictures of a prompt, said with the taste and with its anchor (`client.taste.words`)."""
        texts = (*followed, prompt)
        taste, anchor, plain = (pipeline.encode_prompt(text, pipeline.device, 1, False)[0] for text in texts)
        return cls(taste=taste, anchor=anchor, plain=plain, timesteps=timesteps, particles=particles)

    def begin(self, seed: int) -> list[int]:
        """Begin a picture; return the particles' seeds, the first of which is the picture's own."""
        self._generator = torch.Generator().manual_seed(seed)
        self._before = torch.zeros(self.particles)
        more = torch.randint(2**62, (self.particles - 1,), generator=self._generator).tolist()
        return [seed, *more]

    def turned(self, pipeline: Any, timesteps: list[float], step: int, latents: Tensor) -> dict[str, Tensor]:  # noqa: ANN401 - diffusers has no types
        """Weigh the particles, if it is time, and go on with those that chance and weight choose."""
        count = len(timesteps)
        if step == count - 1:
            self._before = self._rewards(pipeline, latents)
            return {}
        if step + 1 not in {round(count * turn / (TURNS + 1)) for turn in range(1, TURNS + 1)}:
            return {}
        foretold = self._foretold(pipeline, latents, timesteps[step + 1])
        rewards = self._rewards(pipeline, foretold)
        weights = torch.softmax(self.firmness * (rewards - self._before), dim=0)
        rows = torch.multinomial(weights, self.particles, replacement=True, generator=self._generator)
        self._before = rewards[rows]
        return {"latents": latents[rows.to(latents.device)]}

    def best(self, latents: Tensor) -> Tensor:
        """Return the finished particle of the highest reward."""
        row = int(self._before.argmax())
        return latents[row : row + 1]

    def _foretold(self, pipeline: Any, latents: Tensor, timestep: float) -> Tensor:  # noqa: ANN401 - as above
        """Return the x̂₀ that the prompt's own prediction stands for (Salimans & Ho, arXiv:2202.00512, Appendix D)."""
        scheduler, count = pipeline.scheduler, len(latents)
        latents = scheduler.scale_model_input(latents, timestep)  # of some, latents are x_t/α: the network is given x_t
        signal = float(scheduler.alphas_cumprod[int(timestep)])
        alpha, sigma = signal**0.5, (1 - signal) ** 0.5
        time = torch.full((count,), int(timestep), device=latents.device)
        said = pipeline.unet(latents, time, self.plain.expand(count, -1, -1), return_dict=False)[0]
        self.forwards += count
        if scheduler.config.prediction_type == "v_prediction":
            clean: Tensor = alpha * latents - sigma * said
        else:
            clean = (latents - sigma * said) / max(alpha, 1e-4)
        return clean

    def _rewards(self, pipeline: Any, latents: Tensor) -> Tensor:  # noqa: ANN401 - as above
        """Return r of clean latents, shape (particles,); all meet the same noise at the same timesteps."""
        low, high = self.timesteps
        half = torch.randn(DRAWS // 2, *latents.shape[1:], generator=self._generator)
        noise = torch.cat([half, -half]).to(latents)
        places = (torch.arange(DRAWS // 2) + torch.rand(DRAWS // 2, generator=self._generator)) / (DRAWS // 2)
        times = (low + places * (high - low)).long().clamp(max=high - 1).repeat(2).to(latents.device)
        count, scheduler = len(latents), pipeline.scheduler
        clean, noise, times = latents.repeat_interleave(DRAWS, 0), noise.repeat(count, 1, 1, 1), times.repeat(count)
        noisy, target = _noisy(scheduler, clean, noise, times)
        losses = []
        for said in (self.anchor, self.taste):
            found = pipeline.unet(noisy, times, said.expand(len(noisy), -1, -1), return_dict=False)[0]
            losses.append((found - target).square().mean(dim=(1, 2, 3)).view(count, DRAWS).mean(dim=1))
        self.forwards += 2 * len(noisy)
        rewards: Tensor = BETA * (losses[0] - losses[1]).float().cpu()
        return rewards


def _noisy(scheduler: Any, clean: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - as above
    """Return x_t, and what a prediction of it should be."""
    signal = scheduler.alphas_cumprod.to(clean)[times].view(-1, 1, 1, 1)
    alpha, sigma = signal.sqrt(), (1 - signal).sqrt()
    target = alpha * noise - sigma * clean if scheduler.config.prediction_type == "v_prediction" else noise
    return alpha * clean + sigma * noise, target


def check_steerable(pipeline: Any) -> None:  # noqa: ANN401 - as above
    """Refuse a pipeline whose particles would all stay the same, or whose network wants more than a prompt.

    Raises:
        ConfigError: with what to do.
    """
    if getattr(pipeline, "text_encoder_2", None) is not None:
        raise ConfigError("steering knows no Stable Diffusion XL yet: leave --particles at 1")
    name = type(pipeline.scheduler).__name__
    if name != "DDIMScheduler" and not any(word in name for word in ("Ancestral", "SDE", "DDPM", "LCM")):
        raise ConfigError(
            f"{name} adds no noise on the way, so that particles stay alike: use --scheduler DDIMScheduler"
        )
