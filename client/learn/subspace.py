"""Where a search looks: the shape of its directions, and what its own history says of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.prior import Cohort, Prior


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Coordinates y in which people's tokens differ by about one: token = origin + y @ axes.

    ``axes`` has shape (width, width), its rows mutually orthogonal and as long as the spread expected along them.
    Searching isotropically in y searches θ with covariance axesᵀ axes.
    """

    origin: Tensor
    axes: Tensor

    def token(self, place: Tensor) -> Tensor:
        """Map coordinates y, shape (..., width), to tokens."""
        return self.origin + place @ self.axes

    def place(self, token: Tensor) -> Tensor:
        """Map a token to its coordinates."""
        return (token - self.origin) @ self.axes.T / self.axes.square().sum(dim=1)


def isotropic(origin: Tensor, spread: float) -> Shape:
    """Return coordinates without a preferred direction."""
    return Shape(origin=origin, axes=spread * torch.eye(len(origin)))


def around(directions: Tensor, lengths: Tensor, floor: float, origin: Tensor) -> Shape:
    """Return axes along orthonormal ``directions``, shape (width, k), with ``lengths``; the rest of length ``floor``.

    No axis vanishes: a prior shapes the search and never cages it (design, section 2).
    """
    full, _ = torch.linalg.qr(torch.cat([directions, torch.eye(len(origin))], dim=1))
    signs = torch.sign((full[:, : directions.shape[1]] * directions).sum(dim=0))
    full[:, : directions.shape[1]] *= signs
    spread = torch.full((len(origin),), floor)
    spread[: len(lengths)] = lengths.clamp(min=floor)
    return Shape(origin=origin, axes=spread[:, None] * full.T)


def cohort_shape(prior: Prior, cohort: Cohort, anchor: Tensor, reach: float) -> Shape:
    """Return the search around anchor + P m_j with covariance P (U_j diag(λ_j) U_jᵀ) Pᵀ + ρ² I.

    ``reach`` is the spread ρ outside the cohort's directions.
    """
    basis = torch.from_numpy(prior.public_basis).float()
    mean = torch.from_numpy(cohort.mean).float()
    directions = basis @ torch.from_numpy(cohort.basis).float()
    lengths = torch.from_numpy(cohort.spectrum).float().sqrt()
    return around(directions, lengths, reach, anchor + basis @ mean)


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
    return components[kept:]


def without(gradient: Tensor, directions: Tensor) -> Tensor:
    """Project orthonormal rows out of an estimate."""
    return gradient - (gradient @ directions.T) @ directions
