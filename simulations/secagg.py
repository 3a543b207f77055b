"""Virtual devices in secure sums, one exchange at a time, so that every message can be seen, timed, altered or lost.

`common.secagg.secure_sum` is the same round in one go; this is for tests, which lie, and for benchmarks, which measure.
"""

from __future__ import annotations

import os
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.secagg import Identity, Rules, certify, client, digest_parameters, server
from common.secagg.identity import verify as verify_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from common.secagg import State, Sum
    from common.secagg.identity import Verify

EXCHANGES: Final = ("keys", "shares", "masked", "confirm", "unmask")


class _Gather(Protocol):
    """A step of the server after the first."""

    def __call__(self, state: Any, replies: Mapping[int, bytes], *, verify: Verify) -> Any:  # noqa: ANN401 - of five
        """Give the next state and requests."""


GATHER: Final[dict[str, _Gather]] = {
    "shares": server.gather_shares,
    "masked": server.gather_masked,
    "confirm": server.gather_confirmations,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """People enrolled with one operator, and the terms of a round among them."""

    operator: Ed25519PrivateKey
    rules: Rules
    identities: tuple[Identity, ...]


def enrol(operator: Ed25519PrivateKey, secret: bytes) -> Identity:
    """Enrol one device under the given private key."""
    public = Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    return Identity(secret, certify(operator, public))


def new_cohort(
    people: int,
    *,
    length: int = 8,
    modulus_bits: int = 16,
    minimum_people: int = 3,
    randomness: Callable[[int], bytes] = os.urandom,
) -> Cohort:
    """Enrol that many devices with a new operator."""
    operator = Ed25519PrivateKey.from_private_bytes(randomness(32))
    rules = Rules(
        operator=operator.public_key().public_bytes_raw(),
        parameters=digest_parameters(b"a simulated round"),
        minimum_people=minimum_people,
        length=length,
        modulus_bits=modulus_bits,
    )
    return Cohort(
        operator=operator, rules=rules, identities=tuple(enrol(operator, randomness(32)) for _ in range(people))
    )


class Round:
    """A round under way. Devices are numbered as in the cohort, and that is what the server knows them by.

    `exchange` is the next one, `states` and `requests` are what each device has and is asked in it, `gathered` is the
    server's state. After the last exchange `sum` holds the result.
    """

    def __init__(
        self,
        cohort: Cohort,
        vectors: Sequence[NDArray[np.uint32]],
        *,
        randomness: Callable[[int], bytes] = os.urandom,
        verify: Verify = verify_signature,
    ) -> None:
        self.cohort, self.vectors = cohort, vectors
        self.exchange = EXCHANGES[0]
        self.states: dict[int, State] = {}
        self.requests: dict[int, bytes] = dict.fromkeys(range(len(cohort.identities)), b"")
        self.gathered: Any = None
        self.sum: Sum[int] | None = None
        self._randomness, self._verify = randomness, verify

    def answer(self, number: int, request: bytes | None = None, *, verify: Verify | None = None) -> bytes:
        """Let one device answer its request, or another one put to it in its place, and remember its new state."""
        check = verify or self._verify
        asked = self.requests[number] if request is None else request
        state: Any = self.states.get(number)
        step: tuple[State, bytes]
        match self.exchange:
            case "keys":
                step = client.advertise(self.cohort.rules, self.cohort.identities[number], self._randomness)
            case "shares":
                step = client.share(state, asked, self._randomness, verify=check)
            case "masked":
                step = client.mask(state, asked, self.vectors[number], verify=check)
            case "confirm":
                step = client.confirm(state, asked, verify=check)
            case _:
                step = client.unmask(state, asked, verify=check)
        self.states[number], reply = step
        return reply

    def gather(self, replies: Mapping[int, bytes], *, verify: Verify | None = None) -> None:
        """Let the server gather the replies of this exchange and begin the next."""
        check = verify or self._verify
        if self.exchange == EXCHANGES[-1]:
            self.sum = server.open_sum(self.gathered, replies)
            return
        if self.exchange == EXCHANGES[0]:
            self.gathered, self.requests = server.gather_keys(self.cohort.rules, replies, verify=check)
        else:
            self.gathered, self.requests = GATHER[self.exchange](self.gathered, replies, verify=check)
        self.exchange = EXCHANGES[EXCHANGES.index(self.exchange) + 1]

    def hold(self, *, silent: Iterable[int] = (), altered: Mapping[int, bytes] | None = None) -> None:
        """Hold one exchange: everybody asked answers, but for the silent and those whose reply is altered."""
        quiet = set(silent)
        replies = {number: self.answer(number) for number in self.requests if number not in quiet}
        self.gather(replies | dict(altered or {}))

    def fork(self) -> Round:
        """Give another round in the same place, which goes its own way; what is in it never changes, but moves on."""
        other = copy(self)
        other.states, other.requests = dict(self.states), dict(self.requests)
        return other

    def until(self, exchange: str) -> Round:
        """Hold all exchanges before that one."""
        while self.exchange != exchange:
            self.hold()
        return self

    def finish(self) -> Sum[int]:
        """Hold all exchanges that are left and give the sum."""
        while self.sum is None:
            self.hold()
        return self.sum
