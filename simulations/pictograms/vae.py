"""Trains the Pictograms autoencoder: 64 x 64 pictures to 4 x 16 x 16 latents.

python -m simulations.pictograms.vae WORK_FOLDER MINUTES
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from simulations.pictograms.data import load

KL_WEIGHT = 1e-6
"""Small: the latents need only stay bounded; the diffusion works on rescaled ones."""


def new_vae() -> AutoencoderKL:
    """Return the untrained autoencoder (factor 4, 4 latent channels)."""
    return AutoencoderKL(
        block_out_channels=(24, 48, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=64,
    )


def picture_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 plus L1 of the spatial gradients, which keeps the flat artwork's edges sharp."""
    loss = functional.l1_loss(output, target)
    for axis in (-1, -2):
        loss = loss + functional.l1_loss(output.diff(dim=axis), target.diff(dim=axis))
    return loss


def train(folder: Path, minutes: float, seed: int = 0) -> None:
    """Train until the minutes are over; write ``vae/`` with the latents' scale in its config."""
    torch.manual_seed(seed)
    data = load(folder / "data.npz")
    pixels = torch.from_numpy(data.pixels[data.where("train")]).permute(0, 3, 1, 2)
    resumed = (folder / "vae").exists()
    vae = AutoencoderKL.from_pretrained(folder / "vae") if resumed else new_vae()
    vae.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=2e-3, weight_decay=1e-4)
    end, step, log = time.monotonic() + 60 * minutes, 0, []
    start = time.monotonic()
    while (now := time.monotonic()) < end:
        left = (end - now) / (end - start)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, step / 100) * (0.02 + 0.98 * min(1.0, 1.5 * left))
        rows = pixels[torch.randint(len(pixels), (32,))].float() / 127.5 - 1
        if torch.rand(()) < 0.5:
            rows = rows.flip(-1)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(rows.contiguous(memory_format=torch.channels_last)).latent_dist
            output = vae.decode(posterior.sample()).sample
        loss = picture_loss(output.float(), rows) + KL_WEIGHT * posterior.kl().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 100 == 0:
            log.append({"step": step, "seconds": round(time.monotonic() - start), "loss": round(loss.item(), 4)})
            print(log[-1], flush=True)
    finish(vae, pixels, folder, log)


@torch.inference_mode()
def finish(vae: AutoencoderKL, pixels: Tensor, folder: Path, log: list[dict[str, float]]) -> None:
    """Measure the latents' spread, register it as the scaling factor and save."""
    vae.eval()
    rows = pixels[:: max(1, len(pixels) // 512)].float() / 127.5 - 1
    latents = vae.encode(rows).latent_dist.mean
    vae.register_to_config(scaling_factor=float(1 / latents.std()), shift_factor=None)
    error = functional.l1_loss(vae.decode(latents).sample, rows).item()
    print(f"scale {vae.config.scaling_factor:.4f}, reconstruction L1 {error:.4f}", flush=True)
    vae.save_pretrained(folder / "vae")
    (folder / "vae-log.json").write_text(json.dumps(log))


if __name__ == "__main__":
    train(Path(sys.argv[1]), float(sys.argv[2]))
