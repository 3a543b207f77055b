"""What a backbone's own words draw: public facts that anyone can compute, which spare every search its first half.

At the noisiest timestep a prediction hardly depends on the noise: it is the mean picture that a prompt stands for. So
one forward pass a word tells what the word draws, and a ridge regression over the words says which embedding draws a
given picture. Applied to the mean of a person's photos it gives a start without a forward pass. The lexicon also holds
how strongly predictions answer to each direction of the embedding: where a search is worth its forwards.

Nothing of any person is in it. It is made once for a backbone (`shoal-sim lexicon FOLDER`) and lies in its folder.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from client.backbone.latents import Latents
from client.files import write_whole
from common.errors import BackboneError

FILE = "lexicon.safetensors"
"""In a backbone's folder, beside ``shoal.json``."""

NOISIEST = 0.375
"""Share of the timesteps, the noisiest, where starts are scored and styles are learned: 850 to 1000 of Pictograms'
600 to 1000. One draw's gradient says most of the whole there (docs/learning.md)."""


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

    def start(self, latents: Latents) -> Tensor:
        """Return the embedding that draws the mean of the photos, as far as words tell, shape (width,)."""
        seen = self.features @ (latents.mean.mean(dim=0).flatten() - self.centre)
        return torch.cat([seen, seen.new_ones(1)]) @ self.weights


def noisiest(timesteps: tuple[int, int]) -> tuple[int, int]:
    """Return the part of a backbone's timesteps where one draw tells most."""
    low, high = timesteps
    return high - max(1, round(NOISIEST * (high - low))), high


def write_lexicon(lexicon: Lexicon, fingerprint: str, path: Path) -> None:
    """Write a lexicon, with the fingerprint of the weights that it belongs to."""
    tensors = {item.name: getattr(lexicon, item.name).contiguous() for item in fields(Lexicon)}
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
            lexicon = Lexicon(**{item.name: file.get_tensor(item.name).clone() for item in fields(Lexicon)})
    except (SafetensorError, OSError) as error:
        raise BackboneError(f"{path} is damaged ({error}): delete it, or make it anew: shoal-sim lexicon") from error
    if found != fingerprint:
        raise BackboneError(f"{path} was made for other weights: delete it, or make it anew: shoal-sim lexicon")
    return lexicon
