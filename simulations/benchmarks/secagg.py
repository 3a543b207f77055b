"""``secagg``: what a secure sum costs each device and the server, beside a plain sum of the same vectors.

Whole rounds in memory, from 16 to 1,024 devices, each with 4,096 integers modulo 2^24. Milliseconds are of processor
time, so that a busy machine measures the same. A few devices of each round are timed with everything that a real one
does; the others check signatures against those that the server has checked already in this process, which saves the
n² verifications that would be spread over n machines. The server checks all of its own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from common.secagg import topology
from common.secagg.identity import verify
from common.secagg.masks import pack, unpack
from simulations.benchmarks.framework import Bar, Report, Value
from simulations.secagg import EXCHANGES, Round, new_cohort

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from common.secagg import Rules

T = TypeVar("T")

LENGTH: Final = 4096
MODULUS_BITS: Final = 24
SMALL: Final = (16, 32, 64, 128)
FULL: Final = (16, 32, 64, 128, 256, 512, 1024)
TIMED: Final = 4
"""Devices of each round that check every signature themselves."""


class Seen:
    """Checks signatures, and remembers the good ones for devices that are not timed."""

    def __init__(self) -> None:
        self._good: set[tuple[bytes, bytes, bytes]] = set()

    def remember(self, public: bytes, signature: bytes, message: bytes) -> bool:
        """Check a signature in full and remember it."""
        good = verify(public, signature, message)
        if good:
            self._good.add((public, signature, message))
        return good

    def recall(self, public: bytes, signature: bytes, message: bytes) -> bool:
        """Say whether it was found good before; in full if it is not known."""
        return (public, signature, message) in self._good or verify(public, signature, message)


def run(*, full: bool, seed: int) -> Report:
    """Hold one round of each size."""
    rng = np.random.default_rng(seed)
    found = [hold(people, rng) for people in (FULL if full else SMALL)]
    first, last = found[0], found[-1]
    growth = {
        "device milliseconds": sum(last.device.values()) / sum(first.device.values()),
        "server milliseconds": sum(last.server.values()) / sum(first.server.values()),
        "bytes sent by a device": last.sent / first.sent,
        "bytes received by a device": last.received / first.received,
    }
    exact = [one.exact == LENGTH for one in found]
    return Report(
        name="secagg",
        seed=seed,
        full=full,
        rows=[row for one in found for row in _rows(one)],
        ratios={f"{what}, {last.people} devices over {first.people}": ratio for what, ratio in growth.items()},
        bars=[
            Bar("share of the rounds whose sum is the plain sum", sum(exact) / len(exact), 1.0, "at least"),
            Bar(f"devices in the largest round of {LENGTH} integers that completed", last.people, 128, "at least"),
        ],
        notes=[
            f"{LENGTH} integers modulo 2^{MODULUS_BITS} from each; one device is silent in each exchange but the first",
            f"milliseconds of processor time; device: median of {TIMED} that check everything; server: for all of them",
            "sent and received in bytes; plain: packing one's integers and adding up everybody's, which hides nothing",
        ],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one round took: milliseconds by exchange, and bytes."""

    people: int
    exact: int
    """Integers of the sum that are those of the plain sum."""
    device: dict[str, float]
    server: dict[str, float]
    sent: int
    """By one device, all exchanges together."""
    received: int
    plain_device: float
    plain_server: float
    plain_sent: int


def hold(people: int, rng: np.random.Generator) -> Cost:
    """Hold one round and measure it."""
    cohort = new_cohort(people, length=LENGTH, modulus_bits=MODULUS_BITS)
    vectors = [rng.integers(0, 1 << MODULUS_BITS, LENGTH, dtype=np.uint32) for _ in range(people)]
    seen = Seen()
    held = Round(cohort, vectors, verify=seen.recall)
    timed = range(people - TIMED, people)
    device: dict[str, list[float]] = {exchange: [] for exchange in EXCHANGES}
    server: dict[str, float] = {}
    sent = received = 0
    for silent, exchange in enumerate(EXCHANGES):
        replies = {}
        for one, request in held.requests.items():
            if silent and one == silent:
                continue
            if one in timed:
                topology.cache_clear()  # a device of its own would derive the numbers of the graph itself
            replies[one], spent = _timed(partial(held.answer, one, verify=verify if one in timed else None))
            if one in timed:
                device[exchange].append(spent)
                sent, received = sent + len(replies[one]), received + len(request)
        _, server[exchange] = _timed(partial(held.gather, replies, verify=seen.remember))
    return Cost(
        people=people,
        exact=_exact(held),
        device={exchange: median(spent) for exchange, spent in device.items()},
        server=server,
        sent=sent // TIMED,
        received=received // TIMED,
        **_plain(vectors, cohort.rules),
    )


def _exact(held: Round) -> int:
    """Count the integers in which the sum is the plain sum of the survivors' vectors."""
    if held.sum is None:
        return 0
    vectors = [held.vectors[one] for one in held.sum.survivors]
    plain = np.sum(vectors, axis=0, dtype=np.uint64) % (1 << MODULUS_BITS)
    return int(np.sum(held.sum.total == plain))


def _plain(vectors: list[NDArray[np.uint32]], rules: Rules) -> dict[str, Any]:
    """Measure the same sum without any protection."""
    packed, device = _timed(lambda: [pack(vector, rules) for vector in vectors])
    _, server = _timed(lambda: sum(unpack(data, rules) for data in packed))
    return {"plain_device": device / len(vectors), "plain_server": server, "plain_sent": len(packed[0])}


def _rows(cost: Cost) -> list[dict[str, Value]]:
    """Give a round's four rows: a device and the server, each beside the same side of a plain sum."""
    n = cost.people
    nothing = dict.fromkeys(EXCHANGES)
    device: dict[str, Value] = {
        **cost.device,
        "ms": sum(cost.device.values()),
        "sent": cost.sent,
        "received": cost.received,
    }
    server: dict[str, Value] = {
        **cost.server,
        "ms": sum(cost.server.values()),
        "sent": n * cost.received,
        "received": n * cost.sent,
    }
    plain_device: dict[str, Value] = {**nothing, "ms": cost.plain_device, "sent": cost.plain_sent, "received": 0}
    plain_server: dict[str, Value] = {**nothing, "ms": cost.plain_server, "sent": 0, "received": n * cost.plain_sent}
    sides: dict[str, dict[str, Value]] = {
        "device": device,
        "device, plain": plain_device,
        "server": server,
        "server, plain": plain_server,
    }
    return [{"people": n, "side": side, **measured} for side, measured in sides.items()]


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.process_time()
    result = work()
    return result, 1000 * (time.process_time() - start)
