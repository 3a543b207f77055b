"""Photos into latents, once and for all: the VAE is loaded for it and let go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from client.backbone.latents import Latents
from client.backbone.quantization import frozen


@torch.inference_mode()
def encode_photos(folder: Path, pixels: NDArray[Any], device: str) -> Latents:
    """Encode photos, uint8 of shape (photos, side, side, 3), one by one; the VAE stays in floating point."""
    vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", torch_dtype=torch.float32, use_safetensors=True)
    vae = frozen(vae, int8=False).to(device)
    rows = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    posteriors = [vae.encode(row[None].to(device)).latent_dist for row in rows]
    scale = vae.config.scaling_factor
    return Latents(
        mean=torch.cat([p.mean for p in posteriors]).cpu() * scale,
        spread=torch.cat([p.std for p in posteriors]).cpu() * scale,
    )
