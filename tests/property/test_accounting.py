"""Laws of the accounting, against slow oracles that share no code with it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.privacy import Mechanism, RoundEvent, central, epsilon, local, rho
from common.privacy.accounting import epsilon_of_rho, sum_excess
from common.privacy.planning import rho_for

DELTAS = st.floats(-12, -1).map(lambda power: 10.0**power)
COSTS = st.floats(-6, 4).map(lambda power: 10.0**power)


@st.composite
def events(draw):
    mechanism = Mechanism(
        length=draw(st.integers(1, 5000)),
        scale=draw(st.floats(0.01, 1e4)),
        share_variance=draw(st.integers(1, 10**9)),
        modulus_bits=32,
    )
    return RoundEvent(mechanism=mechanism, shares=draw(st.integers(1, 1024)))


def slow_delta(cost, epsilon):
    """Corollary 13 of arXiv:2004.00010v5: δ = inf over α > 1 of exp((α−1)(αρ−ε))/(α−1) · (1−1/α)^α."""
    excess = np.geomspace(1e-5, 1e8, 20_001)  # α − 1, then ever finer around the best
    for _ in range(4):
        alpha = 1 + excess
        logs = excess * (alpha * cost - epsilon) - np.log(excess) + alpha * (np.log(excess) - np.log(alpha))
        best = int(logs.argmin())
        excess = np.geomspace(excess[max(0, best - 1)], excess[min(len(excess) - 1, best + 1)], 1001)
    return math.exp(min(0.0, float(logs.min())))


@given(cost=COSTS, delta=DELTAS)
@settings(max_examples=40)
def test_epsilon_is_never_below_the_slow_conversion_and_hardly_above(cost, delta):
    found = epsilon_of_rho(cost, delta=delta)
    assert slow_delta(cost, found) <= delta * (1 + 1e-7)
    assert found <= 1e-3 or slow_delta(cost, found * 0.99 - 1e-3) > delta


@given(event=events(), delta=DELTAS)
@settings(max_examples=40)
def test_more_noise_more_honest_people_or_a_larger_delta_costs_less(event, delta):
    mechanism = event.mechanism
    noisier = Mechanism(
        length=mechanism.length,
        scale=mechanism.scale,
        share_variance=2 * mechanism.share_variance,
        modulus_bits=32,
    )
    cost = epsilon([event], delta=delta)
    assert epsilon([RoundEvent(mechanism=noisier, shares=event.shares)], delta=delta) <= cost
    assert epsilon([RoundEvent(mechanism=mechanism, shares=event.shares + 1)], delta=delta) <= cost
    assert epsilon([event], delta=min(0.99, 2 * delta)) <= cost
    assert epsilon([local(mechanism)], delta=delta) >= cost


@given(history=st.lists(events(), max_size=5), one=events(), delta=DELTAS, data=st.data())
@settings(max_examples=40)
def test_one_more_round_never_costs_less_and_the_order_does_not_matter(history, one, delta, data):
    before, after = epsilon(history, delta=delta), epsilon([*history, one], delta=delta)
    assert after >= before
    shuffled = data.draw(st.permutations([*history, one]))
    assert epsilon(shuffled, delta=delta) == pytest.approx(after, rel=1e-12)


@given(event=events(), survivors=st.integers(1, 1024), colluders=st.integers(0, 1024))
def test_colluders_make_it_dearer_but_never_dearer_than_standing_alone(event, survivors, colluders):
    with_them = rho(central(event.mechanism, survivors=survivors, colluders=colluders))
    assert rho(central(event.mechanism, survivors=survivors, colluders=0)) <= with_them <= rho(local(event.mechanism))


@given(target=st.floats(0.01, 50), delta=DELTAS)
@settings(max_examples=20)
def test_the_rho_of_a_budget_keeps_it_and_uses_it_up(target, delta):
    budget = rho_for(target, delta=delta)
    assert epsilon_of_rho(budget, delta=delta) <= target
    assert epsilon_of_rho(budget * 1.001, delta=delta) > target


def logs_of_sum(variance, shares, reach=60):
    """The exact log-probabilities of a sum of discrete Gaussians, by convolution in logarithms."""
    x = np.arange(-reach, reach + 1)
    logs = -(x**2) / (2 * variance)
    single = logs - np.logaddexp.reduce(logs)
    total = single
    for _ in range(shares - 1):
        grid = np.full((len(total), len(total) + len(single) - 1), -np.inf)
        for i, value in enumerate(total):
            grid[i, i : i + len(single)] = value + single
        total = np.logaddexp.reduce(grid, axis=0)
    return total


def divergence(logs, shift, order):
    """D_α of the shifted noise from the noise."""
    left, right = logs[shift:], logs[:-shift]
    return float(np.logaddexp.reduce(order * left + (1 - order) * right)) / (order - 1)


@pytest.mark.parametrize("shares", [1, 2, 3, 6])
@pytest.mark.parametrize("variance", [1, 2])
def test_the_exact_divergence_of_a_sum_of_shares_keeps_to_the_theorem(variance, shares):
    """One number, every shift and order: D_α ≤ α ½ (Δ/√(nσ²) + τ)², Theorem 1 of arXiv:2102.06387v4 with D = 1."""
    logs, tau = logs_of_sum(variance, shares), sum_excess(variance, shares)[-1]
    for shift in (1, 2, 5):
        for order in (1.25, 1.5, 2.0, 3.5):
            allowed = order / 2 * (shift / math.sqrt(shares * variance) + tau) ** 2
            assert divergence(logs, shift, order) <= allowed + 1e-13


def test_without_the_term_for_sums_the_theorem_would_be_wrong():
    """Two shares of variance 1: a little more leaks than from one discrete Gaussian of variance 2."""
    assert divergence(logs_of_sum(1, 2), 1, 1.5) > 1.5 * 0.5 * 1 / 2 + 1e-9
