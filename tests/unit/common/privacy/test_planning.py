from __future__ import annotations

import dataclasses
import math

import dp_accounting
import pytest

from common.errors import ConfigError
from common.privacy import Mechanism, RoundEvent, epsilon, noise_variance, plan
from common.privacy.planning import FAILURE, ROUNDING_LOSS, _with_noise, loss, rho_for, wraps
from common.statistics import sensitivity

ROUND = {"length": 2145, "people": 128, "honest": 60, "epsilon": 1.0, "delta": 1e-6}


def cost(mechanism, honest, delta=1e-6):
    return epsilon([RoundEvent(mechanism=mechanism, shares=honest)], delta=delta)


@pytest.mark.parametrize("target", [0.1, 1.0, 8.0])
@pytest.mark.parametrize(("people", "honest"), [(8, 1), (20, 8), (128, 60), (1024, 500)])
def test_a_plan_keeps_every_promise_and_wastes_little(people, honest, target):
    found = plan(**(ROUND | {"people": people, "honest": honest, "epsilon": target}))
    assert 0.98 * target < cost(found, honest) <= target
    assert wraps(found, people) <= FAILURE
    assert loss(found, honest=honest, budget=rho_for(target, delta=1e-6)) <= ROUNDING_LOSS


def test_the_noise_is_the_least_that_will_do():
    found = plan(**ROUND)
    less = dataclasses.replace(found, share_variance=found.share_variance - 1)
    assert cost(less, 60) > 1.0 >= cost(found, 60)


def test_small_shares_get_more_noise_because_their_sum_is_no_discrete_gaussian():
    """Shares of variance 1 would be just enough for 50 people, were it not for τ."""
    bare = Mechanism(length=2, scale=1.0, share_variance=0, modulus_bits=16)
    assert _with_noise(2, 1.0, 50, bare.norm_squared / (2 * 50), 16).share_variance == 2


def test_the_stated_losses():
    """What the docstring of `plan` says about 2,145 numbers."""
    for people, honest, stated in ((128, 60, 0.005), (1024, 500, 0.028)):
        found = plan(**(ROUND | {"people": people, "honest": honest}))
        assert found.modulus_bits == 16
        assert loss(found, honest=honest, budget=rho_for(1.0, delta=1e-6)) == pytest.approx(stated, abs=0.001)


def test_what_zcdp_costs_beside_the_tight_curve_of_the_gaussian():
    ours = 1 / math.sqrt(2 * rho_for(1.0, delta=1e-6))
    assert ours / dp_accounting.get_sigma_gaussian(1.0, 1e-6) == pytest.approx(1.07, abs=0.005)


def test_noise_of_a_whole_round_is_that_of_the_budget():
    found = plan(**ROUND)
    budget = rho_for(1.0, delta=1e-6)
    continuous = sensitivity() ** 2 / (2 * budget)
    assert continuous < noise_variance(found, 60) < continuous * 1.01


def test_a_tighter_loss_takes_a_larger_modulus_and_a_finer_grid():
    coarse = plan(**(ROUND | {"people": 1024, "honest": 500}))
    fine = plan(**(ROUND | {"people": 1024, "honest": 500, "rounding_loss": 0.001}))
    assert (coarse.modulus_bits, fine.modulus_bits) == (16, 24)
    assert fine.scale > coarse.scale


def test_without_a_limit_there_is_no_noise_and_no_rounding_to_speak_of():
    found = plan(**(ROUND | {"epsilon": math.inf}))
    assert (found.share_variance, found.modulus_bits) == (0, 32)
    assert found.scale > 2.0**20
    assert loss(found, honest=60, budget=math.inf) == 0


def test_a_small_modulus_is_sure_to_wrap():
    found = dataclasses.replace(plan(**ROUND), modulus_bits=8, share_variance=100)
    assert wraps(found, 128) == 1.0
    assert wraps(found, 10**4) == 1.0


def test_a_wrap_is_as_rare_as_stated_beside_a_round_of_double_the_people():
    """2D exp(−room²/2V) by hand: 3 people, no noise, scale 10, four numbers, 8 bits."""
    found = dataclasses.replace(plan(**ROUND), length=4, modulus_bits=8, share_variance=0, scale=10.0)
    proxy = (10 * 3) ** 2 * 3 / 4
    assert wraps(found, 3) == pytest.approx(8 * math.exp(-(125**2) / (2 * proxy)), rel=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"honest": 0},
        {"honest": 129},
        {"epsilon": 0.0},
        {"epsilon": math.nan},
        {"delta": 0.0},
        {"delta": 1.0},
        {"failure": 0.0},
        {"rounding_loss": 0.0},
        {"length": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes):
    with pytest.raises(Exception, match=r"mend the settings|length 0") as caught:
        plan(**(ROUND | changes))
    assert isinstance(caught.value, ConfigError) or "length" in changes


def test_a_budget_that_no_modulus_can_hold_is_refused():
    with pytest.raises(ConfigError, match="take fewer people or a larger"):
        plan(**(ROUND | {"epsilon": 1e-9, "honest": 1}))
