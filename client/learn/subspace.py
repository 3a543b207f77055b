"""Where a search looks: its axes, from how words or people differ and from what the backbone answers to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from client.backbone.lexicon import Lexicon
from common.prior import Cohort, Prior

REACH = 0.1
"""Weight of the vocabulary's covariance in a search with a prior."""

KEPT = 0.985
"""Share of all that a search can expect to gain which its axes hold; what is left is not worth its forwards."""

MOST = 16
"""Axes of a search at most: each costs a forward pass a draw."""

ROWS_AT_ONCE = 2048
"""Words that are in double precision together: 49,408 of them, twice, would be the memory's peak."""

LEADING = 8
"""Of them stay where there would have to be more; the others are turned to new directions from time to time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Coordinates y in which people's tokens differ by about one: token = origin + y @ axes.

    ``axes`` has shape (k, width), its rows as long as the spread expected along them, most worthwhile first. A token of
    several vectors, ``origin`` of shape (vectors * width,), has the same axes for each: y has vectors * k entries.

    ``rest``, shape (m, width), holds the axes that did not fit; none where these are as good as all. `turned` brings
    random ones of them in, so that the shape is no cage.
    """

    origin: Tensor
    axes: Tensor
    rest: Tensor

    def token(self, place: Tensor) -> Tensor:
        """Map coordinates y, shape (..., vectors * k), to tokens."""
        moved: Tensor = place.unflatten(-1, (-1, len(self.axes))) @ self.axes
        return self.origin + moved.flatten(-2)

    @property
    def size(self) -> int:
        """The number of coordinates."""
        return len(self.origin) // self.axes.shape[1] * len(self.axes)

    def turned(self, place: Tensor, generator: torch.Generator) -> tuple[Shape, Tensor]:
        """Return a shape whose later axes are new, and the same token's place in it: zero along those.

        The new axes are random orthonormal combinations of all that are not leading, of spread one like every other.
        """
        leading, later = self.axes[:LEADING], torch.cat([self.axes[LEADING:], self.rest])
        moved = place.unflatten(-1, (-1, len(self.axes))).clone()
        origin = self.origin + (moved[:, LEADING:] @ self.axes[LEADING:]).flatten()
        moved[:, LEADING:] = 0
        mixed = torch.linalg.qr(torch.randn(len(later), len(later), generator=generator))[0] @ later
        count = len(self.axes) - LEADING
        axes = torch.cat([leading, mixed[:count]])
        return Shape(origin=origin, axes=axes, rest=mixed[count:].contiguous()), moved.flatten()


def shaped(covariance: Tensor, origin: Tensor, lexicon: Lexicon | None, *, least: int = 1, most: int = MOST) -> Shape:
    """Return the coordinates that a search under a covariance, shape (width, width), is worth its forwards in.

    Axes are Σ^½ q with q the leading eigenvectors of Σ^½ H Σ^½: of all directions that people differ in (Σ), those that
    predictions answer to (H, the lexicon's curvature). Along each the spread is one, and an eigenvalue is what the loss
    is expected to fall by from going there. Without a lexicon H is the identity: axes are principal directions. There
    are as many as hold `KEPT` of all gain, but ``least`` and ``most``.
    """
    half = root_of(covariance)
    answer = half.T @ half
    if lexicon is not None:
        seen = lexicon.basis.double().T @ half
        answer = seen.T @ lexicon.curvature.double() @ seen
    gains, turned = torch.linalg.eigh(answer)
    gains, turned = gains.flip(0).clamp(min=0), turned.flip(1)
    enough = int((gains.cumsum(0) < KEPT * gains.sum()).sum()) + 1
    count = min(most, max(least, enough))
    # In memory as a checkpoint restores it: other strides would sum in another order, and resuming is bit for bit.
    rows = (half @ turned).T.float().contiguous()
    rest = rows[count:].clone() if enough > most else rows[:0].clone()
    return Shape(origin=origin, axes=rows[:count].clone(), rest=rest)


def as_wide(covariance: Tensor, public: Tensor, lexicon: Lexicon | None) -> Tensor:
    """Return a covariance, shape (width, width), scaled so that a search expects to gain as much as under the public.

    People's tokens tell where to look, not how far to go: were they to say that too, those of a population whose
    searches go far would send the next ones farther, version by version, and short ones hold the next ones back.
    """
    own, given = _gain(covariance, lexicon), _gain(public, lexicon)
    return covariance * (given / own) if own > 0 else public


def _gain(covariance: Tensor, lexicon: Lexicon | None) -> float:
    """Return what a search expects to gain in all, tr(ΣH): the sum of `shaped`'s eigenvalues."""
    if lexicon is None:
        return float(covariance.double().trace())
    basis = lexicon.basis.double()
    return float((basis.T @ covariance.double() @ basis @ lexicon.curvature.double()).trace())


def vocabulary_covariance(table: Tensor) -> Tensor:
    """Return how the backbone's own words are spread, shape (width, width): what is known without any prior."""
    total = torch.zeros(table.shape[1], dtype=torch.float64)
    for rows in table.split(ROWS_AT_ONCE):
        total += rows.double().sum(dim=0)
    mean, moment = total / len(table), torch.zeros(table.shape[1], table.shape[1], dtype=torch.float64)
    for rows in table.split(ROWS_AT_ONCE):
        centred = rows.double() - mean
        moment += centred.T @ centred
    return moment / max(1, len(table) - 1)


def root_of(covariance: Tensor) -> Tensor:
    """Return R with RRᵀ a covariance, shape (width, width), in double precision."""
    values, vectors = torch.linalg.eigh(covariance.double())
    root: Tensor = vectors * values.clamp(min=0).sqrt()
    return root


def principal_directions(covariance: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the leading principal directions, shape (width, p), orthonormal columns, and the spread along each, (p,).

    In double precision; a spread of nothing is given a thousandth of a millionth of the largest variance.
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    leading = values.flip(0)[:count].clamp(min=float(values.max()) * 1e-9).sqrt()
    return vectors.flip(1)[:, :count], leading


def cohort_covariance(prior: Prior, cohort: Cohort, vocabulary: Tensor) -> Tensor:
    """Return how a cohort's people differ, shape (width, width).

    P (U_j diag(λ_j) U_jᵀ + σ² (I - U_j U_jᵀ)) Pᵀ with the cohort's residual variance σ², and a share of the
    ``vocabulary``'s: what the prior knows nothing of stays within reach.
    """
    basis = torch.from_numpy(prior.public_basis).double()
    directions = basis @ torch.from_numpy(cohort.basis).double()
    spectrum = torch.from_numpy(cohort.spectrum).double()
    known = directions * (spectrum - cohort.residual) @ directions.T + cohort.residual * basis @ basis.T
    return known + REACH * vocabulary


def cohort_mean(prior: Prior, cohort: Cohort) -> Tensor:
    """Return P m_j, shape (width,): how far a cohort's people ended from their start, on average."""
    return torch.from_numpy(prior.public_basis @ cohort.mean).float()


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
