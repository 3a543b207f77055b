"""The engine that people use: weights at rest in int8, arithmetic in bfloat16, candidates as differences from one.

docs/engines.md tells what it costs and how closely it follows float32. Its three forms share all code: `Form` says how
weights rest, in which arithmetic layers compute, and whether a batch carries points or differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, DDPMScheduler
from numpy.typing import NDArray
from torch import Tensor

from client.backbone.differences import Rows, carry_differences
from client.backbone.encoding import encode_photos
from client.backbone.engine import drawn, fingerprint
from client.backbone.latents import Batch, Latents
from client.backbone.lexicon import read_lexicon
from client.backbone.prompts import sayings
from client.backbone.resting import load_int8, load_whole
from client.backbone.slices import Slices
from client.backbone.text import Said, TextEncoder
from common.errors import BackboneError


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a network rests and computes."""

    weights: Literal["int8", "whole"] = "int8"
    """int8, or as the model's own files have them."""
    arithmetic: torch.dtype = torch.bfloat16
    differences: bool = True


EXACT = Form(weights="whole", arithmetic=torch.float32, differences=False)
"""The yardstick of the gate: float32 throughout."""

PLACES = 2560
"""Tokens, over all rows, that text encoders are told at once where they alone are asked."""


class CompactEngine:
    """A folder of `StableDiffusionPipeline` or `StableDiffusionXLPipeline`, its networks mapped from int8 shards.

    The engine is what `client.backbone.engine.Engine` asks for. The VAE is loaded while photos are encoded and let go;
    of the table of token embeddings only the rows of the prompts are ever read. XL's two text encoders each get their
    part of a vector: the first 768 numbers of 2,048, and the rest (arXiv:2307.01952).
    """

    def __init__(self, folder: Path, cache: Path, *, device: str = "cpu", form: Form | None = None) -> None:
        """Map a folder's networks; the int8 shards are made below ``cache`` the first time.

        Raises:
            BackboneError: the folder holds no such pipeline, or one with layers that are not known here.
        """
        self.folder, self.device, self.form = folder, device, form or Form()
        self.vectors = 1
        self._rows, self._slices = Rows(), Slices()
        self.fingerprint = fingerprint(folder)
        try:
            self._unet = self._load("unet", cache)
            self._texts = self._load_texts(cache)
            self._schedule = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
            config = AutoencoderKL.load_config(folder, subfolder="vae")
        except (OSError, ValueError, KeyError) as error:
            raise BackboneError(
                f"{folder} is not a Stable Diffusion folder that can be used ({type(error).__name__}): "
                "name a local folder with unet/, vae/, text_encoder/, tokenizer/ and scheduler/ in safetensors"
            ) from error
        self.width = sum(text.width for text in self._texts)
        side = int(self._unet.config.sample_size)
        self.latent_shape = (int(self._unet.config.in_channels), side, side)
        self.pixel_size = side * 2 ** (len(config["block_out_channels"]) - 1)
        said = sayings(folder)
        self.timesteps, self._templates = said.timesteps, said.templates
        self.lexicon = read_lexicon(folder, self.fingerprint)

    def _load(self, part: str, cache: Path) -> Any:  # noqa: ANN401 - diffusers and transformers have no types
        if self.form.weights == "int8":
            network = load_int8(self.folder, part, cache, self.fingerprint)
        else:
            network = load_whole(self.folder, part)
        if self.form.differences:
            carry_differences(network, self._rows)
        return network.to(self.device)

    def _load_texts(self, cache: Path) -> list[TextEncoder]:
        """Return the text encoders in the order in which their states are joined."""
        two = (self.folder / "text_encoder_2").is_dir()
        parts = ("text_encoder", "text_encoder_2") if two else ("text_encoder",)
        return [
            TextEncoder(self.folder, number, self._load(part, cache), self._rows, penultimate=two)
            for number, part in enumerate(parts)
        ]

    def anchor(self, word: str) -> Tensor:
        """Return a word's embedding for each vector, shape (vectors * d,): its tokens' mean; zeros for no word."""
        return torch.cat([text.anchor(word) for text in self._texts]).repeat(self.vectors)

    def vocabulary(self) -> Tensor:
        """Return the table of token embeddings, shape (V, d)."""
        tables = [text.table for text in self._texts]
        return tables[0] if len(tables) == 1 else torch.cat(tables, dim=1)

    def templates(self, kind: str) -> int:
        """Return how many prompts a kind of concept has."""
        return len(self._templates[kind])

    def encode(self, pixels: NDArray[Any]) -> Latents:
        """Encode photos, uint8 of shape (photos, side, side, 3), once and for all."""
        return encode_photos(self.folder, pixels, self.device)

    @torch.inference_mode()
    def losses(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return each candidate's mean denoising loss on the batch, shape (candidates,).

        The first candidate is the one that the others are carried as differences from. What does not fit into one call
        is cut: first by draws, then by candidates, and finer where the memory runs out.
        """
        return self._slices.losses(self._scored, candidates, batch, kind)

    @torch.inference_mode()
    def losses_of_many(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return losses on draws that each have candidates of their own, shape (candidates, draws), from one call."""
        return self._scored(candidates, batch, kind)

    @torch.inference_mode()
    def residuals(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return what each candidate's predictions miss, shape (candidates, draws, entries), cut as `losses` are."""
        return self._slices.scored(self._missed, candidates, batch, kind)

    @torch.inference_mode()
    def meanings(self, candidates: Tensor, text: str) -> Tensor:
        """Return the last state at the end of a text with each candidate in it, encoder after encoder."""
        found = self._encoded(candidates, [text])
        ends = torch.cat([said.ends[:, 0].float() for said in found], dim=1)
        if self.form.differences:
            ends[1:] += ends[0].clone()
        return ends.cpu()

    @torch.inference_mode()
    def states(self, candidates: Tensor, kind: str, prompts: Sequence[int], captions: Sequence[str] = ()) -> Tensor:
        """Return what the U-Net is told of prompts with each candidate in them, shape (candidates, prompts, entries).

        Where candidates are carried as differences from the first, that one is in float32, and differences, which have
        their own digits however small they are, in the engine's arithmetic.
        """
        known = captions or self._templates[kind]
        texts = [known[prompt] for prompt in prompts]
        together = max(1, PLACES // (len(candidates) * self._texts[0].length))
        parts = [self._told(candidates, texts[at : at + together]) for at in range(0, len(texts), together)]
        return torch.cat(parts, dim=1)

    def _told(self, candidates: Tensor, texts: Sequence[str]) -> Tensor:
        """Return all states of texts, shape (candidates, texts, entries)."""
        if not self.form.differences:
            return self._joined(self._encoded(candidates, texts, torch.float32))
        base = self._joined(self._encoded(candidates[:1], texts, torch.float32))
        if len(candidates) == 1:
            return base
        return torch.cat([base, base + self._joined(self._encoded(candidates, texts))[1:]])

    @staticmethod
    def _joined(found: Sequence[Said]) -> Tensor:
        """Return all that the U-Net is told, encoder after encoder, shape (candidates, texts, entries)."""
        parts = [said.states.flatten(2) for said in found]
        if len(found) > 1 and found[-1].summary is not None:
            parts.append(found[-1].summary)
        return torch.cat(parts, dim=2).float().cpu()

    def drawn(self, residuals: Tensor, timestep: int) -> Tensor:
        """Return the latents that predictions stand for, given their residuals on latents of zeros."""
        return drawn(self._schedule, residuals, timestep)

    def _missed(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return residuals of shape (candidates, draws, entries) from one U-Net call."""
        output, target = self._predicted(candidates, batch, kind)
        missed = output - target
        if self.form.differences:
            missed[1:] = missed[0] + output[1:]
        if batch.weights is not None:
            missed = missed * batch.weights.to(self.device).sqrt()
        return missed.flatten(2).cpu()

    def _scored(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return losses of shape (candidates, draws) from one U-Net call."""
        output, target = self._predicted(candidates, batch, kind)
        weights = None if batch.weights is None else batch.weights.to(self.device)
        losses: Tensor = self._errors(output, target, weights).cpu()
        return losses

    def _predicted(self, candidates: Tensor, batch: Batch, kind: str) -> tuple[Tensor, Tensor]:
        """Return predictions, shape (candidates, draws, channels, height, width), and their targets."""
        latents, noise, steps = (x.to(self.device) for x in (batch.latents, batch.noise, batch.timesteps))
        noisy = self._schedule.add_noise(latents, noise, steps)
        target = noise
        if self._schedule.config.prediction_type == "v_prediction":
            target = self._schedule.get_velocity(latents, noise, steps)
        count = len(candidates)
        said = self._said(candidates, batch, kind)
        shown = noisy.repeat(count, 1, 1, 1).to(self.form.arithmetic)
        if self.form.differences:
            shown[len(batch) :] = 0
            self._rows.alike = "added_cond_kwargs" not in said  # XL's time embedding hears the text too
        output = self._unet(shown, steps.repeat(count), return_dict=False, **said)[0]
        return output.float().unflatten(0, (count, -1)), target

    def _errors(self, output: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
        """Return mean squared errors, shape (candidates, draws); a difference of squares is not left to rounding."""
        if not self.form.differences:
            return _mean((output - target).square(), weights)
        miss, added = output[0] - target, output[1:]
        base = _mean(miss.square(), weights)
        return torch.cat([base[None], base + _mean(added * (2 * miss + added), weights)])

    def _said(self, candidates: Tensor, batch: Batch, kind: str) -> dict[str, Any]:
        """Return what the U-Net is told of the prompts, rows candidate by candidate.

        Each prompt is encoded once, unless every draw has candidates of its own.
        """
        used, places = batch.templates, torch.arange(len(batch))
        if candidates.ndim == 2:
            used, places = used.unique(return_inverse=True)
        known = batch.captions or self._templates[kind]
        found = self._encoded(candidates, [known[t] for t in used.tolist()])
        states = torch.cat([said.states for said in found], dim=3)[:, places].flatten(0, 1)
        summary = found[-1].summary
        if len(found) == 1 or summary is None:
            return {"encoder_hidden_states": states}
        side = float(self.pixel_size)
        sizes = torch.tensor([side, side, 0, 0, side, side], device=self.device).repeat(len(states), 1)
        more = {"text_embeds": summary[:, places].flatten(0, 1), "time_ids": sizes}
        return {"encoder_hidden_states": states, "added_cond_kwargs": more}

    def _encoded(self, candidates: Tensor, texts: Sequence[str], arithmetic: torch.dtype | None = None) -> list[Said]:
        """Return what each text encoder makes of texts with the candidates in them, in the form's arithmetic."""
        self._rows.candidates, self._rows.alike = len(candidates), False
        parts = candidates.float().unflatten(-1, (-1, self.width)).split([text.width for text in self._texts], dim=-1)
        return [
            text.say(texts, part, arithmetic or self.form.arithmetic, self.device, differences=self.form.differences)
            for text, part in zip(self._texts, parts, strict=True)
        ]


def _mean(errors: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean over channels and places, where weights say how much a place counts."""
    counted = errors if weights is None else errors * weights
    return counted.mean(dim=(-3, -2, -1))
