"""What the fault run would notice: each wrong that it looks for is committed once, and it must say so."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from client.ledger import Contribution
from common.privacy import Mechanism, decode
from server.books import Entry
from simulations.faults import POINTS
from simulations.outages import MOMENTS
from simulations.soak import Tally, _compare, multiplicities, plan

MECHANISM = Mechanism(length=91, scale=64.0, share_variance=900, modulus_bits=24)
SEED = bytes(range(32))
NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
ENTRY = Entry(
    round_id="r1", kind="object", backbone="ab" * 32, state="done", reason="", exchange="train.unmask", called=9,
    people=8, clip=4.0, mechanism=MECHANISM, noise_variance=1.0, prior_version=0, started=NOON, ended=NOON, shard="",
    dropouts={},
)  # fmt: skip
BOOKED = Contribution(
    round_id="r1", context="", operator="", kind="object", backbone="ab" * 32, prior_version=0, concept=1, called=9,
    fewest=8, colluders=2, length=91, scale=64.0, share_variance=900, modulus_bits=24, clip=4.0,
)  # fmt: skip


@pytest.fixture
def integers():
    """Nine people's, small enough that their sum does not wrap."""
    rng = np.random.default_rng(3)
    mask = (1 << MECHANISM.modulus_bits) - 1
    return [{SEED: (rng.integers(-4000, 4000, MECHANISM.padded) & mask).astype(np.uint32)} for _ in range(9)]


def summed(integers, counts):
    rows = [decode(one[SEED], MECHANISM, seed=SEED) for one in integers]
    return np.sum([count * row for count, row in zip(counts, rows, strict=True)], axis=0)


@pytest.mark.parametrize("counts", [[1] * 9, [1, 1, 0, 1, 1, 1, 0, 1, 1], [1, 2, 1, 1, 1, 1, 1, 1, 0], [0] * 8 + [1]])
def test_how_often_each_is_in_a_sum_is_solved_for(integers, counts):
    assert list(multiplicities(summed(integers, counts), ENTRY, integers).values()) == counts


def test_what_is_no_sum_of_theirs_is_none(integers):
    assert multiplicities(summed(integers, [1] * 9) + 1.0, ENTRY, integers) is None


def wrongs(counts, ledgers, **changes):
    tally = Tally(seed=0)
    _compare(replace(ENTRY, **changes), counts, ledgers, tally)
    return tally.wrong


HONEST = dict.fromkeys(range(8), 1) | {8: 0}
LEDGERS = [{"r1": BOOKED}] * 8 + [{}]


def test_an_honest_round_has_nothing_wrong():
    assert wrongs(HONEST, LEDGERS) == []


@pytest.mark.parametrize(
    ("counts", "ledgers", "changes", "said"),
    [
        (HONEST | {3: 2}, LEDGERS, {}, "otherwise than once"),
        (HONEST | {3: -1}, LEDGERS, {}, "otherwise than once"),
        (HONEST | {3: 0}, LEDGERS, {}, "says 8 people and has 7"),
        (HONEST, [{}, *LEDGERS[1:]], {}, "ledgers know nothing"),
        (HONEST, LEDGERS, {"mechanism": replace(MECHANISM, share_variance=400)}, "booked less than"),
    ],
)
def test_every_wrong_is_noticed(counts, ledgers, changes, said):
    assert said in "; ".join(wrongs(counts, ledgers, **changes))


def test_the_plan_is_the_seeds_and_every_fault_has_its_turn():
    plans = [plan(7, run, database=True) for run in range(200)]
    assert plans == [plan(7, run, database=True) for run in range(200)]
    assert plans != [plan(8, run, database=True) for run in range(200)]
    chosen = {(fault.victim, fault.moment or fault.point) for found in plans for fault in found}
    assert {moment for victim, moment in chosen if victim == "server"} == set(MOMENTS)
    assert {fault.point for found in plans for fault in found if fault.victim == "device"} == set(POINTS)
