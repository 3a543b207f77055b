"""What a backbone's own words draw: public facts that anyone can compute, which spare every search its first half.

At the noisiest timestep a prediction hardly depends on the noise: it is the mean picture that a prompt stands for. So
one forward pass a word tells what the word draws, and a ridge regression over the words says which embedding draws a
given picture. Applied to the mean of a person's photos it gives a start without a forward pass. A second regression
says what is drawn when the U-Net is told this or that, of words, of tokens between and around them, and of those as the
style of something: with it a search foresees what its first moves will draw. The lexicon also holds how strongly
predictions answer to each direction of the embedding: where a search is worth its forwards.

Nothing of any person is in it. It is made once for a backbone (`shoal-sim lexicon FOLDER`) and lies in its folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from client.backbone.latents import Batch, Latents
from client.files import write_whole
from common.errors import BackboneError

if TYPE_CHECKING:
    from client.backbone.engine import Engine

FILE = "lexicon.safetensors"
"""In a backbone's folder, beside ``shoal.json``."""

NOISIEST = 0.375
"""Share of the timesteps, the noisiest, where starts are scored and styles are learned: 850 to 1000 of Pictograms'
600 to 1000. One draw's gradient says most of the whole there (docs/learning.md)."""


SEED = 0
"""Of the noise that mean pictures are drawn from, by whoever makes a lexicon and whoever searches with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """What the U-Net draws at the noisiest timestep, as a line through what it is told."""

    told: Tensor
    """Mean of what it was told, sketched, shape (s,)."""
    drawn: Tensor
    """Mean of what it drew then, shape (entries,), as latents."""
    views: Tensor
    """Principal directions of what it draws, orthonormal rows, shape (r, entries)."""
    slopes: Tensor
    """Regression of pictures in these views on what it is told, both less their means, shape (r, s)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """What is public of a backbone beyond its weights."""

    centre: Tensor
    """Mean of the words' pictures, shape (entries,), as latents."""
    features: Tensor
    """Rows that map a picture's difference from the centre to whitened features, shape (q, entries)."""
    weights: Tensor
    """Regression of embeddings on features and a one, shape (q + 1, width)."""
    basis: Tensor
    """Principal directions of the vocabulary, shape (width, p), orthonormal columns."""
    curvature: Tensor
    """Mean of JᵀJ over draws and entries, along the basis, shape (p, p): the loss's Gauss-Newton Hessian, halved."""
    foresight: Foresight | None = None
    """What may be drawn next; lexicons had none at first, and searches do without."""

    def start(self, latents: Latents) -> Tensor:
        """Return the embedding that draws the mean of the photos, as far as words tell, shape (width,)."""
        seen = self.features @ (latents.mean.mean(dim=0).flatten() - self.centre)
        return torch.cat([seen, seen.new_ones(1)]) @ self.weights


def mean_pictures(
    engine: Engine,
    tokens: Tensor,
    kind: str,
    shape: Sequence[int],
    *,
    prompt: int = 0,
    captions: tuple[str, ...] = (),
) -> Tensor:
    """Return what each token draws at the noisiest timestep, shape (tokens, entries), as latents: a forward pass each.

    The noise is always the same. Where a backbone's noisiest timestep is noise alone, nothing depends on it.

    Args:
        engine: the frozen backbone.
        tokens: shape (tokens, vectors * d).
        kind: whose templates are used.
        shape: of latents, (channels, height, width).
        prompt: which of them, or which of the captions.
        captions: in place of templates.
    """
    last = engine.timesteps[1] - 1
    noise = torch.randn(1, *shape, generator=torch.Generator().manual_seed(SEED))
    draw = Batch(
        latents=torch.zeros_like(noise),
        noise=noise,
        timesteps=torch.tensor([last]),
        templates=torch.tensor([prompt]),
        captions=captions,
    )
    return engine.drawn(engine.residuals(tokens, draw, kind)[:, 0], last)


def noisiest(timesteps: tuple[int, int]) -> tuple[int, int]:
    """Return the part of a backbone's timesteps where one draw tells most."""
    low, high = timesteps
    return high - max(1, round(NOISIEST * (high - low))), high


def write_lexicon(lexicon: Lexicon, fingerprint: str, path: Path) -> None:
    """Write a lexicon, with the fingerprint of the weights that it belongs to."""
    own = {name: getattr(lexicon, name) for name in _names(Lexicon) if name != "foresight"}
    seen = {} if lexicon.foresight is None else {f: getattr(lexicon.foresight, f) for f in _names(Foresight)}
    tensors = {name: tensor.contiguous() for name, tensor in (own | seen).items()}
    write_whole(path, save(tensors, {"backbone": fingerprint}), replace=True)


def read_lexicon(folder: Path, fingerprint: str) -> Lexicon | None:
    """Return the lexicon in a backbone's folder; None where there is none.

    Raises:
        BackboneError: it is damaged, or was made for other weights.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            found = (file.metadata() or {}).get("backbone")
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - no mapping
        foresight = {name: tensors.pop(name) for name in _names(Foresight) if name in tensors}
        lexicon = Lexicon(foresight=Foresight(**foresight) if foresight else None, **tensors)
    except (SafetensorError, OSError, TypeError) as error:
        raise BackboneError(f"{path} is damaged ({error}): delete it, and make it anew: shoal-sim lexicon") from error
    if found != fingerprint:
        raise BackboneError(f"{path} was made for other weights: delete it, or make it anew: shoal-sim lexicon")
    return lexicon


def _names(of: type[Lexicon | Foresight]) -> list[str]:
    return [item.name for item in fields(of)]
