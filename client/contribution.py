"""The only exit for anything derived from photos.

Whatever a device ever sends about its pictures is the return value of `contribution`. What protects the person
belongs in here, behind this one function, so that there is one door to watch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from common.errors import PriorError, ProtocolError, VaultError
from common.mixture import responsibilities
from common.prior import MAXIMUM_NORM, Cohort, check_cohorts, check_public_basis
from common.statistics import blocks, clip

if TYPE_CHECKING:
    from numpy.typing import NDArray

MINIMUM_CLIP: Final = 1e-6
"""In units of the embedding; below it everybody would contribute the same direction-only vector."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Announcement:
    """What the server says about a round before anyone contributes; every participant gets the same."""

    round_id: str
    backbone: str
    """SHA-256 of the weights, lower-case hex."""
    kind: str
    prior_version: int
    """The version whose cohorts are below; 0 while there is none."""
    public_basis: NDArray[np.float64]
    """P, shape (width, dimensions), orthonormal columns."""
    cohorts: tuple[Cohort, ...]
    """Empty while there is no prior."""
    clip: float
    """C > 0, in units of the embedding."""


def contribution(displacement: NDArray[np.floating], announced: Announcement) -> NDArray[np.float64]:
    """Turn a displacement into the one vector that leaves the device.

    Design, section 3: x = Pᵀδ, clipped to ‖x‖ ≤ C, with responsibilities under the announced cohorts; then
    `common.statistics.blocks`, whose norm is at most `common.statistics.sensitivity()`.

    Args:
        displacement: δ = token − anchor, shape (width,).
        announced: the round that this is for.

    Returns:
        Shape (max(1, J) · `block_length(dimensions)`,).

    Raises:
        VaultError: the displacement is not finite; nothing leaves.
        ProtocolError: the announcement is unusable; nothing leaves.
    """
    delta = np.asarray(displacement, dtype=np.float64)
    if delta.ndim != 1 or not np.all(np.isfinite(delta)):
        raise VaultError("the stored token is damaged: forget this concept and learn it again")
    _check(announced, width=len(delta))
    x = clip(announced.public_basis.T @ delta, announced.clip)
    return blocks(x, responsibilities(x, announced.cohorts), announced.clip)


def _check(announced: Announcement, *, width: int) -> None:
    if not MINIMUM_CLIP <= announced.clip <= MAXIMUM_NORM:  # also refuses NaN
        raise ProtocolError(
            f"clip must be {MINIMUM_CLIP:g} to {MAXIMUM_NORM:g}, got {announced.clip:g}: sit this round out"
        )
    try:
        check_public_basis(announced.public_basis, width=width)
        if announced.cohorts:
            check_cohorts(announced.cohorts, dimensions=announced.public_basis.shape[1])
    except PriorError as error:
        raise ProtocolError(f"round announced with an unusable prior ({error}): sit this round out") from error
