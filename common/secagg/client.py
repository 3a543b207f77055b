"""A device's side of a secure sum: five steps, each from a state and a request to the next state and a reply.

SecAgg+ (Bell et al., CCS 2020, ePrint 2020/704, Algorithm 2) with the consistency check of Bonawitz et al. (CCS
2017, ePrint 2017/281, Figure 4, round 3). Letters as there: U1 ⊇ U2 ⊇ U3 ⊇ U4 are the members that sent keys, shares,
masked vectors and confirmations; N(i) are the neighbours of i; b and s^SK the two secrets of which neighbours hold
shares. docs/protocol.md says where this differs from the papers and why.

Every step refuses with `ProtocolError` and leaves the state as it was. A reply may leave the device only after the
new state is stored durably; then no exchange is ever answered twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from common.errors import ConfigError, ProtocolError
from common.secagg import keys, masks, shares, transcript
from common.secagg.graph import draw_graph
from common.secagg.identity import verify as verify_signature
from common.secagg.messages import (
    MASK_KEY,
    NOTHING,
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
from common.secagg.states import Advertised, Confirmed, Done, Masked, Shared
from common.secagg.wire import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from common.secagg.graph import Graph
    from common.secagg.identity import Identity, Verify
    from common.secagg.rules import Rules


def advertise(rules: Rules, identity: Identity, randomness: Callable[[int], bytes]) -> tuple[Advertised, bytes]:
    """Exchange 1, `train.keys`: make keys for this round alone and sign them.

    Args:
        rules: the round's terms, as announced and accepted.
        identity: the device's enrolment.
        randomness: gives that many bytes of full entropy; `os.urandom`.
    """
    state = Advertised(
        rules=rules,
        identity=identity,
        cipher_secret=randomness(KEY),
        mask_secret=randomness(KEY),
        self_seed=randomness(KEY),
    )
    return state, advertisement(state).to_bytes()


def advertisement(state: Advertised) -> Advertisement:
    """Give what a device says of itself; the same whenever it is asked, since Ed25519 is deterministic."""
    identity, context = state.identity, state.rules.context
    unsigned = Advertisement(
        identity=identity.public,
        certificate=identity.certificate,
        cipher_key=keys.public_key(state.cipher_secret),
        mask_key=keys.public_key(state.mask_secret),
        commitment=shares.commit(shares.OF_SEED, context, identity.public, state.self_seed),
        signature=b"",
    )
    return replace(unsigned, signature=identity.sign(transcript.on_keys(state.rules, unsigned)))


def share(
    state: Advertised, request: bytes, randomness: Callable[[int], bytes], *, verify: Verify = verify_signature
) -> tuple[Shared, bytes]:
    """Exchange 2, `train.shares`: check U1, share b and s^SK among the neighbours, sign U1.

    Raises:
        ProtocolError: too few members, this device missing or altered, keys that no enrolled identity signed for
            this round, the same key twice, or a neighbour's key of low order.
    """
    _expect(state, Advertised)
    roster = Roster.from_bytes(request)
    own = _check_roster(state, roster, verify)
    digest, names, graph = _derive(state.rules, roster)
    seeds, mask_keys = _split(graph, own, state.self_seed), _split(graph, own, state.mask_secret)
    sealed, commitments = [], []
    for other in graph.neighbours(own):
        key = _share_key(state, roster.members[other], digest, sender=names[own], receiver=names[other])
        sealed.append(shares.seal(key, randomness(shares.NONCE), seeds[other] + mask_keys[other], digest))
        both = names[own] + names[other]
        commitments.append(
            shares.commit(shares.OF_SEED_SHARE, digest, both, seeds[other])
            + shares.commit(shares.OF_MASK_KEY_SHARE, digest, both, mask_keys[other])
        )
    signature = state.identity.sign(transcript.on_roster(digest))
    reply = Shares(signature=signature, sealed=tuple(sealed), commitments=tuple(commitments))
    return Shared(advertised=state, roster=roster), reply.to_bytes()


def mask(
    state: Shared, request: bytes, integers: NDArray[np.uint32], *, verify: Verify = verify_signature
) -> tuple[Masked, bytes]:
    """Exchange 3, `train.masked`: check U2, keep the neighbours' shares, mask the vector, sign U2.

    The reply holds y = x + G(b) ± Σ G(s_ij) modulo 2^bits over the neighbours j in U2, plus where this device's
    identity is the smaller one.

    Args:
        state: after `share`.
        request: `Delivery`.
        integers: x, shape (length,), the encoded and noised vector modulo 2^bits.
        verify: checks signatures.

    Raises:
        ProtocolError: too few members, one of them did not sign this device's list U1, or shares are missing.
        ConfigError: `integers` has another shape or type.
    """
    _expect(state, Shared)
    rules, delivery = state.advertised.rules, Delivery.from_bytes(request)
    if integers.shape != (rules.length,) or integers.dtype != np.uint32:
        raise ConfigError(f"a vector of {integers.dtype}{integers.shape}, expected uint32({rules.length},): encode it")
    digest, names, graph = _derive(rules, state.roster)
    own = names.index(state.advertised.identity.public)
    _check_set(rules, graph, own, delivery.people, delivery.senders)
    transcript.check_signatures(names, delivery.senders, delivery.signatures, transcript.on_roster(digest), verify)
    held = _unseal(state, delivery, digest, graph.neighbours(own), own)
    masked = integers + masks.expand(keys.derive(keys.SELF, state.advertised.self_seed, digest), rules.length)
    for other in graph.neighbours(own):
        if other in delivery.senders:
            secret = keys.agree(state.advertised.mask_secret, state.roster.members[other].mask_key)
            masked = masks.add_pair(masked, secret, digest, names[own], names[other])
    signature = state.advertised.identity.sign(transcript.on_senders(digest, len(names), delivery.senders))
    after = Masked(
        rules=rules,
        identity=state.advertised.identity,
        transcript=digest,
        identities=names,
        senders=delivery.senders,
        held=held,
    )
    return after, MaskedVector(signature=signature, vector=masks.pack(masked, rules)).to_bytes()


def confirm(state: Masked, request: bytes, *, verify: Verify = verify_signature) -> tuple[Confirmed, bytes]:
    """Exchange 4, `train.confirm`: check U3 and sign it, once.

    Raises:
        ProtocolError: too few survivors, somebody in U3 who is not in U2 or did not sign it, or this device missing.
    """
    _expect(state, Masked)
    survivors = Survivors.from_bytes(request)
    if not survivors.survivors <= state.senders:
        raise ProtocolError("a survivor was not among those who shared keys: take no further part in this round")
    _check_set(state.rules, state.graph, state.own, survivors.people, survivors.survivors)
    message = transcript.on_senders(state.transcript, len(state.identities), state.senders)
    transcript.check_signatures(state.identities, survivors.survivors, survivors.signatures, message, verify)
    after = Confirmed(masked=state, survivors=survivors.survivors)
    return after, Confirmation(state.identity.sign(_on_survivors(after))).to_bytes()


def unmask(state: Confirmed, request: bytes, *, verify: Verify = verify_signature) -> tuple[Done, bytes]:
    """Exchange 5, `train.unmask`: reveal one share of each neighbour in U2, of b or of s^SK, never of both.

    Raises:
        ProtocolError: another U3 than this device signed, somebody both alive and dropped, or fewer confirmations
            than the quorum.
    """
    _expect(state, Confirmed)
    masked, asked = state.masked, UnmaskRequest.from_bytes(request)
    if asked.survivors & asked.dropped:
        raise ProtocolError("a member is said to be both alive and dropped: take no further part in this round")
    if asked.people != len(masked.identities) or asked.survivors != state.survivors:
        raise ProtocolError("the survivors are not those this device signed: take no further part in this round")
    if asked.dropped != masked.senders - state.survivors or not asked.confirmers <= state.survivors:
        raise ProtocolError("the dropped or the confirming are not of this sum: take no further part in this round")
    graph = masked.graph
    if len(asked.confirmers) < graph.topology.quorum:
        raise ProtocolError(
            f"{len(asked.confirmers)} confirmations, needed {graph.topology.quorum}: take no further part in this round"
        )
    transcript.check_signatures(masked.identities, asked.confirmers, asked.signatures, _on_survivors(state), verify)
    neighbours = [other for other in graph.neighbours(masked.own) if other in masked.senders]
    revealed = (
        _reveal(held, survived=other in state.survivors) for other, held in zip(neighbours, masked.held, strict=True)
    )
    return Done(masked.transcript), Unmasking(tuple(revealed)).to_bytes()


def _reveal(held: bytes, *, survived: bool) -> tuple[int, bytes]:
    if not held:
        return NOTHING, bytes(shares.SHARE)
    return (SELF_SEED, held[: shares.SHARE]) if survived else (MASK_KEY, held[shares.SHARE :])


def _expect(state: object, form: type) -> None:
    """Refuse a request out of turn: each exchange is answered once, from the one state that it follows."""
    if not isinstance(state, form):
        raise ProtocolError(f"a request after {type(state).__name__} that belongs after {form.__name__}: drop it")


def _derive(rules: Rules, roster: Roster) -> tuple[bytes, tuple[bytes, ...], Graph]:
    """Give what follows from U1: its digest, the members' names and the graph."""
    digest = transcript.digest_roster(rules, roster)
    names = tuple(member.identity for member in roster.members)
    return digest, names, draw_graph(digest, names)


def _check_roster(state: Advertised, roster: Roster, verify: Verify) -> int:
    """Refuse a list U1 that this device could not safely be part of; give its own place on it."""
    rules, members = state.rules, roster.members
    if len(members) < rules.minimum_people:
        raise ProtocolError(f"a sum of {len(members)} people, announced {rules.minimum_people} or more: take no part")
    own = advertisement(state)
    if own not in members:
        raise ProtocolError("this device's keys are missing from the list or altered: take no part in this round")
    for what in ("cipher_key", "mask_key", "commitment"):
        if len({getattr(member, what) for member in members}) < len(members):
            raise ProtocolError(f"two members have the same {what}: take no part in this round")
    for member in members:
        transcript.check_advertisement(rules, member, verify)
    return members.index(own)


def _check_set(rules: Rules, graph: Graph, own: int, people: int, members: frozenset[int]) -> None:
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


def _split(graph: Graph, own: int, secret: bytes) -> dict[int, bytes]:
    """Share a secret in the closed neighbourhood; the own share is never used."""
    closed = graph.closed_neighbourhood(own)
    return dict(zip(closed, shares.split(secret, len(closed), graph.topology.threshold), strict=True))


def _share_key(state: Advertised, other: Advertisement, digest: bytes, *, sender: bytes, receiver: bytes) -> bytes:
    return keys.derive(keys.SHARE, keys.agree(state.cipher_secret, other.cipher_key), digest, sender, receiver)


def _unseal(
    state: Shared, delivery: Delivery, digest: bytes, neighbours: tuple[int, ...], own: int
) -> tuple[bytes, ...]:
    """Decrypt what the neighbours entrusted; who sent garbage entrusted nothing, and that harms nobody else."""
    members = state.roster.members
    senders = [other for other in neighbours if other in delivery.senders]
    if len(delivery.sealed) != len(senders):
        raise ProtocolError(f"{len(delivery.sealed)} shares for {len(senders)} neighbours: take no further part")
    held = []
    for other, sealed in zip(senders, delivery.sealed, strict=True):
        names = {"sender": members[other].identity, "receiver": members[own].identity}
        held.append(shares.unseal(_share_key(state.advertised, members[other], digest, **names), sealed, digest))
    return tuple(held)


def _on_survivors(state: Confirmed) -> bytes:
    masked = state.masked
    return transcript.on_survivors(masked.transcript, len(masked.identities), masked.senders, state.survivors)
