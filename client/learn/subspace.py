"""Where a search looks: the shape of its directions, and what its own history says of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.prior import Cohort, Prior

SHORTEST = 1e-6
"""Least variance along an axis, as a share of the largest."""

REACH = 0.25
"""Weight of the vocabulary's covariance in a search with a prior."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Coordinates y in which people's tokens differ by about one: token = origin + y @ axes.

    ``axes`` has shape (width, width), its rows mutually orthogonal and as long as the spread expected along them.
    Searching isotropically in y searches θ with covariance axesᵀ axes. A token of several vectors, ``origin`` of shape
    (vectors * width,), has the same axes for each of them.
    """

    origin: Tensor
    axes: Tensor

    def token(self, place: Tensor) -> Tensor:
        """Map coordinates y, shape (..., vectors * width), to tokens."""
        moved: Tensor = place.unflatten(-1, (-1, len(self.axes))) @ self.axes
        return self.origin + moved.flatten(-2)

    def place(self, token: Tensor) -> Tensor:
        """Map a token to its coordinates."""
        moved: Tensor = (token - self.origin).unflatten(-1, (-1, len(self.axes))) @ self.axes.T
        return (moved / self.axes.square().sum(dim=1)).flatten(-2)


def shaped(covariance: Tensor, origin: Tensor) -> Shape:
    """Return coordinates shaped by a covariance, shape (width, width).

    Axes are its eigenvectors, longest first, as long as the fourth root of the variance along them: half of a
    whitening in logarithms, which measured better than the whole and than none (docs/learning.md). None vanishes: a
    prior shapes the search and never cages it (design, section 2). Their mean square is one, so that a rate and a
    finite-difference step mean the same in every shape, and what they mean in the published algorithm.
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    lengths = values.clamp(min=float(values.max()) * SHORTEST) ** 0.25
    lengths = lengths / lengths.square().mean().sqrt()
    # In memory as a checkpoint restores it: other strides would sum in another order, and resuming is bit for bit.
    axes = (vectors * lengths).T.flip(0).float().contiguous()
    return Shape(origin=origin, axes=axes)


def vocabulary_covariance(table: Tensor) -> Tensor:
    """Return how the backbone's own words are spread, shape (width, width): what is known without any prior.

    Learned tokens move mostly where words differ: on Pictograms 16 principal directions of 192 hold 63 to 89 % of a
    displacement's energy (docs/learning.md).
    """
    mean = table.mean(dim=0, dtype=torch.float64)
    total = torch.zeros(table.shape[1], table.shape[1], dtype=torch.float64)
    for rows in table.split(4096):  # a table of 49,408 words in double precision, twice, would be the memory's peak
        centred = rows.double() - mean
        total += centred.T @ centred
    return total / (len(table) - 1)


def cohort_shape(prior: Prior, cohort: Cohort, anchor: Tensor, vocabulary: Tensor) -> Shape:
    """Return the search around anchor + P m_j, shaped by how the cohort's people differ.

    The covariance is P (U_j diag(λ_j) U_jᵀ + σ² (I - U_j U_jᵀ)) Pᵀ with the cohort's residual variance σ², plus the
    ``vocabulary``'s, shape (width, width), scaled to meet σ²: what the prior knows nothing of stays within reach.
    """
    basis = torch.from_numpy(prior.public_basis).double()
    directions = basis @ torch.from_numpy(cohort.basis).double()
    spectrum = torch.from_numpy(cohort.spectrum).double()
    known = directions * (spectrum - cohort.residual) @ directions.T + cohort.residual * basis @ basis.T
    scale = cohort.residual / float((basis.T @ vocabulary @ basis).diagonal().mean())
    mean = basis @ torch.from_numpy(cohort.mean).double()
    return shaped(known + REACH * scale * vocabulary, anchor + mean.float())


def low_variance_directions(history: Tensor, threshold: float, *, standardize: bool) -> Tensor:
    """Return orthonormal rows, shape (m, width), along which the recent tokens hardly moved.

    Subspace Gradient (ZOODiP, arXiv:2503.14868v1, Algorithm 1): principal components of the last τ tokens, from
    where their cumulated share of the variance passes 1 - ν. The orthogonal complement of the history stays free.

    Args:
        history: the last tokens, shape (τ, width).
        threshold: the share ν of the variance that is called noise.
        standardize: scale each coordinate to unit variance first, as the authors' released program does
            (the paper does not mention it).
    """
    centred = history - history.mean(dim=0)
    if standardize:
        spread = centred.square().mean(dim=0).sqrt()
        centred = centred / torch.where(spread > 0, spread, torch.ones(()))
    _, singular, components = torch.linalg.svd(centred, full_matrices=False)
    shares = singular.square().cumsum(dim=0) / singular.square().sum().clamp(min=1e-30)
    kept = int((shares > 1 - threshold).int().argmax()) + 1
    removed: Tensor = components[kept:].contiguous()
    return removed


def without(gradient: Tensor, directions: Tensor) -> Tensor:
    """Project orthonormal rows out of an estimate."""
    return gradient - (gradient @ directions.T) @ directions
