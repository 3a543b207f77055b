"""A public random rotation that spreads every vector evenly over its coordinates.

Without it a sum's largest coordinate could be as large as its norm, and the modulus would have to make room for that.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DOMAIN: Final = b"shoal rotation v1\0"


def signs(seed: bytes, count: int) -> NDArray[np.float64]:
    """Expand a public seed into `count` signs ±1: the bits of SHAKE-256 (FIPS 202), least significant first."""
    stream = hashlib.shake_256(_DOMAIN + seed).digest((count + 7) // 8)
    bits = np.unpackbits(np.frombuffer(stream, dtype=np.uint8), count=count, bitorder="little")
    return np.where(bits, -1.0, 1.0)


def hadamard(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply by the orthonormal Walsh-Hadamard matrix H/√D in D log₂ D additions; it is its own inverse.

    Args:
        vector: shape (D,), D a power of two; Sylvester's order.
    """
    size = len(vector)
    spread = vector.astype(np.float64)
    half = 1
    while half < size:
        pairs = spread.reshape(-1, 2, half)
        spread = np.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), axis=1).ravel()
        half *= 2
    return spread / math.sqrt(size)


def rotate(vector: NDArray[np.float64], seed: bytes) -> NDArray[np.float64]:
    """Give (H/√D) diag(ξ) v with public random signs ξ.

    Kairouz, Liu and Steinke (ICML 2021, arXiv:2102.06387v4), section 4.2 and Lemma 29: for a v that does not depend
    on ξ, each coordinate is sub-Gaussian with proxy ‖v‖²/D.

    Args:
        vector: v, shape (D,), D a power of two.
        seed: public; the same for everybody in a round, and chosen by nobody.
    """
    return hadamard(vector * signs(seed, len(vector)))


def unrotate(vector: NDArray[np.float64], seed: bytes) -> NDArray[np.float64]:
    """Undo `rotate`."""
    return hadamard(vector) * signs(seed, len(vector))
