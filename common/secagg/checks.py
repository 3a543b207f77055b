"""What a device demands before it goes on: each lie of a server, and where it is refused.

    keys of somebody who is not enrolled, or not signed, or signed for another round or other terms   check_roster
    own keys missing or altered; one key or identity twice; too few members                           check_roster
    a list U1 that differs between members                                                            check_delivery
    a set U2 that differs between members; somebody in U3 who is not in U2                            check_survivors
    a set U3 that differs between members; somebody both alive and dropped; another set than signed   check_unmasking
    too few left; this device left out; the graph cut in pieces by "dropouts"                         check_members
    a second request of the same kind, or one out of turn                                             check_turn

The graph cannot be lied about: every device derives it itself from U1. All of these raise `ProtocolError`, and say
nothing about any secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.errors import ProtocolError
from common.secagg import transcript

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.secagg.graph import Graph
    from common.secagg.identity import Verify
    from common.secagg.messages import Advertisement, Delivery, Roster, Survivors, UnmaskRequest
    from common.secagg.rules import Rules
    from common.secagg.states import Confirmed, Masked


def check_turn(state: object, form: type) -> None:
    """Refuse a request out of turn: each exchange is answered once, from the one state that it follows."""
    if not isinstance(state, form):
        raise ProtocolError(f"a request after {type(state).__name__} that belongs after {form.__name__}: drop it")


def check_roster(rules: Rules, own: Advertisement, roster: Roster, verify: Verify) -> None:
    """Refuse a list U1 that this device could not safely be part of.

    `Roster` itself refuses one that is out of order or names an identity twice.

    Args:
        rules: the terms that this device accepted.
        own: what it advertised.
        roster: U1.
        verify: checks signatures.
    """
    members = roster.members
    if len(members) < rules.minimum_people:
        raise ProtocolError(f"a sum of {len(members)} people, announced {rules.minimum_people} or more: take no part")
    if own not in members:
        raise ProtocolError("this device's keys are missing from the list or altered: take no part in this round")
    if len({item for member in members for item in member.unique}) < sum(len(member.unique) for member in members):
        raise ProtocolError("a key stands on the list twice: take no part in this round")
    for member in members:
        transcript.check_advertisement(rules, member, verify)


def check_members(rules: Rules, graph: Graph, own: int, people: int, members: frozenset[int]) -> None:
    """Refuse a set U2 or U3 in which this device would not be hidden."""
    needed = max(graph.topology.quorum, rules.minimum_people)
    if people != graph.topology.people:
        raise ProtocolError(f"a list of {people} members, this device knows {graph.topology.people}: drop the message")
    if len(members) < needed:
        raise ProtocolError(f"{len(members)} members are left, needed {needed}: take no further part in this round")
    if own not in members:
        raise ProtocolError("this device is said to have dropped out: take no further part in this round")
    if not graph.holds_together(members):
        raise ProtocolError("those left would fall apart into groups: take no further part in this round")


def check_delivery(
    rules: Rules, graph: Graph, own: int, names: Sequence[bytes], digest: bytes, delivery: Delivery, verify: Verify
) -> None:
    """Refuse a set U2 of whom somebody has not signed this device's list U1, or one without its shares.

    Args:
        rules: the terms that this device accepted.
        graph: as derived from U1.
        own: this device's place on U1.
        names: identities of U1.
        digest: of U1.
        delivery: U2, the signatures and shares.
        verify: checks signatures.
    """
    check_members(rules, graph, own, delivery.people, delivery.senders)
    expected = len(delivery.senders.intersection(graph.neighbours(own)))
    if len(delivery.sealed) != expected:
        raise ProtocolError(f"shares of {len(delivery.sealed)} neighbours instead of {expected}: take no further part")
    transcript.check_signatures(names, delivery.senders, delivery.signatures, transcript.on_roster(digest), verify)


def check_survivors(state: Masked, asked: Survivors, verify: Verify) -> None:
    """Refuse a set U3 with somebody who is not in this device's U2, or has not signed it."""
    check_members(state.rules, state.graph, state.own, asked.people, asked.survivors)
    if not asked.survivors <= state.senders:
        raise ProtocolError("a survivor is not among those who sent shares: take no further part in this round")
    message = transcript.on_senders(state.transcript, len(state.identities), state.senders)
    transcript.check_signatures(state.identities, asked.survivors, asked.signatures, message, verify)


def check_unmasking(state: Confirmed, asked: UnmaskRequest, verify: Verify) -> None:
    """Refuse to unmask another set than the one this device signed, or one that too few others signed.

    The quorum makes it one set for all: two sets with q > 2n/3 signatures each would have more than n/3 members in
    common, one of them honest, and an honest device signs one set only.
    """
    masked, quorum = state.masked, state.masked.graph.topology.quorum
    if asked.survivors & asked.dropped:
        raise ProtocolError("a member is said to be both alive and dropped: take no further part in this round")
    if asked.people != len(masked.identities) or asked.survivors != state.survivors:
        raise ProtocolError("the survivors are not those this device signed: take no further part in this round")
    if asked.dropped != masked.senders - state.survivors:
        raise ProtocolError("the dropped are not those who sent shares and no vector: take no further part")
    if not asked.confirmers <= state.survivors:
        raise ProtocolError("a confirmation is by somebody who is not in the sum: take no further part in this round")
    if len(asked.confirmers) < quorum:
        raise ProtocolError(f"{len(asked.confirmers)} confirmations, needed {quorum}: take no further part")
    transcript.check_signatures(masked.identities, asked.confirmers, asked.signatures, state.confirmation, verify)
