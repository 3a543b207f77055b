"""The distributed discrete Gaussian mechanism: from one person's vector to integers, and from their sum back.

Kairouz, Liu and Steinke (ICML 2021, arXiv:2102.06387v4), Algorithms 1 and 2:

    device   v  ->  pad  ->  rotate  ->  scale  ->  round  ->  + own noise share  ->  mod 2^b  ->  (masked)
    server   Σ mod 2^b  ->  centred lift  ->  unscale  ->  unrotate  ->  cut

All of it is announced and public but the vector, the rounding and the noise. What it costs is in `accounting`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from common.errors import ConfigError, ProtocolError
from common.privacy.discrete_gaussian import draw
from common.privacy.rotation import rotate, unrotate
from common.statistics import sensitivity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.privacy.randomness import Randomness

MAXIMUM_LENGTH: Final = 2**16
"""Numbers in a vector: 16 cohorts of 64 dimensions need 34,320."""
MAXIMUM_SCALE: Final = 2.0**24
"""Rounding to 2⁻²⁴ costs nothing that could be measured, and all squares stay exact in 53 bits."""
MINIMUM_SCALE: Final = 2.0**-10
MODULI: Final = (8, 16, 24, 32)
"""Bits of a masked integer, whole bytes."""
_BIAS: Final = math.exp(-0.5)
"""β of conditional rounding, so that √(2 ln(1/β)) = 1: the paper's experiments use the same. A rounding is rejected
with probability below β in the worst case, and next to never for vectors of hundreds of numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """What a round announces about rounding and noise; the same for all of its people."""

    length: int
    """Numbers in a vector, before padding."""
    scale: float
    """s: integers per unit of the vector."""
    share_variance: int
    """σ²: parameter of ONE person's discrete Gaussian share, in integers squared; 0 is no noise."""
    modulus_bits: int
    """b: sums are taken modulo 2^b."""

    def __post_init__(self) -> None:
        """Refuse values outside the protocol."""
        _check(_is_int(self.length) and 1 <= self.length <= MAXIMUM_LENGTH, "length", self.length)
        _check(isinstance(self.scale, float) and MINIMUM_SCALE <= self.scale <= MAXIMUM_SCALE, "scale", self.scale)
        _check(self.modulus_bits in MODULI and _is_int(self.modulus_bits), "modulus_bits", self.modulus_bits)
        most = 4**self.modulus_bits  # a share of this size is already uniform modulo 2^b
        _check(_is_int(self.share_variance) and 0 <= self.share_variance <= most, "share_variance", self.share_variance)

    @property
    def padded(self) -> int:
        """D: the next power of two, which the Hadamard transform needs."""
        return 1 << (self.length - 1).bit_length()

    @property
    def norm_squared(self) -> int:
        """Give Δ₂²: no encoding has a larger squared norm, and the accounting uses exactly this integer.

        Theorem 1 and Proposition 22, with the bound c = s·S on the scaled vector and granularity 1:
        Δ₂² = min{ (c + √D)², c² + D/4 + √(2 ln(1/β)) · (c + √D/2) }, rounded down, since squared norms of integer
        vectors are integers.
        """
        bound, root = self.scale * sensitivity(), math.sqrt(self.padded)
        certain = (bound + root) ** 2
        likely = bound**2 + self.padded / 4 + math.sqrt(-2 * math.log(_BIAS)) * (bound + root / 2)
        return math.floor(min(certain, likely))


def encode(
    vector: NDArray[np.float64], mechanism: Mechanism, *, seed: bytes, randomness: Randomness
) -> NDArray[np.int64]:
    """Turn a vector into integers whose squared norm is at most `Mechanism.norm_squared`, whatever was drawn.

    Conditional stochastic rounding (Algorithm 1): each coordinate goes up or down so that its expectation stays, and
    the whole is drawn again while the norm exceeds the bound. The zero vector becomes zero, so that replacing
    a person's vector by zero moves the sum by at most √norm_squared.

    Args:
        vector: shape (length,), of norm at most `sensitivity()`.
        mechanism: as announced.
        seed: of the public rotation.
        randomness: of the device.

    Returns:
        Shape (padded,).

    Raises:
        ConfigError: a vector of another shape, not finite or too long: it was not made by `common.statistics.blocks`.
    """
    if vector.shape != (mechanism.length,) or not float(np.linalg.norm(vector)) <= sensitivity():  # refuses NaN too
        raise ConfigError(
            f"a vector of shape {vector.shape}, expected ({mechanism.length},) and a norm of at most "
            f"{sensitivity():.4g}: clip it first, nothing leaves"
        )
    spread = rotate(np.pad(vector, (0, mechanism.padded - mechanism.length)), seed) * mechanism.scale
    below = np.floor(spread)
    odds = (spread - below) * 2.0**53
    while True:
        up = (randomness.uint64(mechanism.padded) >> np.uint64(11)).astype(np.float64) < odds
        rounded = below.astype(np.int64) + up
        if int(rounded @ rounded) <= mechanism.norm_squared:
            return rounded


def draw_share(mechanism: Mechanism, randomness: Randomness) -> NDArray[np.int64]:
    """Draw one person's share of the noise, shape (padded,): independent N_Z(0, σ²), exactly."""
    return draw(mechanism.share_variance, mechanism.padded, randomness)


def reduce(integers: NDArray[np.int64], mechanism: Mechanism) -> NDArray[np.uint32]:
    """Take integers modulo 2^b, into 0, ..., 2^b − 1."""
    return (integers & np.int64(2**mechanism.modulus_bits - 1)).astype(np.uint32)


def decode(total: NDArray[np.uint32], mechanism: Mechanism, *, seed: bytes) -> NDArray[np.float64]:
    """Read a sum modulo 2^b back into a vector.

    Args:
        total: shape (padded,), each below 2^b.
        mechanism: as announced.
        seed: of the public rotation.

    Returns:
        Shape (length,): the sum of the vectors, with rounding and noise of `noise_variance` in each number.

    Raises:
        ProtocolError: a sum of another shape or out of range.
    """
    modulus = 2**mechanism.modulus_bits
    if total.shape != (mechanism.padded,) or int(total.max()) >= modulus:
        raise ProtocolError(
            f"a sum of shape {total.shape}, expected ({mechanism.padded},) of integers below 2^"
            f"{mechanism.modulus_bits}: drop this round"
        )
    lifted = total.astype(np.int64)
    lifted -= modulus * (lifted >= modulus // 2)
    return unrotate(lifted / mechanism.scale, seed)[: mechanism.length]


def noise_variance(mechanism: Mechanism, survivors: int) -> float:
    """Say how much each decoded number of a sum varies around the plain sum; 0 without noise.

    Noise shares of variance σ² and roundings of at most 1/4 from every survivor, in units of the vector. The rotation
    is orthonormal, so that the variance stays what it is and numbers stay uncorrelated.

    Args:
        mechanism: as announced.
        survivors: how many people are in the sum.
    """
    if mechanism.share_variance == 0:
        return 0.0
    return survivors * (mechanism.share_variance + 0.25) / mechanism.scale**2


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check(holds: bool, name: str, value: object) -> None:  # noqa: FBT001  read as a sentence
    if not holds:
        raise ProtocolError(f"mechanism with {name} {value!r}, which is out of bounds: sit this round out")
