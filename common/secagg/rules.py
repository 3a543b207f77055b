"""What everybody in a round must agree on before anything else is said."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from common.errors import ProtocolError
from common.secagg.wire import KEY, MAXIMUM_LENGTH, MAXIMUM_PEOPLE, pack_number

MINIMUM_PEOPLE: Final = 3
"""Fewest members of any sum: of two people's sum each learns the other's vector."""
_DOMAIN: Final = b"shoal secagg context 1\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The terms of one round, as announced; a device takes part under these or not at all."""

    operator: bytes
    """The operator's Ed25519 public key, 32 bytes, pinned by the device at enrolment."""
    parameters: bytes
    """SHA-256 of the canonical bytes of everything else that was announced: round id, kind, backbone, prior, clip,
    mechanism. See `digest_parameters`."""
    minimum_people: int
    """n_min: fewest members and fewest survivors of a sum."""
    length: int
    """Integers in a vector, after padding."""
    modulus_bits: int
    """Sums are taken modulo 2^bits: 8, 16, 24 or 32."""

    def __post_init__(self) -> None:
        """Refuse terms outside the protocol."""
        sound = {
            "operator": len(self.operator) == KEY,
            "parameters": len(self.parameters) == KEY,
            "minimum_people": MINIMUM_PEOPLE <= self.minimum_people <= MAXIMUM_PEOPLE,
            "length": 1 <= self.length <= MAXIMUM_LENGTH,
            "modulus_bits": self.modulus_bits in {8, 16, 24, 32},
        }
        wrong = [name for name, holds in sound.items() if not holds]
        if wrong:
            raise ProtocolError(f"the round's {wrong[0]} is out of the protocol: take no part in it")

    @property
    def context(self) -> bytes:
        """Give the digest of all terms; every signature, key and associated datum of the round carries it."""
        return hashlib.sha256(_DOMAIN + self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        """Write the terms: 71 bytes."""
        numbers = pack_number(self.minimum_people, 2) + pack_number(self.length, 4) + pack_number(self.modulus_bits, 1)
        return self.operator + self.parameters + numbers


def digest_parameters(data: bytes) -> bytes:
    """Digest the canonical bytes of a round's announcement for `Rules.parameters`."""
    return hashlib.sha256(b"shoal secagg parameters 1\0" + data).digest()
