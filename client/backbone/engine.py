"""The one thing a learner needs of a diffusion model: the losses of candidate tokens on a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from client.backbone.encoding import encode_photos
from client.backbone.latents import Batch, Latents
from client.backbone.lexicon import Lexicon, read_lexicon
from client.backbone.prompts import sayings, token_ids, word_vector
from client.backbone.quantization import frozen
from client.backbone.slices import Slices
from common.errors import BackboneError


class Engine(Protocol):
    """A frozen backbone that scores candidate tokens."""

    width: int
    """Width d of a token vector."""
    vectors: int
    """How many vectors a concept has; 1 unless it is set. Candidates hold them one after the other."""
    pixel_size: int
    """Side of the pictures it was made for, in pixels."""
    latent_shape: tuple[int, int, int]
    """Channels and sides of its latents."""
    fingerprint: str
    """SHA-256 of the weights, in hexadecimal: which model a token belongs to."""

    timesteps: tuple[int, int]
    """[T_L, T_U): the timesteps at which text steers this backbone."""
    lexicon: Lexicon | None
    """What its own words draw, where its folder tells."""

    def anchor(self, word: str) -> Tensor:
        """Return a word's embedding for each vector, shape (vectors * d,): its tokens' mean; zeros for no word."""
        ...

    def vocabulary(self) -> Tensor:
        """Return the table of token embeddings, shape (V, d), in the precision of its file, mapped where it can be."""
        ...

    def templates(self, kind: str) -> int:
        """Return how many prompts a kind of concept has."""
        ...

    def encode(self, pixels: NDArray[Any]) -> Latents:
        """Encode photos, uint8 of shape (photos, side, side, 3), once and for all."""
        ...

    def losses(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return each candidate's mean denoising loss on the batch, shape (candidates,).

        ``candidates`` has shape (candidates, vectors * d).
        """
        ...

    def losses_of_many(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return losses on draws that each have candidates of their own, shape (candidates, draws), from one call.

        ``candidates`` has shape (candidates, draws, vectors * d).
        """
        ...

    def residuals(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return what predictions miss, shape (candidates, draws, entries): their mean square is the loss.

        An entry is a number of the prediction less its target, times the root of its weight.
        """
        ...

    def meanings(self, candidates: Tensor, text: str) -> Tensor:
        """Return what a text with the candidates in the place of ``{}`` means, shape (candidates, d).

        It is the text encoder's last state at the end of the text. Candidates of no numbers, shape (1, 0), leave the
        concept out.
        """
        ...

    def states(self, candidates: Tensor, kind: str, prompts: Sequence[int], captions: Sequence[str] = ()) -> Tensor:
        """Return what the U-Net is told of prompts with each candidate in them, shape (candidates, prompts, entries).

        Text encoders alone compute it: it costs no forward pass of the U-Net. Numbers are float32, and candidates may
        be as near to each other as the engine carries their differences. ``prompts`` numbers the kind's templates, or
        the ``captions`` where there are any.
        """
        ...

    def drawn(self, residuals: Tensor, timestep: int) -> Tensor:
        """Return the latents that predictions stand for, given their residuals on latents of zeros."""
        ...


class _Vocabulary(nn.Module):
    """A token embedding table with candidates appended: row V + i is candidate i."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.table = table
        self.candidates = torch.zeros(0, table.embedding_dim)

    def forward(self, ids: Tensor) -> Tensor:
        size = self.table.num_embeddings
        known: Tensor = self.table(ids.clamp(max=size - 1))
        if len(self.candidates) == 0:
            return known
        chosen = self.candidates[(ids - size).clamp(min=0)]
        return torch.where((ids >= size)[..., None], chosen, known)


class TorchEngine:
    """A `StableDiffusionPipeline` folder run by PyTorch, int8 weights by optimum-quanto, one U-Net batch a call."""

    def __init__(self, folder: Path, *, device: str = "cpu", int8: bool = True) -> None:
        """Load text encoder, U-Net, VAE and noise schedule from ``folder``, safetensors only.

        Raises:
            BackboneError: the folder holds no such pipeline.
        """
        self.folder, self.device, self.vectors = folder, device, 1
        self._slices = Slices(with_base=False)
        if (folder / "text_encoder_2").is_dir():
            raise BackboneError(f"{folder} has two text encoders, as Stable Diffusion XL: choose --engine differences")
        try:
            self._load(int8=int8)
        except (OSError, ValueError, KeyError) as error:
            raise BackboneError(
                f"{folder} is not a Stable Diffusion folder that can be used ({type(error).__name__}): "
                "name a local folder with unet/, vae/, text_encoder/, tokenizer/ and scheduler/ in safetensors"
            ) from error
        self.width = int(self._text.config.hidden_size)
        side = int(self._unet.config.sample_size)
        self.latent_shape = (int(self._unet.config.in_channels), side, side)
        self.pixel_size = side * self._factor
        self.fingerprint = fingerprint(folder)
        self.lexicon = read_lexicon(folder, self.fingerprint)

    def _load(self, *, int8: bool) -> None:
        options = {"torch_dtype": torch.float32, "use_safetensors": True}
        unet = UNet2DConditionModel.from_pretrained(self.folder, subfolder="unet", **options)
        text = CLIPTextModel.from_pretrained(
            self.folder, subfolder="text_encoder", dtype=torch.float32, use_safetensors=True
        )
        config = AutoencoderKL.load_config(self.folder, subfolder="vae")
        self._factor = 2 ** (len(config["block_out_channels"]) - 1)
        self._tokenizer = CLIPTokenizer.from_pretrained(self.folder, subfolder="tokenizer")
        self._schedule = DDPMScheduler.from_pretrained(self.folder, subfolder="scheduler")
        self._unet = frozen(unet, int8=int8).to(self.device)
        self._table = _Vocabulary(frozen(text.get_input_embeddings(), int8=False)).to(self.device)
        self._text = frozen(text, int8=int8).to(self.device)
        self._text.set_input_embeddings(self._table)
        said = sayings(self.folder)
        self._templates, self.timesteps = said.templates, said.timesteps

    def anchor(self, word: str) -> Tensor:
        """Return a word's embedding for each vector, shape (vectors * d,): its tokens' mean; zeros for no word."""
        return word_vector(self._tokenizer, self.vocabulary(), word).repeat(self.vectors)

    def vocabulary(self) -> Tensor:
        """Return the table of token embeddings, shape (V, d)."""
        return self._table.table.weight.detach().float().cpu()

    def templates(self, kind: str) -> int:
        """Return how many prompts a kind of concept has."""
        return len(self._templates[kind])

    def encode(self, pixels: NDArray[Any]) -> Latents:
        """Encode photos once; the VAE is loaded for this and let go (it stays in floating point: it is small)."""
        return encode_photos(self.folder, pixels, self.device)

    @torch.inference_mode()
    def losses(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return each candidate's mean denoising loss on the batch, shape (candidates,).

        Every candidate meets the same latents, noise and timesteps; all rows go through the U-Net together, in slices
        where that is too much.
        """
        return self._slices.losses(self._scored, candidates, batch, kind)

    @torch.inference_mode()
    def losses_of_many(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return losses on draws that each have candidates of their own, shape (candidates, draws), from one call."""
        return self._scored(candidates, batch, kind)

    @torch.inference_mode()
    def residuals(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return what each candidate's predictions miss, shape (candidates, draws, entries), in slices as `losses`."""
        return self._slices.scored(lambda *given: self._missed(*given).cpu(), candidates, batch, kind)

    @torch.inference_mode()
    def meanings(self, candidates: Tensor, text: str) -> Tensor:
        """Return the last state at the end of a text with each candidate in it, shape (candidates, d)."""
        states, ids = self._said(candidates, [text])
        end = int((ids[0] == self._tokenizer.eos_token_id).int().argmax())
        return states[:, 0, end].cpu()

    @torch.inference_mode()
    def states(self, candidates: Tensor, kind: str, prompts: Sequence[int], captions: Sequence[str] = ()) -> Tensor:
        """Return what the U-Net is told of each prompt with each candidate, shape (candidates, prompts, entries)."""
        texts = captions or self._templates[kind]
        states, _ = self._said(candidates, [texts[prompt] for prompt in prompts])
        return states.flatten(2).cpu()

    def drawn(self, residuals: Tensor, timestep: int) -> Tensor:
        """Return the latents that predictions stand for, given their residuals on latents of zeros."""
        return drawn(self._schedule, residuals, timestep)

    def texts(self, kind: str) -> tuple[str, ...]:
        """Return the templates of a kind, with ``{}`` where the concept stands."""
        return self._templates[kind]

    def spelled(self, numbers: Tensor) -> list[str]:
        """Return how the words of these rows of the table are written."""
        return [self._tokenizer.decode([number]).strip() for number in numbers.tolist()]

    def losses_with_graph(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Score without slices and outside inference mode, so that the benchmarks' yardstick can differentiate."""
        return self._scored(candidates, batch, kind).mean(dim=1)

    def _scored(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return losses of shape (candidates, draws) from one U-Net call."""
        return self._missed(candidates, batch, kind).square().mean(dim=2).cpu()

    def _missed(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return residuals, shape (candidates, draws, entries), from one U-Net call."""
        count = len(candidates)
        states = self._states(candidates, batch, kind)
        latents, noise, steps = (x.to(self.device) for x in (batch.latents, batch.noise, batch.timesteps))
        noisy = self._schedule.add_noise(latents, noise, steps)
        target = noise
        if self._schedule.config.prediction_type == "v_prediction":
            target = self._schedule.get_velocity(latents, noise, steps)
        output = self._unet(noisy.repeat(count, 1, 1, 1), steps.repeat(count), states, return_dict=False)[0]
        missed: Tensor = (output - target.repeat(count, 1, 1, 1)).unflatten(0, (count, -1))
        if batch.weights is not None:
            missed = missed * batch.weights.to(self.device).sqrt()
        return missed.flatten(2)

    def _states(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return text states of shape (candidates * draws, length, width): each prompt once per candidate."""
        used, places = batch.templates, torch.arange(len(batch))
        if candidates.ndim == 2:
            used, places = used.unique(return_inverse=True)
        texts = batch.captions or self._templates[kind]
        states, _ = self._said(candidates, [texts[t] for t in used.tolist()])
        return states[:, places].flatten(0, 1)

    def _said(self, candidates: Tensor, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return states of shape (candidates, texts, length, width), and the texts' ids."""
        self._table.candidates = candidates.to(self.device, torch.float32).reshape(-1, self.width)
        vectors = candidates.shape[-1] // self.width
        ids = torch.stack([token_ids(self._tokenizer, text, vectors) for text in texts])
        places = torch.arange(candidates.shape[:-1].numel()).view(len(candidates), -1, 1)
        first = self._table.table.num_embeddings + vectors * places
        rows = torch.where(ids < 0, first - 1 - ids, ids).flatten(0, 1).to(self.device)
        states: Tensor = self._text(rows).last_hidden_state
        self._table.candidates = self._table.candidates[:0]
        return states.view(len(candidates), len(texts), *states.shape[1:]), ids


def drawn(schedule: DDPMScheduler, residuals: Tensor, timestep: int) -> Tensor:
    """Return the latents x̂₀ that predictions stand for, given their residuals on latents of zeros.

    There x_t = σ ε. A predicted v = α ε + r gives x̂₀ = α x_t − σ v = −σ r (Salimans & Ho, arXiv:2202.00512,
    Appendix D); a predicted noise ε + r gives x̂₀ = (x_t − σ (ε + r)) / α = −σ r / α.
    """
    signal = float(schedule.alphas_cumprod[timestep])
    alpha, sigma = signal**0.5, (1 - signal) ** 0.5
    factor: float = -sigma if schedule.config.prediction_type == "v_prediction" else -sigma / alpha
    return residuals * factor


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 over the weights and the noise schedule of a pipeline's folder.

    Raises:
        BackboneError: there are no safetensors in it.
    """
    files = sorted([*folder.glob("*/*.safetensors"), *folder.glob("scheduler/*.json")])
    if not any(file.suffix == ".safetensors" for file in files):
        raise BackboneError(f"{folder} holds no safetensors: convert the model, pickles are never loaded")
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(folder).as_posix().encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
