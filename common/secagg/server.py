"""The server's side of a secure sum: five steps, each from the replies of one exchange to the next requests.

The counterpart of `common.secagg.client`, with the letters used there. A device whose reply is missing, malformed or
wrong has dropped out: its label and the reason stand in `dropped`, and the others go on. What makes the whole sum
impossible raises `AbortedRoundError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from common.errors import AbortedRoundError, ProtocolError
from common.secagg import keys, masks, transcript
from common.secagg.gathered import (
    ConfirmationsGathered,
    KeysGathered,
    Label,
    MaskedGathered,
    SharesGathered,
    Sum,
    check_quorum,
    check_signature,
    sort,
)
from common.secagg.graph import draw_graph
from common.secagg.identity import verify as verify_signature
from common.secagg.messages import (
    NOTHING,
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
from common.secagg.opening import asked_of, open_secrets, take_masks_off
from common.secagg.wire import MAXIMUM_PEOPLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.secagg.identity import Verify
    from common.secagg.rules import Rules

_PROBE: Final = bytes(range(32))
"""Any X25519 private key will do to find points of low order: with them every agreement fails."""


def gather_keys(
    rules: Rules, replies: Mapping[Label, bytes], *, verify: Verify = verify_signature
) -> tuple[KeysGathered[Label], dict[Label, bytes]]:
    """Exchange 1: check each advertisement, make the list U1, send it to everybody on it.

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
        else:
            found[label] = member
            taken.update(member.unique)
    if len(found) < rules.minimum_people:
        raise AbortedRoundError(f"{len(found)} devices sent keys, needed {rules.minimum_people}: call the round later")
    labels = tuple(sorted(found, key=lambda label: found[label].identity))
    roster = Roster(tuple(found[label] for label in labels))
    digest = transcript.digest_roster(rules, roster)
    graph = draw_graph(digest, roster.names)
    state = KeysGathered(
        rules=rules,
        roster=roster,
        labels=labels,
        digest=digest,
        graph=graph,
        neighbours=tuple(map(graph.neighbours, range(len(labels)))),
        dropped=dropped,
    )
    return state, dict.fromkeys(labels, roster.to_bytes())


def gather_shares(
    state: KeysGathered[Label], replies: Mapping[Label, bytes], *, verify: Verify = verify_signature
) -> tuple[SharesGathered[Label], dict[Label, bytes]]:
    """Exchange 2: check that each member signed U1, fix U2, hand the shares on.

    Raises:
        AbortedRoundError: fewer than the quorum are left.
    """
    message, degree = transcript.on_roster(state.digest), state.graph.topology.degree

    def check(place: int, reply: Shares) -> None:
        if len(reply.sealed) != degree:
            raise ProtocolError(f"{len(reply.sealed)} shares for {degree} neighbours: leave this device out")
        check_signature(state, place, reply.signature, message, verify)

    found, dropped = sort(state, range(len(state.labels)), replies, Shares.from_bytes, check)
    check_quorum(state, frozenset(found), "sent shares")
    after = SharesGathered(start=state, shares=found, dropped=dropped)
    inbox: dict[int, list[bytes]] = {place: [] for place in found}
    for sender, sent in found.items():
        for receiver, sealed in zip(state.neighbours[sender], sent.sealed, strict=True):
            if receiver in inbox:
                inbox[receiver].append(sealed)
    signatures = tuple(sent.signature for sent in found.values())
    people, senders = len(state.labels), after.senders
    return after, {
        state.labels[place]: Delivery(
            people=people, senders=senders, signatures=signatures, sealed=tuple(sealed)
        ).to_bytes()
        for place, sealed in inbox.items()
    }


def gather_masked(
    state: SharesGathered[Label], replies: Mapping[Label, bytes], *, verify: Verify = verify_signature
) -> tuple[MaskedGathered[Label], dict[Label, bytes]]:
    """Exchange 3: check each masked vector's form and signature on U2, add them up, fix U3, send it to all in it.

    Raises:
        AbortedRoundError: fewer than the quorum are left.
    """
    start, people = state.start, len(state.start.labels)
    message = transcript.on_senders(start.digest, people, state.senders)
    total = np.zeros(start.rules.length, np.uint32)

    def check(place: int, reply: MaskedVector) -> None:
        check_signature(start, place, reply.signature, message, verify)
        np.add(total, masks.unpack(reply.vector, start.rules), out=total)

    found, dropped = sort(start, state.senders, replies, MaskedVector.from_bytes, check)
    survivors = frozenset(found)
    check_quorum(start, survivors, "sent masked vectors")
    signatures = tuple(sent.signature for sent in found.values())
    request = Survivors(people=people, survivors=survivors, signatures=signatures).to_bytes()
    after = MaskedGathered(shared=state, survivors=survivors, masked=total, dropped=dropped)
    return after, {start.labels[place]: request for place in found}


def gather_confirmations(
    state: MaskedGathered[Label], replies: Mapping[Label, bytes], *, verify: Verify = verify_signature
) -> tuple[ConfirmationsGathered[Label], dict[Label, bytes]]:
    """Exchange 4: check each signature on U3, fix U4, ask all in it to unmask.

    Raises:
        AbortedRoundError: fewer than the quorum confirmed.
    """
    start, people, senders = state.shared.start, len(state.shared.start.labels), state.shared.senders
    message = transcript.on_survivors(start.digest, people, senders, state.survivors)

    def check(place: int, reply: Confirmation) -> None:
        check_signature(start, place, reply.signature, message, verify)

    found, dropped = sort(start, state.survivors, replies, Confirmation.from_bytes, check)
    quorum = start.graph.topology.quorum
    if len(found) < quorum:
        raise AbortedRoundError(f"{len(found)} devices confirmed, needed {quorum}: call a new round")
    confirmers = frozenset(found)
    request = UnmaskRequest(
        people=people,
        survivors=state.survivors,
        dropped=senders - state.survivors,
        confirmers=confirmers,
        signatures=tuple(sent.signature for sent in found.values()),
    ).to_bytes()
    after = ConfirmationsGathered(masked=state, confirmers=confirmers, dropped=dropped)
    return after, {start.labels[place]: request for place in found}


def open_sum(state: ConfirmationsGathered[Label], replies: Mapping[Label, bytes]) -> Sum[Label]:
    """Exchange 5: open b of each survivor and s^SK of each dropout, check both, take the masks off the sum.

    Raises:
        AbortedRoundError: too few good shares of somebody's secret; `blamed` names whose fault it must be, `doubted`
            whose it may be.
    """
    masked, start = state.masked, state.masked.shared.start
    asked = {place: asked_of(masked, place) for place in state.confirmers}

    def check(place: int, reply: Unmasking) -> None:
        kinds = tuple(asked[place].values())
        if len(reply.shares) != len(kinds) or any(
            found not in {NOTHING, kind} for (found, _), kind in zip(reply.shares, kinds, strict=True)
        ):
            raise ProtocolError("an unmasking reveals other things than were asked for: leave this device out")

    found, dropped = sort(start, state.confirmers, replies, Unmasking.from_bytes, check)
    revealed = {place: dict(zip(asked[place], reply.shares, strict=True)) for place, reply in found.items()}
    secrets, blame = open_secrets(masked, revealed)
    total = take_masks_off(masked, secrets)
    survivors = tuple(start.labels[place] for place in sorted(masked.survivors))
    return Sum(total=total, people=len(survivors), survivors=survivors, dropped=dropped, blamed=blame.proven)


def _check_keys(rules: Rules, member: Advertisement, taken: set[bytes], verify: Verify) -> None:
    """Refuse keys with which other devices would refuse the whole list."""
    if len(taken) >= MAXIMUM_PEOPLE * len(member.unique):
        raise ProtocolError(f"the round has {MAXIMUM_PEOPLE} members already: leave this device out")
    transcript.check_advertisement(rules, member, verify)
    if not taken.isdisjoint(member.unique) or len(set(member.unique)) < len(member.unique):
        raise ProtocolError("an identity or key is in the round already: leave this device out")
    probe = keys.private_key(_PROBE)
    for public in (member.cipher_key, member.mask_key):
        keys.agree(probe, public)
