"""How the server opens the sum: from the shares that devices reveal to the secrets, and from those to the masks.

A share counts only where it opens the commitment that its owner made to it, and a secret only where it opens the one
that was advertised in exchange 1. So a device that reveals nonsense changes nothing, and whatever goes wrong, no sum
comes out rather than a wrong one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.errors import AbortedRoundError
from common.secagg import keys, masks, shares
from common.secagg.messages import MASK_KEY, NOTHING, SELF_SEED
from common.secagg.wire import KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from common.secagg.gathered import KeysGathered, Label, MaskedGathered

    Revealed = Mapping[int, Mapping[int, tuple[int, bytes]]]
    """By holder and owner: what kind of share, and its 33 bytes."""


def asked_of(state: MaskedGathered[Label], place: int) -> dict[int, int]:
    """Give what a member is to reveal of each neighbour in U2: a share of b of a survivor, of s^SK of a dropout."""
    return {
        other: SELF_SEED if other in state.survivors else MASK_KEY
        for other in state.shared.start.neighbours[place]
        if other in state.shared.shares
    }


def open_secrets(state: MaskedGathered[Label], revealed: Revealed) -> dict[int, bytes]:
    """Reconstruct one secret of each member of U2, b or s^SK, and check it against what the member advertised.

    Raises:
        AbortedRoundError: a secret cannot be opened. `blamed` names each member whose neighbours did answer in
            sufficient number: it shared nonsense, or so many of them lie.
    """
    start, secrets = state.shared.start, {}
    failed, blamed = 0, []
    for owner in state.shared.shares:
        good = _good_shares(state, owner, revealed)
        secret = shares.join(good, start.graph.topology.threshold)
        if secret is not None and _is_advertised(start, owner, secret, survived=owner in state.survivors):
            secrets[owner] = secret
            continue
        failed += 1
        if len(revealed.keys() & set(start.neighbours[owner])) >= start.graph.topology.threshold:
            blamed.append(start.labels[owner])
    if failed:
        raise AbortedRoundError(
            f"the secrets of {failed} devices cannot be opened by those who answered: call a new round",
            blamed=tuple(blamed),
        )
    return secrets


def take_masks_off(state: MaskedGathered[Label], secrets: Mapping[int, bytes]) -> NDArray[np.uint32]:
    """Subtract G(b) of each survivor, and cancel what each dropout left in its neighbours' vectors.

    Args:
        state: with Σ y over U3.
        secrets: b of each survivor, s^SK of each dropout.

    Returns:
        Σ x over U3 modulo 2^bits, shape (length,).
    """
    start = state.shared.start
    names, total = start.roster.names, state.masked.copy()
    for owner, secret in secrets.items():
        if owner in state.survivors:
            total -= masks.expand(keys.derive(keys.SELF, secret, start.digest, names[owner]), start.rules.length)
            continue
        private = keys.private_key(secret)
        for other in state.survivors.intersection(start.neighbours[owner]):
            # The half of the pair's mask that the dropout would have brought cancels its neighbour's.
            agreed = keys.agree(private, start.roster.members[other].mask_key)
            total = masks.add_pair(total, agreed, start.digest, own=names[owner], other=names[other])
    return masks.wrap(total, start.rules)


def _good_shares(state: MaskedGathered[Label], owner: int, revealed: Revealed) -> dict[int, bytes]:
    """Give the revealed shares of one member's secret that open its commitments, by their x."""
    start = state.shared.start
    commitments = dict(zip(start.neighbours[owner], state.shared.shares[owner].commitments, strict=True))
    survived, names = owner in state.survivors, start.roster.names
    good = {}
    for x, holder in enumerate(start.graph.closed_neighbourhood(owner), start=1):
        kind, value = revealed.get(holder, {}).get(owner, (NOTHING, b""))
        if kind == NOTHING:
            continue
        promised = commitments[holder][:KEY] if survived else commitments[holder][KEY:]
        if shares.commit_to_share(start.digest, names[owner], names[holder], value, of_seed=survived) == promised:
            good[x] = value
    return good


def _is_advertised(start: KeysGathered[Label], owner: int, secret: bytes, *, survived: bool) -> bool:
    member = start.roster.members[owner]
    if survived:
        return shares.commit_to_seed(start.rules.context, member.identity, secret) == member.commitment
    return keys.public_key(secret) == member.mask_key
