"""The server's side of a secure sum: five steps, each from the replies of one exchange to the next requests.

The counterpart of `common.secagg.client`. Members are known to the server by whatever label its transport has for
them. A device whose reply is missing, malformed or wrong has dropped out, and its label and the reason stand in
`dropped`; it cannot harm the others. What makes the whole sum impossible raises `AbortedRoundError`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from common.errors import AbortedRoundError, ProtocolError
from common.secagg import keys, masks, shares, transcript
from common.secagg.graph import Graph, draw_graph
from common.secagg.identity import verify as verify_signature
from common.secagg.messages import (
    MASK_KEY,
    SELF_SEED,
    Advertisement,
    Confirmation,
    Delivery,
    MaskedVector,
    Roster,
    Shares,
    Survivors,
    Unmasking,
    UnmaskRequest,
)
from common.secagg.wire import MAXIMUM_PEOPLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from common.secagg.identity import Verify
    from common.secagg.rules import Rules

Label = TypeVar("Label")
_Reply = TypeVar("_Reply")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysGathered(Generic[Label]):
    """U1 is fixed."""

    rules: Rules
    roster: Roster
    labels: tuple[Label, ...]
    """Who is who on the roster."""
    digest: bytes
    graph: Graph
    dropped: dict[Label, str]

    @property
    def names(self) -> tuple[bytes, ...]:
        """Give the members' identities."""
        return tuple(member.identity for member in self.roster.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesGathered(Generic[Label]):
    """U2 is fixed."""

    keys: KeysGathered[Label]
    shares: dict[int, Shares]
    """By place on the roster; its keys are U2."""
    dropped: dict[Label, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedGathered(Generic[Label]):
    """U3 is fixed."""

    shares: SharesGathered[Label]
    survivors: frozenset[int]
    masked: NDArray[np.uint32] = field(repr=False)
    """Σ y over U3, modulo 2³²."""
    dropped: dict[Label, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmations(Generic[Label]):
    """U4 is fixed."""

    masked: MaskedGathered[Label]
    confirmers: frozenset[int]
    dropped: dict[Label, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum(Generic[Label]):
    """What the round was for."""

    total: NDArray[np.uint32]
    """Σ x over U3 modulo 2^bits, shape (length,)."""
    people: int
    """|U3|: how many vectors are in it."""
    survivors: tuple[Label, ...]
    dropped: dict[Label, str]
    """In the last exchange; those in `survivors` are in the sum nevertheless."""


def gather_keys(
    rules: Rules, replies: Mapping[Label, bytes], *, verify: Verify = verify_signature
) -> tuple[KeysGathered[Label], dict[Label, bytes]]:
    """Exchange 1: check each advertisement, make the list U1, send it to all in it.

    Raises:
        AbortedRoundError: fewer than the announced minimum are left.
    """
    found: dict[Label, Advertisement] = {}
    dropped: dict[Label, str] = {}
    taken: set[bytes] = set()
    for label, reply in replies.items():
        try:
            member = Advertisement.from_bytes(reply)
            _check_keys(rules, member, taken, verify)
        except ProtocolError as error:
            dropped[label] = str(error)
            continue
        found[label] = member
        taken |= {member.identity, member.cipher_key, member.mask_key, member.commitment}
        if len(found) == MAXIMUM_PEOPLE:
            break
    if len(found) < rules.minimum_people:
        raise AbortedRoundError(f"{len(found)} devices sent keys, needed {rules.minimum_people}: call the round later")
    labels = sorted(found, key=lambda label: found[label].identity)
    roster = Roster(tuple(found[label] for label in labels))
    digest = transcript.digest_roster(rules, roster)
    state = KeysGathered(
        rules=rules,
        roster=roster,
        labels=tuple(labels),
        digest=digest,
        graph=draw_graph(digest, [member.identity for member in roster.members]),
        dropped=dropped,
    )
    request = roster.to_bytes()
    return state, dict.fromkeys(labels, request)


def _check_keys(rules: Rules, member: Advertisement, taken: set[bytes], verify: Verify) -> None:
    transcript.check_advertisement(rules, member, verify)
    if taken & {member.identity, member.cipher_key, member.mask_key, member.commitment}:
        raise ProtocolError("an identity or key is in the round already: leave this device out")
    for public in (member.cipher_key, member.mask_key):
        keys.agree(_PROBE, public)


_PROBE = bytes(range(32))
"""Any X25519 private key will do to find points of low order, for which every agreement fails."""


def gather_shares(
    state: KeysGathered[Label], replies: Mapping[Label, bytes], *, verify: Verify = verify_signature
) -> tuple[SharesGathered[Label], dict[Label, bytes]]:
    """Exchange 2: check that each member signed U1, fix U2, hand out the shares.

    Raises:
        AbortedRoundError: fewer than the quorum are left.
    """
    message, degree = transcript.on_roster(state.digest), state.graph.topology.degree

    def check(place: int, reply: Shares) -> None:
        if len(reply.sealed) != degree:
            raise ProtocolError(f"{len(reply.sealed)} shares for {degree} neighbours: leave this device out")
        _check_signature(state, place, reply.signature, message, verify)

    found, dropped = _sort(state, range(len(state.labels)), replies, Shares.from_bytes, check)
    _check_quorum(state, frozenset(found), "sent shares")
    after = SharesGathered(keys=state, shares=found, dropped=dropped)
    signatures = tuple(found[place].signature for place in sorted(found))
    requests = {}
    for place in sorted(found):
        sealed = tuple(_addressed(state.graph, found[other], other, place) for other in _senders(after, place))
        requests[state.labels[place]] = Delivery(
            people=len(state.labels), senders=frozenset(found), signatures=signatures, sealed=sealed
        ).to_bytes()
    return after, requests


def gather_masked(
    state: SharesGathered[Label], replies: Mapping[Label, bytes], *, verify: Verify = verify_signature
) -> tuple[MaskedGathered[Label], dict[Label, bytes]]:
    """Exchange 3: check each masked vector's form and signature on U2, add them up, fix U3, send it to all in it.

    Raises:
        AbortedRoundError: fewer than the quorum are left.
    """
    rules, people, senders = state.keys.rules, len(state.keys.labels), frozenset(state.shares)
    message = transcript.on_senders(state.keys.digest, people, senders)
    total = np.zeros(rules.length, np.uint32)

    def check(place: int, reply: MaskedVector) -> None:
        _check_signature(state.keys, place, reply.signature, message, verify)
        np.add(total, masks.unpack(reply.vector, rules), out=total)

    found, dropped = _sort(state.keys, senders, replies, MaskedVector.from_bytes, check)
    survivors = frozenset(found)
    _check_quorum(state.keys, survivors, "sent masked vectors")
    signatures = tuple(found[place].signature for place in sorted(found))
    request = Survivors(people=people, survivors=survivors, signatures=signatures).to_bytes()
    after = MaskedGathered(shares=state, survivors=survivors, masked=total, dropped=dropped)
    return after, {state.keys.labels[place]: request for place in sorted(survivors)}


def gather_confirmations(
    state: MaskedGathered[Label], replies: Mapping[Label, bytes], *, verify: Verify = verify_signature
) -> tuple[Confirmations[Label], dict[Label, bytes]]:
    """Exchange 4: check each signature on U3, fix U4, ask all in it to unmask.

    Raises:
        AbortedRoundError: fewer than the quorum confirmed.
    """
    start = state.shares.keys
    people, senders = len(start.labels), frozenset(state.shares.shares)
    message = transcript.on_survivors(start.digest, people, senders, state.survivors)

    def check(place: int, reply: Confirmation) -> None:
        _check_signature(start, place, reply.signature, message, verify)

    found, dropped = _sort(start, state.survivors, replies, Confirmation.from_bytes, check)
    confirmers, quorum = frozenset(found), start.graph.topology.quorum
    if len(confirmers) < quorum:
        raise AbortedRoundError(f"{len(confirmers)} devices confirmed, needed {quorum}: call a new round")
    request = UnmaskRequest(
        people=people,
        survivors=state.survivors,
        dropped=senders - state.survivors,
        confirmers=confirmers,
        signatures=tuple(found[place].signature for place in sorted(found)),
    ).to_bytes()
    after = Confirmations(masked=state, confirmers=confirmers, dropped=dropped)
    return after, {start.labels[place]: request for place in sorted(confirmers)}


def open_sum(state: Confirmations[Label], replies: Mapping[Label, bytes]) -> Sum[Label]:
    """Exchange 5: open b of each survivor and s^SK of each dropout, check both, take the masks off the sum.

    A share counts only where it opens its sender's commitment, and a secret only where it opens the one that was
    advertised, so that no reply can lead to a wrong sum.

    Raises:
        AbortedRoundError: too few good shares of somebody's secret; its `blamed` names whose.
    """
    masked, start = state.masked, state.masked.shares.keys
    senders = frozenset(state.masked.shares.shares)
    forms = {place: _forms(start.graph, senders, masked.survivors, place) for place in state.confirmers}

    def check(place: int, reply: Unmasking) -> None:
        if len(reply.shares) != len(forms[place]) or any(
            what not in {0, form} for (what, _), form in zip(reply.shares, forms[place].values(), strict=True)
        ):
            raise ProtocolError("an unmasking reveals other things than were asked for: leave this device out")

    found, dropped = _sort(start, state.confirmers, replies, Unmasking.from_bytes, check)
    secrets = _open_secrets(
        state, {place: dict(zip(forms[place], found[place].shares, strict=True)) for place in found}
    )
    total = masked.masked.copy()
    for member, secret in secrets.items():
        if member in masked.survivors:
            total -= masks.expand(keys.derive(keys.SELF, secret, start.digest), start.rules.length)
            continue
        for other in start.graph.neighbours(member):
            if other in masked.survivors:
                agreed = keys.agree(secret, start.roster.members[other].mask_key)
                # what the dropout would have added is what its neighbour's half of the pair lacks
                total = masks.add_pair(total, agreed, start.digest, start.names[member], start.names[other])
    return Sum(
        total=masks.wrap(total, start.rules),
        people=len(masked.survivors),
        survivors=tuple(start.labels[place] for place in sorted(masked.survivors)),
        dropped=dropped,
    )


def _open_secrets(
    state: Confirmations[Label], revealed: Mapping[int, Mapping[int, tuple[int, bytes]]]
) -> dict[int, bytes]:
    """Reconstruct one secret of each member of U2 and check it against what the member advertised."""
    start, secrets, failed = state.masked.shares.keys, {}, []
    for member in sorted(state.masked.shares.shares):
        secret = shares.join(_good_shares(state, member, revealed), start.graph.topology.threshold)
        if secret is None or not _is_advertised(start, member, secret, survived=member in state.masked.survivors):
            failed.append(start.labels[member])
        else:
            secrets[member] = secret
    if failed:
        raise AbortedRoundError(
            f"the secrets of {len(failed)} devices cannot be opened: call a new round", blamed=tuple(failed)
        )
    return secrets


def _good_shares(
    state: Confirmations[Label], member: int, revealed: Mapping[int, Mapping[int, tuple[int, bytes]]]
) -> dict[int, bytes]:
    """Give the shares of one member's secret that open its commitments, by x."""
    gathered = state.masked.shares
    start, sent = gathered.keys, gathered.shares[member]
    half = slice(0, 32) if member in state.masked.survivors else slice(32, 64)
    label = shares.OF_SEED_SHARE if member in state.masked.survivors else shares.OF_MASK_KEY_SHARE
    good = {}
    commitments = dict(zip(start.graph.neighbours(member), sent.commitments, strict=True))
    for x, holder in enumerate(start.graph.closed_neighbourhood(member), start=1):
        what, value = revealed.get(holder, {}).get(member, (0, b""))
        both = start.names[member] + start.names[holder]
        if what and shares.commit(label, start.digest, both, value) == commitments[holder][half]:
            good[x] = value
    return good


def _is_advertised(state: KeysGathered[Label], member: int, secret: bytes, *, survived: bool) -> bool:
    promised = state.roster.members[member]
    if survived:
        return shares.commit(shares.OF_SEED, state.rules.context, promised.identity, secret) == promised.commitment
    return keys.public_key(secret) == promised.mask_key


def _forms(graph: Graph, senders: frozenset[int], survivors: frozenset[int], place: int) -> dict[int, int]:
    """Give what a member is to reveal of each neighbour in U2."""
    return {
        other: SELF_SEED if other in survivors else MASK_KEY for other in graph.neighbours(place) if other in senders
    }


def _senders(state: SharesGathered[Label], place: int) -> list[int]:
    return [other for other in state.keys.graph.neighbours(place) if other in state.shares]


def _addressed(graph: Graph, sent: Shares, sender: int, receiver: int) -> bytes:
    return sent.sealed[graph.neighbours(sender).index(receiver)]


def _sort(
    state: KeysGathered[Label],
    expected: range | frozenset[int],
    replies: Mapping[Label, bytes],
    read: Callable[[bytes], _Reply],
    check: Callable[[int, _Reply], None],
) -> tuple[dict[int, _Reply], dict[Label, str]]:
    """Read and check the replies of those expected; give the good ones by place, and why the others dropped out."""
    found: dict[int, _Reply] = {}
    dropped: dict[Label, str] = {}
    for place in expected:
        label = state.labels[place]
        if label not in replies:
            dropped[label] = "silent"
            continue
        try:
            reply = read(replies[label])
            check(place, reply)
        except ProtocolError as error:
            dropped[label] = str(error)
        else:
            found[place] = reply
    return found, dropped


def _check_signature(state: KeysGathered[Label], place: int, signature: bytes, message: bytes, verify: Verify) -> None:
    if not verify(state.roster.members[place].identity, signature, message):
        raise ProtocolError("a device signed another set than was sent to it: leave it out")


def _check_quorum(state: KeysGathered[Label], members: frozenset[int], what: str) -> None:
    needed = max(state.graph.topology.quorum, state.rules.minimum_people)
    if len(members) < needed:
        raise AbortedRoundError(f"{len(members)} devices {what}, needed {needed}: call a new round")
    if not state.graph.holds_together(members):
        raise AbortedRoundError("those left would fall apart into groups: call a new round")
