"""Nearest concept: whose real pictures, drawn by *other* artists, is a picture most like?

The gallery holds real pictures of the concepts in every style. A picture in style s is compared with those of
all other style families (the four fluent sets are one artwork, so one family): copying an artist's manner
cannot score, showing the thing can. A concept's score is its most similar picture's; R@k is the share of
pictures whose own concept is among the k best.

Features differ far more between styles than between concepts, so each style's mean is removed, and the rest is
whitened by the scatter *within* concepts across styles (WCCN: Hatch, Kajarekar & Stolcke, Interspeech 2006,
with Fisher's directions): both come from training pictures of names that are not in the gallery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError
from simulations.pictograms.data import FLUENT_FAMILY

Features = NDArray[np.float32]

DIMENSIONS = 128
SHRINKAGE = 1.0
"""Share of the mean variance added to the within-concept scatter: generated pictures are softer than real ones,
and small directions must not be blown up by that."""


def family(style: str) -> str:
    """Return the artwork that a style belongs to."""
    return "fluent" if style in FLUENT_FAMILY else style


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Features of real pictures, with the metric that compares them.

    Strings are NumPy unicode arrays, so that the file needs no pickle.
    """

    features: NDArray[np.float16]
    """Shape (pictures, width), as the classifier gave them."""
    names: NDArray[np.str_]
    styles: NDArray[np.str_]
    split: NDArray[np.str_]
    """``train`` or ``unseen``, per picture."""
    mean_styles: NDArray[np.str_]
    means: NDArray[np.float16]
    """One row for each of ``mean_styles``, shape (styles, width)."""
    projection: NDArray[np.float16]
    """Shape (width, dimensions)."""
    probes: NDArray[np.uint8]
    """The first pictures themselves, shape (few, 64, 64, 3): they show that features are computed as they were."""

    @property
    def concepts(self) -> list[str]:
        """The names, in the order in which benchmarks take them."""
        return list(dict.fromkeys(str(name) for name in self.names))

    def whiten(self, found: Features, styles: Sequence[str]) -> Features:
        """Remove each style's mean and apply the metric: (n, width) to (n, dimensions)."""
        row = {str(style): i for i, style in enumerate(self.mean_styles)}
        means = self.means[[row[str(style)] for style in styles]].astype(np.float32)
        return (found - means) @ self.projection.astype(np.float32)


def save_gallery(gallery: Gallery, path: Path) -> None:
    """Write one ``.npz`` without pickles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {field.name: getattr(gallery, field.name) for field in fields(gallery)}
    np.savez_compressed(path, **arrays)


def load_gallery(path: Path) -> Gallery:
    """Read what `save_gallery` wrote.

    Raises:
        ConfigError: there is no such file, or it is of another shape.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return Gallery(**{field.name: file[field.name] for field in fields(Gallery)})
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        remedy = "python -m simulations.benchmarks.gallery build/pictograms/data.npz"
        raise ConfigError(f"no gallery of real pictures at {path} ({error}): rebuild it with {remedy}") from error


def fit_metric(found: Features, names: Sequence[str]) -> Features:
    """Return directions, shape (width, dimensions), in which concepts differ and drawings of one do not.

    Args:
        found: features with their style's mean removed, shape (n, width).
        names: the concept of each row; concepts drawn once count between, not within.
    """
    _, row, counts = np.unique(np.asarray(names), return_inverse=True, return_counts=True)
    wide = found.astype(np.float64)
    centres = np.zeros((len(counts), wide.shape[1]))
    np.add.at(centres, row, wide)
    centres /= counts[:, None]
    apart = (wide - centres[row])[counts[row] > 1]
    within = apart.T @ apart / max(1, len(apart) - int((counts > 1).sum()))
    within += SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    whitening = np.linalg.cholesky(np.linalg.inv(within))
    _, directions = np.linalg.eigh(whitening.T @ np.cov(centres.T) @ whitening)
    return np.asarray(whitening @ directions[:, ::-1][:, :DIMENSIONS], np.float32)


def ranks(
    gallery: Gallery, found: Features, styles: Sequence[str], truths: Sequence[str], *, whitened: bool = True
) -> NDArray[np.int64]:
    """Return how many concepts were nearer than the true one, shape (n,): 0 is right.

    Args:
        gallery: the real pictures.
        found: the queries' features, shape (n, width).
        styles: the style in which each query was drawn or asked for; its family is left out of the gallery.
        truths: the concept of each query, one of the gallery's.
        whitened: whether the metric is used, or plain cosine (for comparison).
    """
    rows = gallery.features.astype(np.float32)
    if whitened:
        rows, found = gallery.whiten(rows, [str(s) for s in gallery.styles]), gallery.whiten(found, styles)
    similarity = _unit(found) @ _unit(rows).T
    similarity = np.nan_to_num(similarity, nan=-2.0)  # a picture that is not a number is like nothing
    families = np.array([family(str(style)) for style in gallery.styles])
    place = {name: i for i, name in enumerate(gallery.concepts)}
    owner = np.array([place[str(name)] for name in gallery.names])
    result = np.empty(len(found), np.int64)
    for i, (style, truth) in enumerate(zip(styles, truths, strict=True)):
        others = families != family(style)
        scores = np.full(len(place), -np.inf)
        np.maximum.at(scores, owner[others], similarity[i, others])
        nearer = scores >= scores[place[truth]]  # ties count against the picture
        result[i] = int(nearer.sum()) - 1
    return result


def recall(found: NDArray[np.int64], k: int) -> float:
    """Return R@k of ranks that count from 0."""
    return float(np.mean(found < k)) if len(found) else float("nan")


def _unit(rows: Features) -> Features:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
