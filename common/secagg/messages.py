"""The nine messages of a secure sum; their frame stands in `common.secagg.wire`, their meaning in docs/protocol.md.

    type  from     exchange       body
    1     device   train.keys     Advertisement   its keys, certified and signed
    2     server   train.shares   Roster          U1: everybody's advertisement
    3     device   train.shares   Shares          encrypted shares for its neighbours, signature on U1
    4     server   train.masked   Delivery        U2, signatures on U1, the shares meant for this device
    5     device   train.masked   MaskedVector    signature on U2, the vector
    6     server   train.confirm  Survivors       U3, signatures on U2
    7     device   train.confirm  Confirmation    signature on U3
    8     server   train.unmask   UnmaskRequest   U3, U2 minus U3, U4, signatures on U3
    9     device   train.unmask   Unmasking       one share of each neighbour in U2

Reading checks form alone: types, lengths, limits. What the values must be is for `client` and `server` to check.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Final

from common.errors import ProtocolError
from common.secagg.shares import CIPHERTEXT, SHARE
from common.secagg.wire import (
    KEY,
    MAXIMUM_BODY,
    MAXIMUM_PEOPLE,
    SIGNATURE,
    Reader,
    frame,
    pack_members,
    pack_number,
    unframe,
)

NOTHING: Final = 0
SELF_SEED: Final = 1
MASK_KEY: Final = 2
"""What an `Unmasking` reveals of a neighbour: nothing, a share of its b, or a share of its s^SK; never both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertisement:
    """What a device says of itself: 256 bytes."""

    kind: ClassVar[int] = 1
    size: ClassVar[int] = 4 * KEY + 2 * SIGNATURE

    identity: bytes
    """Ed25519 public key of its enrolment."""
    certificate: bytes
    """The operator's signature on it."""
    cipher_key: bytes
    """c^PK: X25519, for the encryption of shares."""
    mask_key: bytes
    """s^PK: X25519, for pairwise masks."""
    commitment: bytes
    """To the seed b of its own mask."""
    signature: bytes
    """By the identity, on `signed` under the round's context."""

    @property
    def signed(self) -> bytes:
        """Give the bytes that the identity signs after the domain and context."""
        return self.identity + self.cipher_key + self.mask_key + self.commitment

    @property
    def unique(self) -> tuple[bytes, ...]:
        """Give what no other member may have as well."""
        return self.identity, self.cipher_key, self.mask_key, self.commitment

    @property
    def body(self) -> bytes:
        """Give the 256 bytes, as they also stand in a roster."""
        return self.identity + self.certificate + self.cipher_key + self.mask_key + self.commitment + self.signature

    def to_bytes(self) -> bytes:
        """Write the message."""
        return frame(self.kind, self.body)

    @classmethod
    def read(cls, reader: Reader) -> Advertisement:
        """Read one body."""
        identity, certificate = reader.take(KEY), reader.take(SIGNATURE)
        cipher_key, mask_key, commitment = reader.many(3, KEY)
        return cls(
            identity=identity,
            certificate=certificate,
            cipher_key=cipher_key,
            mask_key=mask_key,
            commitment=commitment,
            signature=reader.take(SIGNATURE),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Advertisement:
        """Read the message."""
        reader = unframe(cls.kind, data)
        message = cls.read(reader)
        reader.end()
        return message


@dataclass(frozen=True, slots=True)
class Roster:
    """U1: the advertisements of all members, in ascending order of identity."""

    kind: ClassVar[int] = 2

    members: tuple[Advertisement, ...]

    def __post_init__(self) -> None:
        """Refuse a list that is too long, out of order, or names somebody twice."""
        if not 1 <= len(self.members) <= MAXIMUM_PEOPLE or any(a >= b for a, b in pairwise(self.names)):
            raise ProtocolError("the list of members is too long, out of order or names one twice: drop the message")

    @property
    def names(self) -> tuple[bytes, ...]:
        """Give the members' identities, by which everything about them is derived."""
        return tuple(member.identity for member in self.members)

    def to_bytes(self) -> bytes:
        """Write the message: u16 count, 256 bytes each."""
        return frame(self.kind, pack_number(len(self.members), 2), *(member.body for member in self.members))

    @classmethod
    def from_bytes(cls, data: bytes) -> Roster:
        """Read the message."""
        reader = unframe(cls.kind, data)
        count = reader.number(2, 1, MAXIMUM_PEOPLE, "the number of members")
        message = cls(tuple(Advertisement.read(reader) for _ in range(count)))
        reader.end()
        return message


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """A device's shares for its neighbours, in ascending order of the roster."""

    kind: ClassVar[int] = 3

    signature: bytes
    """By the sender, on the roster."""
    sealed: tuple[bytes, ...]
    """For each neighbour, 94 bytes: shares of b and of s^SK, encrypted."""
    commitments: tuple[bytes, ...]
    """For each neighbour, 64 bytes: to the share of b and to that of s^SK, so that a wrong share is known as one."""

    def to_bytes(self) -> bytes:
        """Write the message: signature, u16 count, all ciphertexts, all commitments."""
        return frame(self.kind, self.signature, pack_number(len(self.sealed), 2), *self.sealed, *self.commitments)

    @classmethod
    def from_bytes(cls, data: bytes) -> Shares:
        """Read the message."""
        reader = unframe(cls.kind, data)
        signature, count = reader.take(SIGNATURE), reader.number(2, 1, MAXIMUM_PEOPLE, "the number of shares")
        sealed, commitments = reader.many(count, CIPHERTEXT), reader.many(count, 2 * KEY)
        reader.end()
        return cls(signature=signature, sealed=sealed, commitments=commitments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """U2, each member's signature on the roster, and what the receiver's neighbours in U2 sent it."""

    kind: ClassVar[int] = 4

    people: int
    """n, the length of the roster."""
    senders: frozenset[int]
    """U2, by place on the roster."""
    signatures: tuple[bytes, ...]
    """Of each sender, ascending."""
    sealed: tuple[bytes, ...]
    """From each neighbour in U2, ascending."""

    def to_bytes(self) -> bytes:
        """Write the message: u16 n, bitmap of U2, signatures, u16 count, ciphertexts."""
        sets = pack_number(self.people, 2) + pack_members(self.senders, self.people)
        return frame(self.kind, sets, *self.signatures, pack_number(len(self.sealed), 2), *self.sealed)

    @classmethod
    def from_bytes(cls, data: bytes) -> Delivery:
        """Read the message."""
        reader = unframe(cls.kind, data)
        people = reader.number(2, 1, MAXIMUM_PEOPLE, "the number of members")
        senders = reader.members(people)
        signatures = reader.many(len(senders), SIGNATURE)
        sealed = reader.many(reader.number(2, 0, people, "the number of ciphertexts"), CIPHERTEXT)
        reader.end()
        return cls(people=people, senders=senders, signatures=signatures, sealed=sealed)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedVector:
    """A device's masked integers."""

    kind: ClassVar[int] = 5

    signature: bytes
    """By the sender, on U2."""
    vector: bytes
    """As `common.secagg.masks.pack` writes it."""

    def to_bytes(self) -> bytes:
        """Write the message: signature, u32 length in bytes, vector."""
        return frame(self.kind, self.signature, pack_number(len(self.vector), 4), self.vector)

    @classmethod
    def from_bytes(cls, data: bytes) -> MaskedVector:
        """Read the message."""
        reader = unframe(cls.kind, data)
        signature = reader.take(SIGNATURE)
        vector = reader.take(reader.number(4, 1, MAXIMUM_BODY, "the length of the vector"))
        reader.end()
        return cls(signature=signature, vector=vector)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivors:
    """U3, and each of its members' signature on U2."""

    kind: ClassVar[int] = 6

    people: int
    survivors: frozenset[int]
    signatures: tuple[bytes, ...]

    def to_bytes(self) -> bytes:
        """Write the message: u16 n, bitmap of U3, signatures."""
        sets = pack_number(self.people, 2) + pack_members(self.survivors, self.people)
        return frame(self.kind, sets, *self.signatures)

    @classmethod
    def from_bytes(cls, data: bytes) -> Survivors:
        """Read the message."""
        reader = unframe(cls.kind, data)
        people = reader.number(2, 1, MAXIMUM_PEOPLE, "the number of members")
        survivors = reader.members(people)
        signatures = reader.many(len(survivors), SIGNATURE)
        reader.end()
        return cls(people=people, survivors=survivors, signatures=signatures)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A device's signature on U3."""

    kind: ClassVar[int] = 7

    signature: bytes

    def to_bytes(self) -> bytes:
        """Write the message: the signature."""
        return frame(self.kind, self.signature)

    @classmethod
    def from_bytes(cls, data: bytes) -> Confirmation:
        """Read the message."""
        reader = unframe(cls.kind, data)
        message = cls(reader.take(SIGNATURE))
        reader.end()
        return message


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmaskRequest:
    """U3, those of U2 that are not in it, U4, and each confirmer's signature on U3."""

    kind: ClassVar[int] = 8

    people: int
    survivors: frozenset[int]
    dropped: frozenset[int]
    confirmers: frozenset[int]
    signatures: tuple[bytes, ...]

    def to_bytes(self) -> bytes:
        """Write the message: u16 n, three bitmaps, signatures."""
        sets = (pack_members(members, self.people) for members in (self.survivors, self.dropped, self.confirmers))
        return frame(self.kind, pack_number(self.people, 2), *sets, *self.signatures)

    @classmethod
    def from_bytes(cls, data: bytes) -> UnmaskRequest:
        """Read the message."""
        reader = unframe(cls.kind, data)
        people = reader.number(2, 1, MAXIMUM_PEOPLE, "the number of members")
        survivors, dropped, confirmers = (reader.members(people) for _ in range(3))
        signatures = reader.many(len(confirmers), SIGNATURE)
        reader.end()
        return cls(people=people, survivors=survivors, dropped=dropped, confirmers=confirmers, signatures=signatures)


@dataclass(frozen=True, slots=True)
class Unmasking:
    """One share of each neighbour in U2, ascending: of b where it survived, of s^SK where it dropped out."""

    kind: ClassVar[int] = 9

    shares: tuple[tuple[int, bytes], ...] = field(repr=False)
    """What (`NOTHING`, `SELF_SEED`, `MASK_KEY`) and 33 bytes, zero for nothing."""

    def to_bytes(self) -> bytes:
        """Write the message: u16 count, then u8 what and 33 bytes each."""
        parts = (pack_number(what, 1) + value for what, value in self.shares)
        return frame(self.kind, pack_number(len(self.shares), 2), *parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> Unmasking:
        """Read the message."""
        reader = unframe(cls.kind, data)
        count = reader.number(2, 0, MAXIMUM_PEOPLE, "the number of shares")
        shares = tuple(
            (reader.number(1, NOTHING, MASK_KEY, "a share's kind"), reader.take(SHARE)) for _ in range(count)
        )
        if any(what == NOTHING and any(value) for what, value in shares):
            raise ProtocolError("a share of nothing carries bytes: drop the message")
        reader.end()
        return cls(shares)
