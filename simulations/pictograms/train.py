"""Trains the Pictograms text encoder and U-Net and assembles the pipeline's folder.

    python -m simulations.pictograms.train WORK_FOLDER MINUTES [START]

Resumes from ``WORK_FOLDER/checkpoint.safetensors`` and spends MINUTES in all; without a checkpoint it begins with
the weights of the pipeline folder START (the committed one, to train it further), or from nothing. Uses a GPU when
there is one.
v-prediction (Salimans & Ho, arXiv:2202.00512) with zero terminal SNR (Lin et al., arXiv:2305.08891),
an exponential moving average of the weights.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel, CLIPTokenizer

from simulations.pictograms.data import Pictograms, caption, load
from simulations.pictograms.text import WIDTH, new_text_encoder, write_tokenizer

BATCH = 48
LEARNING_RATE = 1.2e-3
EMA_DECAY = 0.998
CAPTION_KINDS = (0.64, 0.12, 0.07, 0.07, 0.10)
"""Shares of captions: name and style, name alone, class word and style, style alone, empty (guidance)."""

TEMPLATES = {"object": ["{}"], "style": ["{} style"], "taste": ["{} style"]}
"""Prompts that a learned token stands in, in the manner of the captions."""

TASTES = [
    *("classic", "clean", "ink", "modern", "pop", "simple", "soft", "studio"),
    *("red", "orange", "yellow", "green", "blue", "purple", "brown", "black", "white", "pink"),
    *("face", "round", "square", "large", "small", "dark", "light", "smiling", "sparkling", "heavy"),
]
"""The sets' words, and words of many names that say how a thing looks."""

TIMESTEPS = [600, 1000]
"""Where the text's gradient stands above its variance on this backbone (docs/learning.md has the table)."""

SAMPLING = {"guidance": 4.0, "steps": 20}
"""How pictures come out best, for `shoal generate`."""


def new_unet() -> UNet2DConditionModel:
    """Return the untrained U-Net on 16 x 16 latents; text enters at 8 x 8 and 4 x 4."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 112, 176),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def new_scheduler() -> DDIMScheduler:
    """Return the noise schedule that the backbone is trained with and sampled by."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


@dataclass
class Captions:
    """Token ids of every picture's five captions, shape (5, pictures, length)."""

    ids: Tensor

    @classmethod
    def of(cls, data: Pictograms, rows: list[int], tokenizer: CLIPTokenizer) -> Captions:
        """Tokenize the captions of ``rows`` once."""
        texts = [
            [caption(data.names[i], data.styles[i]) for i in rows],
            [data.names[i] for i in rows],
            [caption(data.classes[i], data.styles[i]) for i in rows],
            [f"{data.styles[i]} style" for i in rows],
            ["" for _ in rows],
        ]
        length = tokenizer.model_max_length
        options = {"padding": "max_length", "truncation": True, "max_length": length}
        return cls(torch.tensor([tokenizer(t, **options).input_ids for t in texts]))

    def draw(self, rows: Tensor) -> Tensor:
        """Draw a caption for each row."""
        kinds = torch.multinomial(torch.tensor(CAPTION_KINDS), len(rows), replacement=True)
        return self.ids[kinds, rows]


@torch.inference_mode()
def encode_all(vae: AutoencoderKL, data: Pictograms, rows: list[int], device: str) -> Tensor:
    """Encode pictures once; return scaled latents of shape (pictures, 4, 16, 16)."""
    pixels = torch.from_numpy(data.pixels[rows]).permute(0, 3, 1, 2)
    parts = [vae.encode(part.to(device).float() / 127.5 - 1).latent_dist.mean.cpu() for part in pixels.split(128)]
    latents: Tensor = torch.cat(parts) * vae.config.scaling_factor
    return latents


def warm_text(text: CLIPTextModel, captions: Captions, latents: Tensor, minutes: float, device: str) -> None:
    """Teach the text encoder what pictures look like before the U-Net starts: predict the mean latent.

    A linear head reads all token states and predicts the picture's latent by least squares. Cheap
    (a fifteenth of a diffusion step), and it gives related words related vectors.
    """
    length = captions.ids.shape[-1]
    pooled = latents.flatten(1).to(device)
    head = nn.Sequential(nn.LayerNorm(WIDTH * length), nn.Linear(WIDTH * length, 512), nn.Linear(512, pooled.shape[1]))
    head.to(device)
    parameters = [*text.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-2)
    end, start, step = time.monotonic() + 60 * minutes, time.monotonic(), 0
    while (now := time.monotonic()) < end:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, step / 50) * max(0.05, (end - now) / (end - start))
        rows = torch.randint(len(latents), (128,))
        states = text(captions.draw(rows).to(device)).last_hidden_state
        loss = functional.mse_loss(head(states.flatten(1)), pooled[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(f"text: step {step}, loss {loss.item():.4f}", flush=True)


def diffusion_loss(unet: nn.Module, text: nn.Module, scheduler: DDIMScheduler, latents: Tensor, ids: Tensor) -> Tensor:
    """Plain v-prediction loss of one batch with stratified timesteps.

    Min-SNR weights (arXiv:2303.09556) were tried first: they make little of the noisiest steps, which is where
    text decides what a small picture shows, and the shapes stayed vague (docs/backbone.md).
    """
    count = len(latents)
    uniform = (torch.arange(count) + torch.rand(count)) / count
    steps = (uniform * 1000).long().clamp(0, 999).to(latents.device)
    noise = torch.randn_like(latents)
    noisy = scheduler.add_noise(latents, noise, steps)
    target = scheduler.get_velocity(latents, noise, steps)
    output = unet(noisy, steps, text(ids).last_hidden_state, return_dict=False)[0]
    return functional.mse_loss(output.float(), target)


class Trainer:
    """Weights, their average, the optimizer and the clock; one object so that it can be checkpointed."""

    def __init__(self, folder: Path, minutes: float, start: Path | None = None, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.folder, self.minutes = folder, minutes
        self.data = load(folder / "data.npz")
        self.rows = self.data.where("train")
        self.tokenizer = write_tokenizer(folder / "tokenizer")
        self.captions = Captions.of(self.data, self.rows, self.tokenizer)
        if start is not None and not (folder / "vae").exists():
            options = {"torch_dtype": torch.float32, "use_safetensors": True}
            AutoencoderKL.from_pretrained(start, subfolder="vae", **options).save_pretrained(folder / "vae")
        self.vae = AutoencoderKL.from_pretrained(folder / "vae").to(self.device)
        self.latents = encode_all(self.vae, self.data, self.rows, self.device)
        self.text = new_text_encoder(self.tokenizer).to(self.device)
        self.unet = new_unet().to(self.device, memory_format=torch.channels_last)
        self.both = nn.ModuleDict({"text": self.text, "unet": self.unet})
        self.scheduler = new_scheduler()
        self.seconds, self.step = 0.0, 0
        self.peak = LEARNING_RATE if start is None else LEARNING_RATE / 2
        self.log: list[dict[str, float]] = []
        checkpoint = folder / "checkpoint.safetensors"
        if checkpoint.exists():
            self._resume(checkpoint)
        elif start is not None:
            self._begin_with(start)
        else:
            warm_text(self.text, self.captions, self.latents, 0.03 * minutes, self.device)
        self.optimizer = torch.optim.AdamW(
            self.both.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.01
        )
        if checkpoint.exists() and (folder / "optimizer.safetensors").exists():
            self._resume_optimizer()
        if not hasattr(self, "average"):
            self.average = {k: v.detach().clone() for k, v in self.both.state_dict().items()}

    def _begin_with(self, start: Path) -> None:
        """Take over a finished pipeline's weights; its autoencoder came along with them."""
        options = {"torch_dtype": torch.float32, "use_safetensors": True}
        unet = UNet2DConditionModel.from_pretrained(start, subfolder="unet", **options)
        text = CLIPTextModel.from_pretrained(start, subfolder="text_encoder", dtype=torch.float32)
        self.unet.load_state_dict(unet.state_dict())
        self.text.load_state_dict(text.state_dict())

    def _resume(self, path: Path) -> None:
        state = load_file(path)
        self.both.load_state_dict({k[4:]: v for k, v in state.items() if k.startswith("raw.")})
        self.average = {k[4:]: v.to(self.device) for k, v in state.items() if k.startswith("ema.")}
        self.log = json.loads((self.folder / "train-log.json").read_text())
        self.seconds, self.step = self.log[-1]["seconds"], int(self.log[-1]["step"])
        print(f"resumed at step {self.step}", flush=True)

    def _resume_optimizer(self) -> None:
        state = load_file(self.folder / "optimizer.safetensors")
        for i, parameter in enumerate(self.both.parameters()):
            self.optimizer.state[parameter] = {key: state[f"{i}.{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}

    def save(self) -> None:
        """Write weights, averages and optimizer atomically."""
        raw = {f"raw.{k}": v.contiguous() for k, v in self.both.state_dict().items()}
        ema = {f"ema.{k}": v.contiguous() for k, v in self.average.items()}
        moments = {
            f"{i}.{key}": torch.as_tensor(value).contiguous()
            for i, p in enumerate(self.both.parameters())
            for key, value in self.optimizer.state[p].items()
        }
        for name, content in (("checkpoint", {**raw, **ema}), ("optimizer", moments)):
            save_file(content, self.folder / f"{name}.tmp")
            (self.folder / f"{name}.tmp").replace(self.folder / f"{name}.safetensors")
        (self.folder / "train-log.json").write_text(json.dumps(self.log))

    def rate(self) -> float:
        """Linear warm-up over 200 steps, constant, then a cosine over the last 60 % of the time."""
        left = 1 - self.seconds / (60 * self.minutes)
        return self.peak * min(1.0, self.step / 200) * float(0.5 - 0.5 * np.cos(np.pi * min(1.0, left / 0.6)))

    def one_step(self) -> Tensor:
        """Take one optimizer step and return its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = max(self.rate(), 1e-6)
        rows = torch.randint(len(self.latents), (BATCH,))
        latents, ids = self.latents[rows].to(self.device), self.captions.draw(rows).to(self.device)
        # Plain attention: at 64 positions a third faster a step on a CPU than the fused kernel's backward pass.
        with sdpa_kernel(SDPBackend.MATH), torch.autocast(self.device, torch.bfloat16):
            loss = diffusion_loss(self.unet, self.text, self.scheduler, latents, ids)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.both.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        values = [v for v in self.both.state_dict().values() if v.is_floating_point()]
        averages = [self.average[k] for k, v in self.both.state_dict().items() if v.is_floating_point()]
        torch._foreach_lerp_(averages, values, 1 - decay)
        return loss.detach()

    def run(self) -> None:
        """Train until the minutes are over, saving every five."""
        saved, losses, clock = self.seconds, [], time.monotonic()
        while self.seconds < 60 * self.minutes:
            losses.append(self.one_step())
            self.seconds, clock = self.seconds + time.monotonic() - clock, time.monotonic()
            if self.step % 100 == 0:
                mean = torch.stack(losses).mean().item()
                self.log.append({"step": self.step, "seconds": round(self.seconds, 1), "loss": round(mean, 5)})
                losses = []
                print(self.log[-1], flush=True)
                if self.seconds - saved > 300:
                    self.save()
                    saved = self.seconds
        self.save()


def assemble(folder: Path, target: Path) -> None:
    """Write the averaged weights as a half-precision `StableDiffusionPipeline` folder."""
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    text, unet = new_text_encoder(tokenizer), new_unet()
    state = load_file(folder / "checkpoint.safetensors")
    both = nn.ModuleDict({"text": text, "unet": unet})
    both.load_state_dict({k[4:]: v for k, v in state.items() if k.startswith("ema.")})
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae"),
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(target, safe_serialization=True)
    for config in target.glob("*/config.json"):  # diffusers notes where a part was loaded from: nobody's business
        facts = json.loads(config.read_text())
        facts.pop("_name_or_path", None)
        config.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")
    hints = {"templates": TEMPLATES, "timesteps": TIMESTEPS, "sampling": SAMPLING, "tastes": TASTES}
    (target / "shoal.json").write_text(json.dumps(hints, indent=2) + "\n")


if __name__ == "__main__":
    trainer = Trainer(Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
    trainer.run()
    assemble(trainer.folder, trainer.folder / "pictograms")
