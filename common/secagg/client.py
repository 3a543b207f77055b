"""A device's side of a secure sum: five steps, each from a state and a request to the next state and a reply.

SecAgg+ (Bell et al., CCS 2020, ePrint 2020/704, section 3) with the consistency check of Bonawitz et al. (CCS 2017,
ePrint 2017/281, Figure 4, round 3). Letters as there: U1 ⊇ U2 ⊇ U3 ⊇ U4 are the members that sent keys, shares,
masked vectors and confirmations; N(i) are the neighbours of i; b and s^SK are the two secrets of which neighbours
hold shares, the seed of the own mask and the private key of the pairwise ones; G expands seeds to masks.
docs/protocol.md says where this differs from the papers and why. What a device demands of a request stands in
`common.secagg.checks`.

Every step refuses with `ProtocolError` and leaves the state as it was. A reply may leave the device only after the
new state is stored durably; then no exchange is ever answered twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from common.errors import ConfigError
from common.secagg import keys, masks, shares, transcript
from common.secagg.checks import check_delivery, check_roster, check_survivors, check_turn, check_unmasking
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

    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
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
    """Give what a device says of itself; the same whenever it is asked, since Ed25519 signs without randomness."""
    identity, context = state.identity, state.rules.context
    unsigned = Advertisement(
        identity=identity.public,
        certificate=identity.certificate,
        cipher_key=keys.public_key(state.cipher_secret),
        mask_key=keys.public_key(state.mask_secret),
        commitment=shares.commit_to_seed(context, identity.public, state.self_seed),
        signature=b"",
    )
    return replace(unsigned, signature=identity.sign(transcript.on_keys(state.rules, unsigned)))


def share(
    state: Advertised, request: bytes, randomness: Callable[[int], bytes], *, verify: Verify = verify_signature
) -> tuple[Shared, bytes]:
    """Exchange 2, `train.shares`: check U1, share b and s^SK among the neighbours, sign U1.

    Args:
        state: after `advertise`.
        request: `Roster`.
        randomness: of the device; Shamir's coefficients come from the operating system whatever it is.
        verify: checks signatures.

    Raises:
        ProtocolError: see `check_roster`; or a neighbour's key is a point of low order.
    """
    check_turn(state, Advertised)
    roster = Roster.from_bytes(request)
    check_roster(state.rules, advertisement(state), roster, verify)
    digest, names = transcript.digest_roster(state.rules, roster), roster.names
    graph, own = draw_graph(digest, names), names.index(state.identity.public)
    seeds, mask_keys = _split(graph, own, state.self_seed), _split(graph, own, state.mask_secret)
    private, sealed, commitments = keys.private_key(state.cipher_secret), [], []
    for other in graph.neighbours(own):
        pair = (names[own], names[other])
        key = _share_key(private, roster.members[other].cipher_key, digest, sender=names[own], receiver=names[other])
        sealed.append(shares.seal(key, randomness(shares.NONCE), seeds[other] + mask_keys[other], digest))
        commitments.append(
            shares.commit_to_share(digest, *pair, seeds[other], of_seed=True)
            + shares.commit_to_share(digest, *pair, mask_keys[other], of_seed=False)
        )
    signature = state.identity.sign(transcript.on_roster(digest))
    reply = Shares(signature=signature, sealed=tuple(sealed), commitments=tuple(commitments))
    return Shared(advertised=state, roster=roster), reply.to_bytes()


def mask(
    state: Shared, request: bytes, integers: NDArray[np.uint32], *, verify: Verify = verify_signature
) -> tuple[Masked, bytes]:
    """Exchange 3, `train.masked`: check U2, keep the neighbours' shares, mask the vector, sign U2.

    y = x + G(b) ± Σ G(s_ij) modulo 2^bits over the neighbours j in U2: plus where this device's identity is the
    smaller of the two. Shares that do not decrypt are noted and harm nobody but their sender.

    Args:
        state: after `share`.
        request: `Delivery`.
        integers: x, shape (length,), the encoded and noised vector modulo 2^bits.
        verify: checks signatures.

    Raises:
        ProtocolError: see `check_delivery`; or a neighbour's key is a point of low order.
        ConfigError: `integers` has another shape or type.
    """
    check_turn(state, Shared)
    before, delivery = state.advertised, Delivery.from_bytes(request)
    rules, identity, members = before.rules, before.identity, state.roster.members
    if integers.shape != (rules.length,) or integers.dtype != np.uint32:
        raise ConfigError(f"a vector of {integers.dtype}{integers.shape}, expected uint32({rules.length},): encode it")
    digest, names = transcript.digest_roster(rules, state.roster), state.roster.names
    graph, own = draw_graph(digest, names), names.index(identity.public)
    check_delivery(rules, graph, own, names, digest, delivery, verify)
    neighbours = [other for other in graph.neighbours(own) if other in delivery.senders]
    opening, masking, held = keys.private_key(before.cipher_secret), keys.private_key(before.mask_secret), []
    masked = integers + masks.expand(keys.derive(keys.SELF, before.self_seed, digest, names[own]), rules.length)
    for other, sealed in zip(neighbours, delivery.sealed, strict=True):
        key = _share_key(opening, members[other].cipher_key, digest, sender=names[other], receiver=names[own])
        held.append(shares.unseal(key, sealed, digest))
        agreed = keys.agree(masking, members[other].mask_key)
        masked = masks.add_pair(masked, agreed, digest, own=names[own], other=names[other])
    after = Masked(
        rules=rules,
        identity=identity,
        transcript=digest,
        identities=names,
        senders=delivery.senders,
        held=tuple(held),
    )
    signature = identity.sign(transcript.on_senders(digest, len(names), delivery.senders))
    return after, MaskedVector(signature=signature, vector=masks.pack(masked, rules)).to_bytes()


def confirm(state: Masked, request: bytes, *, verify: Verify = verify_signature) -> tuple[Confirmed, bytes]:
    """Exchange 4, `train.confirm`: check U3 and sign it, once.

    Args:
        state: after `mask`.
        request: `Survivors`.
        verify: checks signatures.

    Raises:
        ProtocolError: see `check_survivors`.
    """
    check_turn(state, Masked)
    survivors = Survivors.from_bytes(request)
    check_survivors(state, survivors, verify)
    after = Confirmed(masked=state, survivors=survivors.survivors)
    return after, Confirmation(state.identity.sign(after.confirmation)).to_bytes()


def unmask(state: Confirmed, request: bytes, *, verify: Verify = verify_signature) -> tuple[Done, bytes]:
    """Exchange 5, `train.unmask`: reveal one share of each neighbour in U2, of b or of s^SK, never of both.

    Args:
        state: after `confirm`.
        request: `UnmaskRequest`.
        verify: checks signatures.

    Raises:
        ProtocolError: see `check_unmasking`.
    """
    check_turn(state, Confirmed)
    check_unmasking(state, UnmaskRequest.from_bytes(request), verify)
    masked = state.masked
    neighbours = [other for other in masked.graph.neighbours(masked.own) if other in masked.senders]
    revealed = tuple(
        _reveal(held, survived=other in state.survivors) for other, held in zip(neighbours, masked.held, strict=True)
    )
    return Done(masked.transcript), Unmasking(revealed).to_bytes()


def _split(graph: Graph, own: int, secret: bytes) -> dict[int, bytes]:
    """Share a secret in the closed neighbourhood; the own share is never used."""
    closed = graph.closed_neighbourhood(own)
    return dict(zip(closed, shares.split(secret, len(closed), graph.topology.threshold), strict=True))


def _share_key(private: X25519PrivateKey, public: bytes, digest: bytes, *, sender: bytes, receiver: bytes) -> bytes:
    """Give the key under which one member's shares travel to another; both ends derive the same."""
    return keys.derive(keys.SHARE, keys.agree(private, public), digest, sender, receiver)


def _reveal(held: bytes, *, survived: bool) -> tuple[int, bytes]:
    if not held:
        return NOTHING, bytes(shares.SHARE)
    return (SELF_SEED, held[: shares.SHARE]) if survived else (MASK_KEY, held[shares.SHARE :])
