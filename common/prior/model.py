"""What a population prior is, and when its numbers may be used.

Design, section 1: for one backbone and kind, a mixture of Gaussian cohorts over coordinates x = Pᵀδ of
displacements δ. A prior is data from another machine, so every number in it has bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np

from common.errors import PriorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Kind = Literal["object", "style", "taste"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

MAXIMUM_WIDTH: Final = 8192
"""Widest token vector accepted; SDXL's second text encoder has 1280, T5-XXL 4096."""
MAXIMUM_DIMENSIONS: Final = 64
"""Most public dimensions p: beyond it noise drowns the covariance (design, section 3)."""
MAXIMUM_COHORTS: Final = 16
MAXIMUM_NORM: Final = 1e3
"""Largest displacement believed; token embeddings of known backbones have norms between 0.3 and 30."""
MINIMUM_VARIANCE: Final = 1e-12
"""Smallest variance believed, far below the step a learner can resolve; keeps every density finite."""
ORTHONORMAL_TOLERANCE: Final = 1e-4
"""Largest entry of |BᵀB − I|: float32 leaves some 1e-6, half precision some 1e-3."""
WEIGHT_TOLERANCE: Final = 1e-6
"""How far the weights may add up from 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cohort:
    """One Gaussian of the mixture, over coordinates x = Pᵀδ.

    Its covariance is U diag(λ) Uᵀ + ρ (I − U Uᵀ): `directions` known ones, the same variance in all others.
    """

    weight: float
    """Share of the people, π; the weights of a prior sum to 1."""
    mean: NDArray[np.float64]
    """m, shape (dimensions,), in units of the embedding."""
    basis: NDArray[np.float64]
    """U, shape (dimensions, directions), orthonormal columns."""
    spectrum: NDArray[np.float64]
    """λ, shape (directions,): variances along the columns of U, descending, > 0."""
    residual: float
    """ρ > 0: the variance of each coordinate outside U."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prior:
    """A mixture of cohorts for one backbone and kind, and where it came from."""

    backbone: str
    """SHA-256 of the backbone's weights, lower-case hex."""
    kind: Kind
    version: int
    """1 is the first; the next one is higher by 1."""
    people: int
    """How many people's contributions are in it."""
    rounds: tuple[str, ...]
    """Ids of the rounds whose sums are in it, oldest first."""
    public_basis: NDArray[np.float64]
    """P, shape (width, dimensions), orthonormal columns."""
    cohorts: tuple[Cohort, ...]
    epsilon: float | None = None
    """The central ε of all its rounds together; None while contributions carry no noise."""
    created: str
    """ISO 8601 with an offset, such as 2025-01-31T12:00:00+00:00."""

    @property
    def largest(self) -> Cohort:
        """The cohort of most people."""
        return max(self.cohorts, key=lambda cohort: cohort.weight)


def check_prior(prior: Prior, *, backbone: str, width: int) -> None:
    """Refuse a prior that a search could not safely use.

    Args:
        prior: as decoded.
        backbone: SHA-256 (hex) of the weights that the prior is meant to serve.
        width: length of that backbone's token vectors.

    Raises:
        PriorError: made for another backbone, or a basis, mean, weight or variance outside its bounds.
    """
    if prior.backbone != backbone:
        raise PriorError(
            f"prior is for backbone {prior.backbone[:12]}, this one is {backbone[:12]}: use that prior's backbone"
        )
    check_public_basis(prior.public_basis, width=width)
    check_cohorts(prior.cohorts, dimensions=prior.public_basis.shape[1])


def check_public_basis(basis: NDArray[np.float64], *, width: int) -> None:
    """Refuse a public basis P that is not `width` rows of at most 64 orthonormal columns.

    Raises:
        PriorError: wrong shape, not finite or not orthonormal to 1e-4.
    """
    if basis.shape[:-1] != (width,) or not 1 <= basis.shape[1] <= min(width, MAXIMUM_DIMENSIONS):
        raise PriorError(
            f"public basis has shape {basis.shape}, expected ({width}, 1 to {min(width, MAXIMUM_DIMENSIONS)}): "
            "use the basis of this backbone"
        )
    _check_orthonormal(basis, "public basis")


def check_cohorts(cohorts: Sequence[Cohort], *, dimensions: int) -> None:
    """Refuse cohorts whose numbers are out of bounds.

    Raises:
        PriorError: naming the first cohort and the quantity that is wrong.
    """
    if not 1 <= len(cohorts) <= MAXIMUM_COHORTS:
        raise PriorError(f"{len(cohorts)} cohorts, expected 1 to {MAXIMUM_COHORTS}: keep the last good prior")
    for index, cohort in enumerate(cohorts):
        _check_cohort(cohort, f"cohort {index}", dimensions)
    total = sum(cohort.weight for cohort in cohorts)
    if not abs(total - 1) <= WEIGHT_TOLERANCE:
        raise PriorError(f"cohort weights sum to {total:.6g}, expected 1: keep the last good prior")


def _check_cohort(cohort: Cohort, name: str, dimensions: int) -> None:
    directions = cohort.spectrum.size
    shapes = (cohort.mean.shape, cohort.spectrum.shape, cohort.basis.shape)
    if shapes != ((dimensions,), (directions,), (dimensions, directions)) or directions > dimensions:
        raise PriorError(f"{name} has shapes {shapes} in {dimensions} dimensions: keep the last good prior")
    variances = np.append(cohort.spectrum, cohort.residual)
    # Written so that a NaN fails each test: every comparison with a NaN is false.
    sound = {
        "weight": 0 <= cohort.weight <= 1,
        "mean": float(np.abs(cohort.mean).max()) <= MAXIMUM_NORM and float(np.linalg.norm(cohort.mean)) <= MAXIMUM_NORM,
        "spectrum or residual": bool(np.all((variances >= MINIMUM_VARIANCE) & (variances <= MAXIMUM_NORM**2))),
        "order of the spectrum": bool(np.all(np.diff(cohort.spectrum) <= 0)),
    }
    wrong = [what for what, holds in sound.items() if not holds]
    if wrong:
        raise PriorError(f"{name}: {wrong[0]} is not finite or out of bounds: keep the last good prior")
    _check_orthonormal(cohort.basis, f"basis of {name}")


def _check_orthonormal(basis: NDArray[np.float64], name: str) -> None:
    if not np.all(np.abs(basis) <= 1 + ORTHONORMAL_TOLERANCE):  # also refuses NaN, and keeps the product finite
        raise PriorError(f"{name} has entries that are not finite or above 1: keep the last good prior")
    gap = float(np.abs(basis.T @ basis - np.eye(basis.shape[1])).max(initial=0.0))
    if gap > ORTHONORMAL_TOLERANCE:
        raise PriorError(
            f"{name} is {gap:.2g} from orthonormal, allowed {ORTHONORMAL_TOLERANCE:g}: keep the last good prior"
        )
