"""Authenticated encryption of one piece of data under a label that says what it is."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from common.errors import VaultError

KEY_BYTES: Final = 32
_NONCE: Final = 12
_FORMAT: Final = b"\x01"
_DOMAIN: Final = b"shoal vault 1\0"


@dataclass(frozen=True, slots=True)
class Seal:
    """AES-256-GCM (NIST SP 800-38D) with random 96-bit nonces: good for 2^32 pieces, which no person comes near.

    The label is authenticated with the data, so that one piece put in the place of another does not open. An old
    piece under its own label does: what must not be rolled back is chained elsewhere, see `client.ledger`.
    """

    key: bytes = field(repr=False)
    """32 bytes."""

    def seal(self, data: bytes, label: str) -> bytes:
        """Return format byte, nonce and ciphertext of some data.

        Args:
            data: what is to be kept.
            label: what it is, as ``concept/my-dog/token``.
        """
        nonce = os.urandom(_NONCE)
        return _FORMAT + nonce + AESGCM(self.key).encrypt(nonce, data, _DOMAIN + label.encode())

    def open(self, sealed: bytes, label: str) -> bytes:
        """Return what was sealed under that label.

        Raises:
            VaultError: it is damaged, of another vault, or something else was put in its place.
        """
        if sealed[:1] != _FORMAT:
            raise VaultError(f"{label} is not sealed as this version does it: restore it from a backup, or delete it")
        nonce, rest = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            return AESGCM(self.key).decrypt(nonce, rest, _DOMAIN + label.encode())
        except (InvalidTag, ValueError) as error:
            raise VaultError(
                f"{label} is damaged or of another vault: restore it from a backup, or delete it and learn it again"
            ) from error
