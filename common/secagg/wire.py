"""How the bytes of a secure sum are framed and read, version 1, everything little-endian.

    magic  "SHOALAGG"
    u8     format version = 1
    u8     type of the message, see `common.secagg.messages` and `common.secagg.states`
    u32    length of the body
    bytes  body

There is exactly one encoding of a message: a length that is off, a byte too many or a padding bit that is set is
refused. Nothing is allocated before its size is known to be allowed.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from common.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAGIC: Final = b"SHOALAGG"
FORMAT: Final = 1
_PREAMBLE: Final = struct.Struct("<8sBBI")

MAXIMUM_PEOPLE: Final = 1024
"""Most members of one sum (design, section 5: 128 at most are called; the benchmark goes to 1,024)."""
MAXIMUM_LENGTH: Final = 1 << 16
"""Most integers in a vector: J = 16 cohorts of p = 64 dimensions need 34,320, padded to 65,536."""
MAXIMUM_BODY: Final = 1 << 20
"""Bytes of the largest body, with room to spare: a list of 1,024 keys has 257 KiB, a masked vector 256 KiB."""

KEY: Final = 32
"""Bytes of an Ed25519 or X25519 public key, of a private one, of a seed and of a SHA-256 digest."""
SIGNATURE: Final = 64
"""Bytes of an Ed25519 signature (RFC 8032)."""


def frame(kind: int, *parts: bytes) -> bytes:
    """Put the preamble before a body."""
    body = b"".join(parts)
    return _PREAMBLE.pack(MAGIC, FORMAT, kind, len(body)) + body


def unframe(kind: int, data: bytes) -> Reader:
    """Check the preamble and give a reader of the body.

    Raises:
        ProtocolError: not a message of this type and format, cut short, or too long.
    """
    if not _PREAMBLE.size <= len(data) <= _PREAMBLE.size + MAXIMUM_BODY:
        raise ProtocolError(f"a message of {len(data)} bytes is out of the protocol: drop it")
    magic, version, found, length = _PREAMBLE.unpack_from(data)
    if magic != MAGIC or version != FORMAT:
        raise ProtocolError(f"not a message of format {FORMAT} of the secure sum: drop it, or update Shoal")
    if found != kind:
        raise ProtocolError(f"a message of type {found} where type {kind} belongs: drop it")
    if length != len(data) - _PREAMBLE.size:
        raise ProtocolError(f"{len(data) - _PREAMBLE.size} bytes of body, announced {length}: drop the message")
    return Reader(data, _PREAMBLE.size)


def kind_of(data: bytes) -> int:
    """Give the type of a message, or −1 where there is none to read."""
    return data[9] if len(data) >= _PREAMBLE.size else -1


class Reader:
    """Reads a body from front to back; every step is checked against what is left."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data, self._at = data, at

    def take(self, count: int) -> bytes:
        """Take `count` bytes."""
        if count > len(self._data) - self._at:
            raise ProtocolError(f"cut short: {len(self._data) - self._at} bytes left, {count} needed: drop the message")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int, least: int, most: int, what: str) -> int:
        """Take an unsigned integer of `size` bytes and check its range."""
        value = int.from_bytes(self.take(size), "little")
        if not least <= value <= most:
            raise ProtocolError(f"{what} is {value}, allowed {least} to {most}: drop the message")
        return value

    def many(self, count: int, size: int) -> tuple[bytes, ...]:
        """Take `count` pieces of `size` bytes."""
        block = self.take(count * size)
        return tuple(block[at : at + size] for at in range(0, len(block), size))

    def members(self, people: int) -> frozenset[int]:
        """Take a set of members as `pack_members` wrote it."""
        bits = int.from_bytes(self.take((people + 7) // 8), "little")
        if bits >> people:
            raise ProtocolError(f"a set names members beyond the {people} there are: drop the message")
        return frozenset(at for at in range(people) if bits >> at & 1)

    def end(self) -> None:
        """Refuse anything that is left."""
        if self._at != len(self._data):
            raise ProtocolError(f"{len(self._data) - self._at} bytes too many: drop the message")


def pack_number(value: int, size: int) -> bytes:
    """Write an unsigned integer."""
    return value.to_bytes(size, "little")


def pack_members(members: Iterable[int], people: int) -> bytes:
    """Write a set of members as a bitmap: member i is bit i mod 8 of byte i // 8, unused bits are 0."""
    return sum(1 << at for at in members).to_bytes((people + 7) // 8, "little")
