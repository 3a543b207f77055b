"""Canaries through the whole of a round: encoded, noised, masked, summed, opened, decoded, as on devices and server.

The devices are the real state machines (`simulations.secagg.Round`) and protect their vectors by
`client.contribution.protect`, the exit of a device. A canary is a vector as long as clipping allows, S, along one
coordinate; people of one group share it and one fair coin. Heads, all of them contribute it; tails, the zero vector,
which is the neighbour that the accounting promises nobody can tell from it. Groups are orthogonal, as no real people
are: that is the worst case, in which nobody hides anybody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from client.contribution import protect
from common.privacy import Mechanism, Randomness, decode
from common.statistics import clip, sensitivity
from simulations.attacks.audit import ManyRuns, OneRun
from simulations.secagg import Round, new_cohort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LENGTH: Final = float(clip(np.array([sensitivity()]), sensitivity())[0])
"""Of a canary: S, as clipping leaves it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Planted:
    """What one run gave about each group's coin."""

    coins: NDArray[np.bool_]
    """Shape (groups,)."""
    scores: NDArray[np.float64]
    """Shape (groups,): the group's coordinate of the sum, in lengths of the group's whole canary; about 0 or 1."""


def decoded_sum(vectors: Sequence[NDArray[np.float64]], mechanism: Mechanism) -> NDArray[np.float64]:
    """Put each vector through a device and give the sum that the server reads, shape (length,)."""
    people = len(vectors)
    cohort = new_cohort(
        people, length=mechanism.padded, modulus_bits=mechanism.modulus_bits, minimum_people=min(people, 3)
    )
    held = Round(cohort, []).until("masked")
    seed = held.gathered.start.digest  # of everybody's signed keys, as `client.contribution.contribute` takes it
    held.vectors = [protect(vector, mechanism, seed, Randomness()) for vector in vectors]
    return decode(held.finish().total, mechanism, seed=seed)


def plant(people: int, group: int, mechanism: Mechanism, coins: NDArray[np.bool_]) -> Planted:
    """Hold one round of canaries.

    Args:
        people: n; those who fill no whole group contribute zero.
        group: g, people who share a canary and a coin.
        mechanism: of at least as many numbers as there are groups.
        coins: of each group, shape (n // g,).
    """
    vectors = [np.zeros(mechanism.length) for _ in range(people)]
    for number in range(len(coins) * group):
        vectors[number][number // group] = _LENGTH * coins[number // group]
    total = decoded_sum(vectors, mechanism)
    return Planted(coins=coins, scores=total[: len(coins)] / (group * _LENGTH))


def audit_one_run(
    people: int, group: int, mechanism: Mechanism, rng: np.random.Generator, *, guessed: float = 0.5
) -> OneRun:
    """Guess the coins of one round.

    Args:
        people: n.
        group: g.
        mechanism: as announced, or as a broken device has it.
        rng: of the coins.
        guessed: share of the coins that are guessed, those that the sum says most about; set in advance.
    """
    found = plant(people, group, mechanism, rng.random(people // group) < 0.5)
    guesses = max(1, round(guessed * len(found.coins)))
    surest = np.argsort(-np.abs(found.scores - 0.5))[:guesses]
    correct = int(np.sum((found.scores[surest] > 0.5) == found.coins[surest]))
    return OneRun(coins=len(found.coins), guesses=guesses, correct=correct, group=group)


def audit_many_runs(rounds: int, people: int, mechanism: Mechanism, rng: np.random.Generator) -> ManyRuns:
    """Guess the coins of independent rounds, in each of which all n people share one."""
    found = [plant(people, people, mechanism, rng.random(1) < 0.5) for _ in range(rounds)]
    coins = np.array([one.coins[0] for one in found])
    return _counted(coins, np.array([one.scores[0] for one in found]), people)


def audit_own_share(people: int, mechanism: Mechanism, rng: np.random.Generator) -> ManyRuns:
    """Guess each person's coin from that person's own vector, as a server can that got the mask off.

    What a device gives depends on nobody else, so that every person is a run of its own.
    """
    coins = rng.random(people) < 0.5
    seed, scores = bytes(32), np.empty(people)
    for number, coin in enumerate(coins):
        vector = np.zeros(mechanism.length)
        vector[0] = _LENGTH * coin
        scores[number] = decode(protect(vector, mechanism, seed, Randomness()), mechanism, seed=seed)[0] / _LENGTH
    return _counted(coins, scores, 1)


def _counted(coins: NDArray[np.bool_], scores: NDArray[np.float64], group: int) -> ManyRuns:
    guess = scores > 0.5
    return ManyRuns(
        absent=int(np.sum(~coins)),
        false_alarms=int(np.sum(guess & ~coins)),
        planted=int(np.sum(coins)),
        misses=int(np.sum(~guess & coins)),
        group=group,
    )
