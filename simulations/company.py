"""One real device in the company of bare state machines: a server and everybody else, exchange by exchange.

For tests and attacks that put one device through a round, honest or not, without the cost of other people's vaults.
"""

from __future__ import annotations

import hashlib
import os
from copy import copy
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from common.errors import ConfigError
from common.messages import RoundCall, RoundStep, pack_basis, rules_of
from simulations.secagg import Cohort, Round, enrol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from typing import Self

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from numpy.typing import NDArray

    from common.privacy import Mechanism

ME: Final = -1
"""The real device among the others, who are numbered from 0."""


def announce(
    basis: NDArray[np.floating],
    mechanism: Mechanism,
    *,
    round_id: str,
    backbone: str,
    kind: str = "object",
    clip: float = 2.0,
    minimum_people: int = 8,
) -> RoundCall:
    """Announce an opening round, under no prior."""
    packed = pack_basis(basis)
    return RoundCall(
        round_id=round_id,
        kind=kind,  # type: ignore[arg-type] # checked by the message itself
        backbone=backbone,
        prior_version=0,
        prior_digest=b"",
        public_basis=packed,
        basis_digest=hashlib.sha256(packed).digest(),
        clip=clip,
        minimum_people=minimum_people,
        length=mechanism.length,
        scale=mechanism.scale,
        share_variance=mechanism.share_variance,
        modulus_bits=mechanism.modulus_bits,
    )


class Company:
    """Everybody else, who contribute zeros, and an honest server. `round` may be bent to make it a liar."""

    def __init__(
        self,
        operator: Ed25519PrivateKey,
        call: RoundCall,
        *,
        others: int,
        gone: Mapping[str, AbstractSet[int]] = MappingProxyType({}),
    ) -> None:
        """Enrol the others.

        Args:
            operator: the private key, with which they are enrolled.
            call: the announcement.
            others: how many.
            gone: by exchange ("keys" and so on), who of them is silent in it.
        """
        self.call, self.gone = call, gone
        self.rules = rules_of(call, operator.public_key().public_bytes_raw())
        identities = tuple(enrol(operator, os.urandom(32)) for _ in range(others))
        cohort = Cohort(operator=operator, rules=self.rules, identities=identities)
        self.round = Round(cohort, [np.zeros(self.rules.length, np.uint32)] * others)

    def next(self, mine: bytes | None) -> RoundStep:
        """Hold this exchange with the device's reply, or without it; give what the device is asked in the next.

        Raises:
            AbortedRoundError: too few are left.
        """
        self._gather(mine)
        request = self.round.requests.get(ME, b"")
        return RoundStep(round_id=self.call.round_id, context=self.rules.context, request=request)

    def total(self, mine: bytes | None) -> NDArray[np.uint32]:
        """Hold the last exchange; give the sum, which is what the device put in, if it is in it."""
        self._gather(mine)
        if self.round.sum is None:
            raise ConfigError(f"the sum cannot be opened before the exchange {self.round.exchange}: hold it first")
        return self.round.sum.total

    def copy(self) -> Self:
        """Give the same company at the same point, to go another way from there."""
        twin = copy(self)
        twin.round = self.round.fork()
        return twin

    def _gather(self, mine: bytes | None) -> None:
        silent = {ME, *self.gone.get(self.round.exchange, frozenset())}
        replies = {who: self.round.answer(who) for who in self.round.requests if who not in silent}
        self.round.gather(replies if mine is None else {**replies, ME: mine})
