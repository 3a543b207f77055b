"""The engine that people use: weights at rest in int8, arithmetic in bfloat16, candidates as differences from one.

docs/engines.md tells what it costs and how closely it follows float32. Its three forms share all code: `Form` says how
weights rest, in which arithmetic layers compute, and whether a batch carries points or differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, DDPMScheduler
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTokenizer

from client.backbone.differences import Rows, apart, carry_differences
from client.backbone.encoding import encode_photos
from client.backbone.engine import fingerprint
from client.backbone.latents import Batch, Latents
from client.backbone.prompts import embedded, sayings, token_ids, word_vector
from client.backbone.resting import embedding_table, load_int8, load_whole
from client.backbone.slices import Slices
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


class CompactEngine:
    """A `StableDiffusionPipeline` folder whose networks are mapped from int8 shards.

    The engine is what `client.backbone.engine.Engine` asks for. The VAE is loaded while photos are encoded and let go;
    of the table of token embeddings only the rows of the prompts are ever read.
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
            self._text = self._load("text_encoder", cache)
            self._table = embedding_table(folder, "text_encoder")
            self._tokenizer = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")
            self._schedule = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
            config = AutoencoderKL.load_config(folder, subfolder="vae")
        except (OSError, ValueError, KeyError) as error:
            raise BackboneError(
                f"{folder} is not a Stable Diffusion folder that can be used ({type(error).__name__}): "
                "name a local folder with unet/, vae/, text_encoder/, tokenizer/ and scheduler/ in safetensors"
            ) from error
        self.width = int(self._table.shape[1])
        side = int(self._unet.config.sample_size)
        self.latent_shape = (int(self._unet.config.in_channels), side, side)
        self.pixel_size = side * 2 ** (len(config["block_out_channels"]) - 1)
        said = sayings(folder)
        self.timesteps, self._templates = said.timesteps, said.templates

    def _load(self, part: str, cache: Path) -> Any:  # noqa: ANN401 - diffusers and transformers have no types
        if self.form.weights == "int8":
            network = load_int8(self.folder, part, cache, self.fingerprint)
        else:
            network = load_whole(self.folder, part)
        if self.form.differences:
            carry_differences(network, self._rows)
        return network.to(self.device)

    def anchor(self, word: str) -> Tensor:
        """Return a word's embedding for each vector, shape (vectors * d,): its tokens' mean; zeros for no word."""
        return word_vector(self._tokenizer, self._table, word).repeat(self.vectors)

    def vocabulary(self) -> Tensor:
        """Return the table of token embeddings, shape (V, d)."""
        return self._table.float()

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

    def _scored(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return losses of shape (candidates, draws) from one U-Net call."""
        latents, noise, steps = (x.to(self.device) for x in (batch.latents, batch.noise, batch.timesteps))
        noisy = self._schedule.add_noise(latents, noise, steps)
        target = noise
        if self._schedule.config.prediction_type == "v_prediction":
            target = self._schedule.get_velocity(latents, noise, steps)
        self._rows.candidates = count = len(candidates)
        states = self._states(candidates, batch, kind)
        shown = noisy.repeat(count, 1, 1, 1).to(self.form.arithmetic)
        if self.form.differences:
            shown[len(batch) :] = 0
        output = self._unet(shown, steps.repeat(count), states, return_dict=False)[0]
        weights = None if batch.weights is None else batch.weights.to(self.device)
        losses: Tensor = self._errors(output.float().unflatten(0, (count, -1)), target, weights).cpu()
        return losses

    def _errors(self, output: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
        """Return mean squared errors, shape (candidates, draws); a difference of squares is not left to rounding."""
        if not self.form.differences:
            return _mean((output - target).square(), weights)
        miss, added = output[0] - target, output[1:]
        base = _mean(miss.square(), weights)
        return torch.cat([base[None], base + _mean(added * (2 * miss + added), weights)])

    def _states(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return text states of shape (candidates * draws, length, width): each prompt once per candidate."""
        used, places = batch.templates.unique(return_inverse=True)
        vectors = candidates.unflatten(1, (-1, self.width))
        texts = batch.captions or self._templates[kind]
        ids = torch.stack([token_ids(self._tokenizer, texts[t], vectors.shape[1]) for t in used.tolist()])
        words = embedded(ids, self._table, vectors).flatten(0, 1).to(self.device)
        states: Tensor = self._encoded(words).unflatten(0, (len(candidates), -1))[:, places]
        return states.flatten(0, 1)

    def _encoded(self, words: Tensor) -> Tensor:
        """Return a text encoder's states of embedded prompts, shape (rows, length, d)."""
        words = words + self._text.embeddings.position_embedding.weight[: words.shape[1]]
        if self.form.differences:
            words = apart(words, self._rows, self.form.arithmetic)
        else:
            words = words.to(self.form.arithmetic)
        for layer in self._text.encoder.layers:
            words = layer(words, None) if self.form.differences else layer(words, None, is_causal=True)
        states: Tensor = self._text.final_layer_norm(words)
        return states


def _mean(errors: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean over channels and places, where weights say how much a place counts."""
    counted = errors if weights is None else errors * weights
    return counted.mean(dim=(-3, -2, -1))
