"""How the server opens the sum: from the shares that devices reveal to the secrets, and from those to the masks.

A share counts only where it opens the commitment that its owner made to it, and a secret only where it opens the one
that was advertised in exchange 1. So a device that reveals nonsense changes nothing, and whatever goes wrong, no sum
comes out rather than a wrong one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.errors import AbortedRoundError
from common.secagg import keys, masks, shares
from common.secagg.blame import Blame, Opened, judge
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


def open_secrets(state: MaskedGathered[Label], revealed: Revealed) -> tuple[dict[int, bytes], Blame[Label]]:
    """Reconstruct one secret of each member of U2, b or s^SK, and check it against what the member advertised.

    Returns:
        The secrets by place, and who lied without doing harm this time.

    Raises:
        AbortedRoundError: a secret cannot be opened; `blamed` and `doubted` say by whose fault, as far as can be known.
    """
    start, secrets, opened = state.shared.start, dict[int, bytes](), dict[int, Opened]()
    for owner in state.shared.shares:
        good, contradicted = _sort_shares(state, owner, revealed)
        secret = shares.join(good, start.graph.topology.threshold)
        if secret is not None and _is_advertised(start, owner, secret, survived=owner in state.survivors):
            secrets[owner] = secret
        opened[owner] = Opened(good=len(good), contradicted=contradicted, secret=owner in secrets)
    found = judge(start.graph.topology, opened)
    blame = Blame(
        proven={start.labels[place]: why for place, why in found.proven.items()},
        doubted={start.labels[place]: why for place, why in found.doubted.items()},
    )
    if failed := len(opened) - len(secrets):
        raise AbortedRoundError(
            f"the secrets of {failed} devices cannot be opened by those who answered: call a new round",
            blamed=blame.proven,
            doubted=blame.doubted,
        )
    return secrets, blame


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


def _sort_shares(
    state: MaskedGathered[Label], owner: int, revealed: Revealed
) -> tuple[dict[int, bytes], frozenset[int]]:
    """Give the revealed shares of one member's secret that open its commitments, by their x, and who has others."""
    start = state.shared.start
    commitments = dict(zip(start.neighbours[owner], state.shared.shares[owner].commitments, strict=True))
    survived, names = owner in state.survivors, start.roster.names
    good, contradicted = dict[int, bytes](), set[int]()
    for x, holder in enumerate(start.graph.closed_neighbourhood(owner), start=1):
        if owner not in revealed.get(holder, {}):
            continue
        kind, value = revealed[holder][owner]
        promised = commitments[holder][:KEY] if survived else commitments[holder][KEY:]
        found = shares.commit_to_share(start.digest, names[owner], names[holder], value, of_seed=survived)
        if kind != NOTHING and found == promised:
            good[x] = value
        else:
            contradicted.add(holder)
    return good, frozenset(contradicted)


def _is_advertised(start: KeysGathered[Label], owner: int, secret: bytes, *, survived: bool) -> bool:
    member = start.roster.members[owner]
    if survived:
        return shares.commit_to_seed(start.rules.context, member.identity, secret) == member.commitment
    return keys.public_key(secret) == member.mask_key
