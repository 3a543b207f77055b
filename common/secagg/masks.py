"""Masks: a seed of 256 bits expanded by ChaCha20 (RFC 8439) to integers, and vectors as packed bytes.

The generator G of the paper. The key is used for one mask alone, so counter and nonce are 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from common.errors import ProtocolError
from common.secagg.keys import PAIR, derive

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.secagg.rules import Rules

_START: Final = bytes(16)


def expand(seed: bytes, length: int) -> NDArray[np.uint32]:
    """Give G(seed): `length` integers, uniform modulo 2³² and so modulo every smaller power of 2; 4 bytes each."""
    stream = Cipher(ChaCha20(seed, _START), mode=None).encryptor().update(bytes(4 * length))
    return np.frombuffer(stream, "<u4")


def add_pair(
    vector: NDArray[np.uint32], secret: bytes, transcript: bytes, *, own: bytes, other: bytes
) -> NDArray[np.uint32]:
    """Add the mask that two members share, or subtract it where `own` is the larger identity.

    Args:
        vector: shape (length,).
        secret: what their mask keys agree on.
        transcript: digest of U1.
        own: identity of the member whose vector it is.
        other: identity of its neighbour.
    """
    first, second = sorted((own, other))
    mask = expand(derive(PAIR, secret, transcript, first, second), len(vector))
    return vector + mask if own == first else vector - mask


def pack(integers: NDArray[np.uint32], rules: Rules) -> bytes:
    """Write a vector: bits/8 bytes for each integer."""
    rows = np.ascontiguousarray(integers, "<u4").view(np.uint8).reshape(rules.length, 4)
    return rows[:, : rules.modulus_bits // 8].tobytes()


def unpack(data: bytes, rules: Rules) -> NDArray[np.uint32]:
    """Read what `pack` wrote.

    Raises:
        ProtocolError: not `length` integers of that size.
    """
    size = rules.modulus_bits // 8
    if len(data) != size * rules.length:
        raise ProtocolError(f"a vector of {len(data)} bytes instead of {size * rules.length}: drop the message")
    rows = np.zeros((rules.length, 4), np.uint8)
    rows[:, :size] = np.frombuffer(data, np.uint8).reshape(rules.length, size)
    return rows.view("<u4").ravel().astype(np.uint32)


def wrap(integers: NDArray[np.uint32], rules: Rules) -> NDArray[np.uint32]:
    """Reduce modulo 2^bits; sums before it wrap modulo 2³², of which 2^bits is a divisor."""
    return integers & np.uint32((1 << rules.modulus_bits) - 1)
