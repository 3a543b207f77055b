"""Sufficient statistics of displacements: what one person adds to the secure sum, and how the sum is read back.

Design, section 3. With x in p coordinates, J cohorts and a clip C, one person's vector is J blocks
r_j · [1, x/C, svec(x xᵀ)/C²] of 1 + p + p(p+1)/2 numbers each; 2,145 for p = 64 and J = 1.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from common.errors import ProtocolError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MARGIN: Final = 1 - 2.0**-40
"""Clipping stops short of C by a part in 10¹², far more than float64 rounds by, so that `sensitivity` holds for the
numbers as computed and not only on paper."""


class Noise(NamedTuple):
    """How much the noise of secure sums makes the numbers of `Moments` vary, independently of each other."""

    people: float = 0.0
    """Variance of the count."""
    sum_x: float = 0.0
    """Variance of each entry of sum_x, in units of the embedding to the power of 2."""
    sum_xx: float = 0.0
    """Variance of each number of svec(sum_xx), to the power of 4; √sum_xx times a matrix of the Gaussian orthogonal
    ensemble, whose diagonal varies by 1 and whose other entries by 1/2."""


class Moments(NamedTuple):
    """The first two moments of a group of people, unnormalized and in units of the embedding."""

    people: float
    """Σ r: how many people, in shares."""
    sum_x: NDArray[np.float64]
    """Σ r x, shape (dimensions,)."""
    sum_xx: NDArray[np.float64]
    """Σ r x xᵀ, shape (dimensions, dimensions), symmetric."""
    noise: Noise = Noise()
    """None in plain sums."""


def svec(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stack the upper triangle of a symmetric matrix so that norms agree: ‖svec(A)‖ = ‖A‖_F.

    Off-diagonal entries carry a factor √2 (Alizadeh, Haeberly and Overton, SIAM J. Optim. 8(3), 1998, section 2);
    the order here is by rows.

    Args:
        matrix: shape (p, p), symmetric; the lower triangle is not read.

    Returns:
        Shape (p(p+1)/2,).
    """
    rows, columns, scale = _triangle(len(matrix))
    return matrix[rows, columns] * scale


def unsvec(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Invert `svec`: shape (p(p+1)/2,) to a symmetric (p, p).

    Raises:
        ProtocolError: the length is not p(p+1)/2 for any p.
    """
    dimensions = (math.isqrt(8 * len(vector) + 1) - 1) // 2
    if dimensions * (dimensions + 1) // 2 != len(vector):
        raise ProtocolError(f"{len(vector)} numbers are not the triangle of a square matrix: drop this message")
    rows, columns, scale = _triangle(dimensions)
    matrix = np.zeros((dimensions, dimensions))
    matrix[rows, columns] = vector / scale
    matrix[columns, rows] = matrix[rows, columns]
    return matrix


def clip(x: NDArray[np.float64], bound: float) -> NDArray[np.float64]:
    """Scale x down to a norm of `bound` or less; shorter vectors pass unchanged.

    Not-a-number and infinite entries become 0 first: they have no direction to keep, and one of them would spoil
    the whole sum. Finite entries of any size keep their direction (the norm is computed without overflow).

    Args:
        x: shape (p,).
        bound: C > 0, in units of x. The result stays below it by a part in 10¹², see `blocks`.
    """
    x = np.where(np.isfinite(x), x, 0.0)
    largest = float(np.abs(x).max(initial=0.0))
    if largest == 0.0:
        return x
    direction = x / largest  # entries in [-1, 1], norm in [1, √p]: neither overflows nor vanishes
    length = float(np.linalg.norm(direction))
    limit = bound * _MARGIN
    return x if largest <= limit / length else direction * (limit / length)


def sensitivity() -> float:
    """Give S = √3: adding or removing one person moves the sum by at most S in L2; proof in `blocks`."""
    return math.sqrt(3.0)


def block_length(dimensions: int) -> int:
    """Count the numbers in one cohort's block: 1 + p + p(p+1)/2."""
    return 1 + dimensions + dimensions * (dimensions + 1) // 2


def blocks(x: NDArray[np.float64], responsibilities: NDArray[np.float64], bound: float) -> NDArray[np.float64]:
    """Build one person's vector v = (r_j · [1, u, svec(u uᵀ)]) for j = 1..J, with u = clip(x, C)/C.

    Law: ‖v‖ ≤ S = √3, whatever x, the cohorts, p, J and C > 0 are, and S cannot be smaller. Proof:

    * r lies in the simplex (r_j ≥ 0, Σ r_j = 1), so Σ r_j² ≤ (Σ r_j)² = 1;
    * ‖u‖ ≤ 1 by clipping, and ‖svec(u uᵀ)‖ = ‖u uᵀ‖_F = ‖u‖²;
    * so ‖v‖² = Σ r_j² · (1 + ‖u‖² + ‖u‖⁴) ≤ 1 · (1 + 1 + 1) = 3, with equality for J = 1 and ‖x‖ ≥ C.

    A person present or absent changes the sum by v, so S is its L2 sensitivity to adding or removing one person.
    (Replacing a person changes it by less than 2S.) In float64 every entry of v is off by a few parts in 10¹⁶,
    which the margin of `clip`, 10⁻¹², covers: the computed vector keeps the law without a tolerance.

    The counts enter unscaled: one person's add up to exactly Σ r_j = 1, so the counts of a sum tell how many
    people are in it.

    Args:
        x: coordinates Pᵀδ, shape (p,), of any size.
        responsibilities: r, shape (J,).
        bound: the clip C > 0, in units of x.

    Returns:
        Shape (J · `block_length(p)`,), without a unit.
    """
    unit = clip(x, bound) / bound
    block = np.concatenate(([1.0], unit, svec(np.outer(unit, unit))))
    return np.outer(responsibilities, block).ravel()


def split(
    total: NDArray[np.float64], dimensions: int, cohorts: int, bound: float, *, variance: float = 0.0
) -> list[Moments]:
    """Read a sum of `blocks` back into one `Moments` for each cohort, undoing the scaling by C.

    Args:
        total: shape (J · `block_length(p)`,).
        dimensions: p.
        cohorts: J.
        bound: the clip C under which all of its people were encoded.
        variance: of the noise in each number of the sum.

    Raises:
        ProtocolError: the sum has another length, or is not finite.
    """
    length = block_length(dimensions)
    if total.shape != (cohorts * length,) or not np.all(np.isfinite(total)):
        raise ProtocolError(
            f"a sum of shape {total.shape}, expected ({cohorts * length},) and all finite: drop this round"
        )
    return [
        Moments(
            people=float(block[0]),
            sum_x=block[1 : 1 + dimensions] * bound,
            sum_xx=unsvec(block[1 + dimensions :]) * bound**2,
            noise=Noise(people=variance, sum_x=variance * bound**2, sum_xx=variance * bound**4),
        )
        for block in total.reshape(cohorts, length)
    ]


@lru_cache(maxsize=8)
def _triangle(dimensions: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Give rows, columns and scale of the upper triangle; kept, since every person's vector needs the same."""
    rows, columns = np.triu_indices(dimensions)
    scale = np.where(rows == columns, 1.0, math.sqrt(2.0))
    for array in (rows, columns, scale):
        array.setflags(write=False)
    return rows, columns, scale
