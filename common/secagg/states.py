"""What a device remembers between two exchanges: frozen, with bytes of their own, so that a vault can keep them.

    type  state       after          may next
    129   Advertised  train.keys     share
    130   Shared      train.shares   mask
    131   Masked      train.masked   confirm
    132   Confirmed   train.confirm  unmask
    133   Done        train.unmask   nothing

The bytes hold private keys: they belong into an encrypted store, and are deleted when the round is over. A state is
used once: whoever keeps it must have stored the next one durably before the reply leaves the device.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Final

from common.errors import ProtocolError
from common.secagg.graph import Graph, draw_graph
from common.secagg.identity import Identity
from common.secagg.messages import Roster
from common.secagg.rules import Rules
from common.secagg.shares import SHARE
from common.secagg.transcript import on_survivors
from common.secagg.wire import (
    KEY,
    MAXIMUM_PEOPLE,
    SIGNATURE,
    Reader,
    frame,
    kind_of,
    pack_members,
    pack_number,
    unframe,
)

HELD: Final = 2 * SHARE
"""Bytes of what one neighbour entrusted: a share of its b and one of its s^SK."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertised:
    """Keys are made and announced."""

    kind: ClassVar[int] = 129

    rules: Rules
    identity: Identity
    cipher_secret: bytes = field(repr=False)
    """c^SK, X25519."""
    mask_secret: bytes = field(repr=False)
    """s^SK, X25519."""
    self_seed: bytes = field(repr=False)
    """b, 32 bytes."""

    def to_bytes(self) -> bytes:
        """Write the state; it holds secrets."""
        return frame(self.kind, _pack_who(self.rules, self.identity), *self._secrets())

    @classmethod
    def from_bytes(cls, data: bytes) -> Advertised:
        """Read the state."""
        reader = unframe(cls.kind, data)
        rules, identity = _take_who(reader)
        cipher_secret, mask_secret, self_seed = reader.many(3, KEY)
        reader.end()
        return cls(
            rules=rules, identity=identity, cipher_secret=cipher_secret, mask_secret=mask_secret, self_seed=self_seed
        )

    def _secrets(self) -> tuple[bytes, ...]:
        return self.cipher_secret, self.mask_secret, self.self_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """The list U1 was found good, and shares for the neighbours are made."""

    kind: ClassVar[int] = 130

    advertised: Advertised
    roster: Roster

    def to_bytes(self) -> bytes:
        """Write the state; it holds secrets."""
        return frame(self.kind, *map(_pack_nested, (self.advertised.to_bytes(), self.roster.to_bytes())))

    @classmethod
    def from_bytes(cls, data: bytes) -> Shared:
        """Read the state."""
        reader = unframe(cls.kind, data)
        advertised, roster = Advertised.from_bytes(_take_nested(reader)), Roster.from_bytes(_take_nested(reader))
        reader.end()
        _check(advertised.identity.public in roster.names)
        return cls(advertised=advertised, roster=roster)


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """The masked vector is made; own secrets are forgotten, the neighbours' shares kept."""

    kind: ClassVar[int] = 131

    rules: Rules
    identity: Identity
    transcript: bytes
    """Digest of U1."""
    identities: tuple[bytes, ...]
    """U1, ascending."""
    senders: frozenset[int]
    """U2."""
    held: tuple[bytes, ...] = field(repr=False)
    """For each neighbour in U2, ascending: its share of b, then of s^SK; empty where they did not decrypt."""

    @property
    def own(self) -> int:
        """Give this device's place on the list."""
        return self.identities.index(self.identity.public)

    @property
    def graph(self) -> Graph:
        """Give the round's graph."""
        return draw_graph(self.transcript, self.identities)

    def to_bytes(self) -> bytes:
        """Write the state; it holds secrets."""
        people = len(self.identities)
        sets = pack_number(people, 2) + b"".join(self.identities) + pack_members(self.senders, people)
        held = (b"\1" + shares if shares else b"\0" for shares in self.held)
        count = pack_number(len(self.held), 2)
        return frame(self.kind, _pack_who(self.rules, self.identity), self.transcript, sets, count, *held)

    @classmethod
    def from_bytes(cls, data: bytes) -> Masked:
        """Read the state."""
        reader = unframe(cls.kind, data)
        rules, identity = _take_who(reader)
        transcript, people = reader.take(KEY), reader.number(2, 1, MAXIMUM_PEOPLE, "the number of members")
        identities, senders = reader.many(people, KEY), reader.members(people)
        count = reader.number(2, 0, people, "the number of shares")
        held = tuple(reader.take(HELD * reader.number(1, 0, 1, "whether there is a share")) for _ in range(count))
        reader.end()
        state = cls(
            rules=rules, identity=identity, transcript=transcript, identities=identities, senders=senders, held=held
        )
        _check(identity.public in identities and all(a < b for a, b in pairwise(identities)))
        _check(state.own in senders and len(held) == len(senders.intersection(state.graph.neighbours(state.own))))
        return state


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """U3 is signed."""

    kind: ClassVar[int] = 132

    masked: Masked
    survivors: frozenset[int]
    """U3."""

    @property
    def confirmation(self) -> bytes:
        """Give what the members sign in exchange 4."""
        masked = self.masked
        return on_survivors(masked.transcript, len(masked.identities), masked.senders, self.survivors)

    def to_bytes(self) -> bytes:
        """Write the state; it holds secrets."""
        survivors = pack_members(self.survivors, len(self.masked.identities))
        return frame(self.kind, _pack_nested(self.masked.to_bytes()), survivors)

    @classmethod
    def from_bytes(cls, data: bytes) -> Confirmed:
        """Read the state."""
        reader = unframe(cls.kind, data)
        masked = Masked.from_bytes(_take_nested(reader))
        survivors = reader.members(len(masked.identities))
        reader.end()
        _check(masked.own in survivors and survivors <= masked.senders)
        return cls(masked=masked, survivors=survivors)


@dataclass(frozen=True, slots=True)
class Done:
    """Shares were revealed: nothing more is ever said in this round."""

    kind: ClassVar[int] = 133

    transcript: bytes

    def to_bytes(self) -> bytes:
        """Write the state."""
        return frame(self.kind, self.transcript)

    @classmethod
    def from_bytes(cls, data: bytes) -> Done:
        """Read the state."""
        reader = unframe(cls.kind, data)
        state = cls(reader.take(KEY))
        reader.end()
        return state


State = Advertised | Shared | Masked | Confirmed | Done


def read_state(data: bytes) -> State:
    """Read a device's state of whichever exchange.

    Raises:
        ProtocolError: these are not the bytes of a state.
    """
    for form in (Advertised, Shared, Masked, Confirmed, Done):
        if kind_of(data) == form.kind:
            return form.from_bytes(data)
    raise ProtocolError("these are not the bytes of a state: forget this round")


def _check(holds: bool) -> None:  # noqa: FBT001 - reads as a statement of what must hold
    if not holds:
        raise ProtocolError("the parts of a stored state do not belong together: forget this round")


def _pack_who(rules: Rules, identity: Identity) -> bytes:
    return rules.to_bytes() + identity.secret + identity.certificate


def _take_who(reader: Reader) -> tuple[Rules, Identity]:
    rules = Rules(
        operator=reader.take(KEY),
        parameters=reader.take(KEY),
        minimum_people=reader.number(2, 0, 0xFFFF, "minimum_people"),
        length=reader.number(4, 0, 0xFFFFFFFF, "length"),
        modulus_bits=reader.number(1, 0, 0xFF, "modulus_bits"),
    )
    return rules, Identity(reader.take(KEY), reader.take(SIGNATURE))


def _pack_nested(data: bytes) -> bytes:
    return pack_number(len(data), 4) + data


def _take_nested(reader: Reader) -> bytes:
    return reader.take(reader.number(4, 0, 0xFFFFFFFF, "the length of a part"))
