from __future__ import annotations

import dataclasses
import math

import dp_accounting
import pytest

from common.errors import ConfigError
from common.privacy import Mechanism, RoundEvent, central, dp_event, epsilon, local, rho
from common.privacy.accounting import epsilon_of_rho, sum_excess

DELTA = 1e-6


def mechanism(**changes):
    settings = {"length": 2145, "scale": 314.0, "share_variance": 102_000, "modulus_bits": 16}
    return Mechanism(**(settings | changes))


def test_many_shares_cost_what_one_of_their_whole_variance_costs():
    found = mechanism()
    assert rho(RoundEvent(mechanism=found, shares=60)) == pytest.approx(
        found.norm_squared / (2 * 60 * 102_000), rel=1e-12
    )
    assert rho(local(found)) == pytest.approx(60 * rho(RoundEvent(mechanism=found, shares=60)), rel=1e-12)


def test_small_shares_cost_more_because_their_sum_is_no_discrete_gaussian():
    found = mechanism(share_variance=1)
    tau = 10 * sum(math.exp(-2 * math.pi**2 * k / (k + 1)) for k in range(1, 7))
    assert sum_excess(1, 7)[-1] == pytest.approx(tau, rel=1e-12)
    ratio = math.sqrt(found.norm_squared / 7)
    assert rho(RoundEvent(mechanism=found, shares=7)) == pytest.approx((ratio + tau * 64) ** 2 / 2, rel=1e-12)


def test_a_share_more_never_costs_more():
    """For a short vector τ grows faster than the noise: then the bound for fewer shares stands."""
    found = mechanism(share_variance=1, scale=0.3, length=1)
    costs = [rho(RoundEvent(mechanism=found, shares=shares)) for shares in (1, 2, 100, 100_000, 200_000)]
    assert costs == sorted(costs, reverse=True)
    assert costs[3] == costs[4] > 0


def test_one_share_is_a_discrete_gaussian_and_large_ones_nearly_add_up_to_one():
    assert sum_excess(1, 3)[0] == 0
    assert sum_excess(8, 1024).max() < 1e-30


def test_the_honest_but_curious_server_subtracts_what_colluders_added():
    found = mechanism()
    assert central(found, survivors=80, colluders=20).shares == 60
    assert central(found, survivors=3, colluders=7) == local(found) == RoundEvent(mechanism=found, shares=1)


def test_an_event_holds_what_happened_and_cannot_be_changed():
    event = central(mechanism(), survivors=80, colluders=20)
    assert dataclasses.asdict(event) == {"mechanism": dataclasses.asdict(mechanism()), "shares": 60}
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.shares = 61


def test_a_sum_without_an_honest_share_is_refused():
    with pytest.raises(ConfigError, match="0 honest shares"):
        RoundEvent(mechanism=mechanism(), shares=0)


def test_events_in_the_words_of_dp_accounting():
    event = local(mechanism())
    assert dp_event(event) == dp_accounting.ZCDpEvent(rho(event))
    assert dp_event(local(mechanism(share_variance=0))) == dp_accounting.NonPrivateDpEvent()


def test_no_noise_costs_everything_whatever_came_before_it():
    bare, noised = local(mechanism(share_variance=0)), central(mechanism(), survivors=60, colluders=0)
    assert epsilon([bare], delta=DELTA) == math.inf
    assert epsilon([noised, bare, noised], delta=DELTA) == math.inf


def test_nothing_costs_nothing():
    assert epsilon([], delta=DELTA) == 0


def test_a_history_costs_what_its_rhos_cost_together():
    first, second = central(mechanism(), survivors=60, colluders=0), local(mechanism())
    whole = epsilon([first, second, first], delta=DELTA)
    assert whole == pytest.approx(epsilon_of_rho(2 * rho(first) + rho(second), delta=DELTA), rel=1e-12)
    assert whole > epsilon([first, second], delta=DELTA) > epsilon([second], delta=DELTA)


def test_a_published_number():
    """ρ = 0.1 at δ = 1e-6: by Bun and Steinke's Proposition 1.3 ε = ρ + 2√(ρ ln(1/δ)) = 2.451; Corollary 13 is less."""
    assert 2.0 < epsilon_of_rho(0.1, delta=DELTA) < 2.451


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-9, math.nan])
def test_a_delta_that_is_no_probability_is_refused(delta):
    with pytest.raises(ConfigError, match="delta must be"):
        epsilon([local(mechanism())], delta=delta)
