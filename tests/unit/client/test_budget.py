from __future__ import annotations

import math

import pytest

from client.budget import DEFAULT, DELTA, admit, checked, cost, is_spent, limits, one_more, spent
from client.ledger import Contribution, Entry, Limits, Opening, Withdrawal
from common.errors import BudgetExhaustedError, ConfigError
from common.privacy import Mechanism, central, epsilon, local

MECHANISM = Mechanism(length=15, scale=64.0, share_variance=42_000, modulus_bits=24)


def contribution(number=1, **changes):
    values = {
        "round_id": f"r{number}",
        "context": "00" * 32,
        "operator": "00" * 32,
        "kind": "object",
        "backbone": "ab" * 32,
        "prior_version": 0,
        "concept": number,
        "called": 12,
        "fewest": 9,
        "colluders": 3,
        "length": MECHANISM.length,
        "scale": MECHANISM.scale,
        "share_variance": MECHANISM.share_variance,
        "modulus_bits": MECHANISM.modulus_bits,
        "clip": 2.0,
    }
    return Contribution(**{**values, **changes})


def ledger(*events):
    return [Entry(sequence=number, at="", event=event, digest="") for number, event in enumerate(events, start=1)]


def test_both_numbers_are_those_of_the_accountant():
    found = cost([contribution(1), contribution(2)])
    honest = [central(MECHANISM, survivors=9, colluders=3)] * 2
    assert found.central == epsilon(honest, delta=DELTA)
    assert found.local == epsilon([local(MECHANISM)] * 2, delta=DELTA)
    assert 0 < found.central < found.local < math.inf
    assert (spent(ledger()).central, spent(ledger()).local) == (0, 0)


def test_every_contribution_counts_whether_its_sum_was_opened_or_not():
    opened = ledger(contribution(1), Opening(round_id="r1", people=12), contribution(2))
    assert spent(opened) == cost([contribution(1), contribution(2)])
    assert spent(opened).central > spent(ledger(contribution(1))).central
    assert one_more(opened, contribution(3)) == cost([contribution(number) for number in (1, 2, 3)])


def test_without_noise_both_are_infinite():
    found = cost([contribution(1), contribution(2, share_variance=0)])
    assert found.central == found.local == math.inf


@pytest.mark.parametrize("name", ["central", "local"])
def test_a_round_above_either_limit_is_refused_and_one_at_it_is_not(name):
    after = cost([contribution(1), contribution(2)])
    exact = {"central": 100.0, "local": 100.0, name: getattr(after, name)}
    assert admit(ledger(Limits(**exact), contribution(1)), contribution(2)) == after
    below = {**exact, name: math.nextafter(exact[name], 0)}
    with pytest.raises(BudgetExhaustedError, match=name):
        admit(ledger(Limits(**below), contribution(1)), contribution(2))


def test_the_newest_word_of_the_person_counts():
    assert limits(ledger()) == DEFAULT
    large, small = Limits(central=9.0, local=90.0), Limits(central=0.1, local=1.0)
    assert limits(ledger(small, large)) == large
    assert limits(ledger(large, Withdrawal())) is None
    assert limits(ledger(Withdrawal(), large)) == large
    with pytest.raises(BudgetExhaustedError, match="withdrawn"):
        admit(ledger(large, Withdrawal()), contribution(1))
    with pytest.raises(BudgetExhaustedError):
        admit(ledger(large, small), contribution(1))


def test_the_defaults_allow_what_they_are_said_to():
    """In `DEFAULT`'s words: the central limit lasts seven rounds at ε = 1, the local one three or four of 128."""
    many = Mechanism(length=2145, scale=324.88, share_variance=102_097, modulus_bits=16)
    at_one = contribution(1, length=many.length, scale=many.scale, share_variance=many.share_variance, modulus_bits=16,
                          fewest=90, colluders=26)  # fmt: skip
    assert cost([at_one]).central == pytest.approx(1.0, rel=0.01)
    assert cost([at_one] * 7).central <= DEFAULT.central < cost([at_one] * 8).central
    assert cost([at_one] * 4).local <= DEFAULT.local < cost([at_one] * 5).local
    admit(ledger(), at_one)
    thousand = contribution(1, length=2145, scale=123.91, share_variance=1620, modulus_bits=16, called=1024,
                            fewest=805, colluders=205)  # fmt: skip
    assert cost([thousand]).central == pytest.approx(1.0, rel=0.01)
    with pytest.raises(BudgetExhaustedError, match="local"):
        admit(ledger(), thousand)


def test_spent_is_known_before_anybody_asks():
    assert not is_spent(ledger())
    assert is_spent(ledger(Withdrawal()))
    one = contribution(1)
    exact = cost([one, one])
    limit = Limits(central=exact.central, local=exact.local)
    assert not is_spent(ledger(limit, one))
    assert is_spent(ledger(limit, one, contribution(2)))


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan])
def test_a_budget_that_limits_nothing_is_refused(value):
    with pytest.raises(ConfigError, match="--budget"):
        checked(Limits(central=value, local=1.0))
    with pytest.raises(ConfigError, match="--local"):
        checked(Limits(central=1.0, local=value))
    assert checked(Limits(central=0.0, local=0.0)).central == 0
