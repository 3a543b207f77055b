"""The one source of randomness for noise, rounding and masks: a ChaCha20 keystream under a key of the system."""

from __future__ import annotations

import builtins
import os
from typing import TYPE_CHECKING, Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from common.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED_BYTES: Final = 32
"""A ChaCha20 key (RFC 8439, section 2.3): 256 bits."""
_REFILL: Final = 4096
"""Bytes of keystream made at a time, so that small draws cost a slice and not a call into the cipher."""


class Randomness:
    """A cryptographically secure stream of random bytes, and exact draws from it.

    The keystream of ChaCha20 (RFC 8439) with a fresh 256-bit key and nonce 0; nobody without the key can tell it from
    uniform bytes. One key serves 256 GiB, far more than any round needs. A stream belongs to one thread of one
    process: a copy or a fork would draw the same bytes again.
    """

    def __init__(self, seed: builtins.bytes | None = None) -> None:
        """Start a stream.

        Args:
            seed: 32 bytes, in tests alone; None takes them from the operating system.

        Raises:
            ConfigError: a seed of another length.
        """
        key = os.urandom(SEED_BYTES) if seed is None else seed
        if len(key) != SEED_BYTES:
            raise ConfigError(f"a seed of {len(key)} bytes, expected {SEED_BYTES}: take them from os.urandom")
        self._keystream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
        self._buffer, self._at = b"", 0

    def bytes(self, count: int) -> builtins.bytes:
        """Give the next `count` bytes."""
        at, end = self._at, self._at + count
        if end > len(self._buffer):
            needed = max(_REFILL, end - len(self._buffer))
            self._buffer = self._buffer[at:] + self._keystream.update(builtins.bytes(needed))
            at, end = 0, count
        self._at = end
        return self._buffer[at:end]

    def below(self, bound: int) -> int:
        """Draw uniformly from 0, ..., bound − 1, exactly: by rejection, without a remainder's bias.

        Args:
            bound: 1 or more, of any size.

        Raises:
            ConfigError: a bound below 1.
        """
        if bound < 1:
            raise ConfigError(f"no integers from 0 to below {bound}: give a bound of 1 or more")
        width = (bound - 1).bit_length()
        count = (width + 7) // 8
        surplus = 8 * count - width
        while True:
            drawn = int.from_bytes(self.bytes(count), "little") >> surplus
            if drawn < bound:
                return drawn

    def uint64(self, count: int) -> NDArray[np.uint64]:
        """Draw `count` independent uniform integers of 64 bits."""
        return np.frombuffer(self.bytes(8 * count), dtype="<u8").astype(np.uint64)
