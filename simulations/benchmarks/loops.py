"""Single steps of the ways to learn a token: the published loop, ours, and those that need gradients.

Each is a function of nothing that takes one step, made once: what is loaded and cached beforehand is not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextModel

from client.backbone.engine import Engine, TorchEngine
from client.backbone.latents import Latents, draw_batch
from client.backbone.quantization import frozen
from client.learn.descent import Descent
from client.learn.estimator import forward_difference
from client.learn.photos import Photos
from client.learn.reference import ReferenceSettings
from client.learn.settings import Settings

Step = Callable[[], None]

WORD = "dog"
RATE, DECAY = 5e-6, 1e-2
"""DreamBooth's learning rate (arXiv:2208.12242) and AdamW's weight decay."""


def pixels_of(side: int, seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return one random picture, shape (1, side, side, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (1, side, side, 3), dtype=np.uint8)


def random_latents(engine: Engine, side: int, seed: int) -> Latents:
    """Return one photo's latents as they would be after encoding, shape (1, channels, side, side)."""
    mean = torch.randn(1, engine.latent_shape[0], side, side, generator=torch.Generator().manual_seed(seed))
    return Latents(mean=mean, spread=torch.full_like(mean, 0.1))


def our_step(engine: Engine, side: int, seed: int) -> Step:
    """Latents cached, the base and both perturbations in one batch."""
    latents, settings = random_latents(engine, side, seed), ReferenceSettings()
    generator, token = torch.Generator().manual_seed(seed), engine.anchor(WORD)

    def step() -> None:
        batch = draw_batch(latents, 1, engine.timesteps, engine.templates("object"), generator)
        directions = torch.randn(settings.directions, len(token), generator=generator)
        forward_difference(lambda candidates: engine.losses(candidates, batch, "object"), token, directions, 1e-3)

    return step


def search_step(engine: Engine, side: int, seed: int) -> tuple[Step, int]:
    """A step of our own search, predictions of the place and of probes around it; and its forward passes.

    What it costs to find where all evidence points is in it: text encoders' states, no forward pass.
    """
    latents, generator = random_latents(engine, side, seed), torch.Generator().manual_seed(seed)
    settings = Settings(whole_range=True)  # no opening: looks with probes are what a search spends its forwards on
    task = Photos(engine=engine, latents=latents, kind="object", settings=settings)
    descent = Descent(task=task, shape=task.shape(task.covariance(), engine.anchor(WORD)))

    def step() -> None:
        descent.step(generator)

    return step, descent.forwards


def published_step(engine: TorchEngine, vae: Any, side: int, seed: int) -> Step:  # noqa: ANN401 - diffusers has no types
    """Encode the photo anew, then three forwards one by one, each with its own pass of the text encoder."""
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    picture = _normalized(side * factor, seed)
    settings = ReferenceSettings()
    generator, token = torch.Generator().manual_seed(seed), engine.anchor(WORD)

    @torch.inference_mode()
    def step() -> None:
        posterior = vae.encode(picture).latent_dist
        latents = Latents(mean=posterior.mean * vae.config.scaling_factor, spread=posterior.std)
        batch = draw_batch(latents, 1, engine.timesteps, engine.templates("object"), generator)
        directions = torch.randn(settings.directions, len(token), generator=generator)

        def one_by_one(candidates: Tensor) -> Tensor:
            return torch.cat([engine.losses(each[None], batch, "object") for each in candidates])

        forward_difference(one_by_one, token, directions, settings.step)

    return step


def load_vae(folder: Path) -> Any:  # noqa: ANN401 - diffusers has no types
    """Return the VAE, float32."""
    return frozen(AutoencoderKL.from_pretrained(folder, subfolder="vae", torch_dtype=torch.float32), int8=False)


def _normalized(side: int, seed: int) -> Tensor:
    return torch.from_numpy(pixels_of(side, seed)).permute(0, 3, 1, 2).float() / 127.5 - 1


def inversion_step(folder: Path, side: int, seed: int, *, checkpointing: bool) -> Step:
    """Textual inversion with backpropagation (Gal et al., arXiv:2208.01618), float32, Adam on the token."""
    unet, text = _trainable(folder, checkpointing=checkpointing)
    unet.requires_grad_(requires_grad=False)
    text.requires_grad_(requires_grad=False)
    token = torch.zeros(text.config.hidden_size, requires_grad=True)
    optimizer = torch.optim.Adam([token], lr=1e-2)
    return _gradient_step(unet, text, optimizer, side, seed, token)


def dreambooth_step(folder: Path, side: int, seed: int) -> Step:
    """DreamBooth (Ruiz et al., arXiv:2208.12242): the whole U-Net learns, float32, AdamW."""
    unet, text = _trainable(folder, checkpointing=False)
    text.requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=RATE, weight_decay=DECAY)
    return _gradient_step(unet, text, optimizer, side, seed, None)


def _trainable(folder: Path, *, checkpointing: bool) -> tuple[Any, Any]:
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=torch.float32)
    text = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", dtype=torch.float32)
    if checkpointing:
        unet.enable_gradient_checkpointing()
        text.activation_checkpointing_enable()
    return unet.train(), text.train()


def _gradient_step(
    unet: Any,  # noqa: ANN401 - diffusers has no types
    text: Any,  # noqa: ANN401 - transformers has none either
    optimizer: torch.optim.Optimizer,
    side: int,
    seed: int,
    token: Tensor | None,
) -> Step:
    """Predict noise on one latent with a prompt in which the token stands, and take an optimizer's step."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.arange(text.config.max_position_embeddings)[None]

    def step() -> None:
        noisy = torch.randn(1, unet.config.in_channels, side, side, generator=generator)
        if token is not None:
            text.set_input_embeddings(_Word(text.get_input_embeddings(), token))
        states = text(ids).last_hidden_state
        if token is not None:
            text.set_input_embeddings(text.get_input_embeddings().table)
        output = unet(noisy, torch.tensor([700]), states, return_dict=False)[0]
        functional.mse_loss(output, noisy).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


class _Word(torch.nn.Module):
    """A table of embeddings in which the fifth word of every prompt is the token."""

    def __init__(self, table: torch.nn.Module, token: Tensor) -> None:
        super().__init__()
        self.table, self.token = table, token

    def forward(self, ids: Tensor) -> Tensor:
        known = self.table(ids)
        mask = torch.arange(known.shape[1])[None, :, None] == 5
        return torch.where(mask, self.token, known)
