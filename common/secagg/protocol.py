"""The whole secure sum as one function: every party in one process, in the order of the papers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.secagg import client, server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from common.secagg.gathered import Sum
    from common.secagg.identity import Identity
    from common.secagg.rules import Rules


def secure_sum(
    vectors: Mapping[Identity, NDArray[np.uint32]],
    rules: Rules,
    randomness: Callable[[int], bytes],
    *,
    drop_keys: frozenset[Identity] = frozenset(),
    drop_shares: frozenset[Identity] = frozenset(),
    drop_masked: frozenset[Identity] = frozenset(),
    drop_confirm: frozenset[Identity] = frozenset(),
    drop_unmask: frozenset[Identity] = frozenset(),
) -> Sum[Identity]:
    """Sum vectors of which nobody learns more than the sum.

    SecAgg+ (Bell et al., CCS 2020, ePrint 2020/704, section 3) with the consistency check of Bonawitz et al. (CCS
    2017, ePrint 2017/281, Figure 4). Whoever is in `drop_…` does not answer that exchange, nor any later one.

    Args:
        vectors: x of each device, shape (length,), modulo 2^bits.
        rules: the round's terms.
        randomness: gives that many bytes of full entropy; `os.urandom`.
        drop_keys: who is silent in exchange 1; U1 are the others.
        drop_shares: who is silent in exchange 2; U2 are the others of U1.
        drop_masked: who is silent in exchange 3; U3 are the others of U2, whose vectors are summed.
        drop_confirm: who is silent in exchange 4; U4 are the others of U3.
        drop_unmask: who is silent in exchange 5.

    Raises:
        AbortedRoundError: too few are left at some exchange.
    """
    # 1. Keys: each device makes two key pairs and a seed for this round, and signs them.
    advertised = {i: client.advertise(rules, i, randomness) for i in vectors.keys() - drop_keys}
    U1, requests = server.gather_keys(rules, {i: reply for i, (_, reply) in advertised.items()})

    # 2. Shares: each checks everybody's keys, and shares its two secrets among its neighbours.
    shared = {i: client.share(advertised[i][0], requests[i], randomness) for i in requests.keys() - drop_shares}
    U2, requests = server.gather_shares(U1, {i: reply for i, (_, reply) in shared.items()})

    # 3. Masked vectors: each adds its own mask and those it has in common with its neighbours.
    masked = {i: client.mask(shared[i][0], requests[i], vectors[i]) for i in requests.keys() - drop_masked}
    U3, requests = server.gather_masked(U2, {i: reply for i, (_, reply) in masked.items()})

    # 4. Confirmation: each signs the one set of survivors that it will ever unmask.
    confirmed = {i: client.confirm(masked[i][0], requests[i]) for i in requests.keys() - drop_confirm}
    U4, requests = server.gather_confirmations(U3, {i: reply for i, (_, reply) in confirmed.items()})

    # 5. Unmasking: each reveals a share of the own mask of every survivor, or of the key of every dropout.
    revealed = {i: client.unmask(confirmed[i][0], requests[i]) for i in requests.keys() - drop_unmask}
    return server.open_sum(U4, {i: reply for i, (_, reply) in revealed.items()})
