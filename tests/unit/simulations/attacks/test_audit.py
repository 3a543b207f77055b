"""Lower bounds on ε: right by an independent accountant, sound for mechanisms made to fool them, and with teeth."""

from __future__ import annotations

import math
from statistics import NormalDist

import dp_accounting
import numpy as np
import pytest

from common.errors import ConfigError
from simulations.attacks.audit import ManyRuns, OneRun, binomial_at_most, epsilon_of, most_by_chance, rate_at_most

NORMAL = NormalDist()


@pytest.mark.parametrize("mu", [0.05, 0.24, 1.0, 3.0])
@pytest.mark.parametrize("delta", [1e-9, 1e-6, 1e-2])
def test_epsilon_is_that_of_the_gaussian_mechanism(mu, delta):
    found = dp_accounting.get_epsilon_gaussian(1 / mu, delta)
    assert epsilon_of(mu, delta) == pytest.approx(found, rel=1e-6, abs=1e-9)


def test_no_mu_is_no_epsilon():
    assert epsilon_of(0.0, 1e-6) == 0.0


def test_a_rate_is_bounded_as_clopper_and_pearson_do():
    assert rate_at_most(0, 100, 0.05) == pytest.approx(1 - 0.05 ** (1 / 100))
    assert rate_at_most(7, 50, 0.025) == pytest.approx(0.2674, abs=1e-4)  # scipy.stats.beta.ppf(0.975, 8, 43)
    assert rate_at_most(5, 5, 0.025) == 1.0


def test_binomial_tails_add_up():
    assert binomial_at_most(3, 10, 0.5) == pytest.approx(176 / 1024)
    assert binomial_at_most(10, 10, 0.3) == 1.0
    assert binomial_at_most(0, 10, 1.0) == 0.0


def test_chance_is_given_its_due():
    most = most_by_chance(150, 1 / 150, 1e-6)
    assert 1 - binomial_at_most(most, 150, 1 / 150) <= 1e-6 < 1 - binomial_at_most(most - 1, 150, 1 / 150)


def test_impossible_counts_are_refused():
    with pytest.raises(ConfigError, match="count again"):
        OneRun(coins=10, guesses=5, correct=6)
    with pytest.raises(ConfigError, match="count again"):
        ManyRuns(absent=3, false_alarms=4, planted=3, misses=0)


def test_half_right_proves_nothing():
    assert OneRun(coins=100, guesses=100, correct=50).mu() == 0.0
    assert ManyRuns(absent=50, false_alarms=25, planted=50, misses=25).mu() == 0.0


def test_more_right_guesses_prove_more():
    found = [OneRun(coins=100, guesses=60, correct=correct).mu() for correct in range(30, 61, 5)]
    assert found == sorted(found)
    assert found[-1] > 1
    assert OneRun(coins=100, guesses=60, correct=60, group=4).mu() == pytest.approx(found[-1] / 4)


def gaussian_run(rng, mu, coins, guesses):
    truth = rng.random(coins) < 0.5
    seen = mu * truth + rng.standard_normal(coins) - mu / 2
    surest = np.argsort(-np.abs(seen))[:guesses]
    return OneRun(coins=coins, guesses=guesses, correct=int(np.sum((seen[surest] > 0) == truth[surest])))


def test_one_run_is_sound_for_the_gaussian_mechanism():
    """At 5 % significance at most 23 of 200 bounds may be wrong, but with probability 10⁻⁴."""
    rng = np.random.default_rng(0)
    for mu in (0.3, 1.5):
        found = [gaussian_run(rng, mu, 60, 30) for _ in range(200)]
        assert sum(run.mu() > mu for run in found) <= most_by_chance(200, 0.05, 1e-4)


def test_one_run_is_sound_where_all_coins_are_betrayed_together():
    """One time in five every coin is answered for with odds of e^η, otherwise none is: guesses are not independent.

    Who counts them as independent takes many right guesses for a proof, and is wrong one time in ten.
    """
    share, odds, coins = 0.2, 1.2, 200
    right = math.exp(odds) / (1 + math.exp(odds))
    levels = np.linspace(1e-6, 1 - 1e-6, 4001)
    betrayed = np.minimum(1, np.minimum(math.exp(odds) * levels, 1 - math.exp(-odds) * (1 - levels)))
    # The best test spends its false alarms where they buy most: on the betrayed share first, then on the other.
    kink = 1 - right
    spent = np.minimum(levels / share, kink)
    first = share * np.minimum(math.exp(odds) * spent, right)
    second = np.clip(levels - share * kink, 0, 1 - share)
    last = np.clip((levels - share * kink - (1 - share)) / share, 0, 1 - kink)
    power = first + second + share * math.exp(-odds) * last
    assert np.all(power <= betrayed + 1e-9)
    truth = max(NORMAL.inv_cdf(min(1 - 1e-12, p)) - NORMAL.inv_cdf(a) for a, p in zip(levels, power, strict=True))
    run = OneRun(coins=coins, guesses=coins, correct=round(right * coins))  # half of the betrayals do better
    assert run.mu() <= truth
    independent = 1 - rate_at_most(coins - run.correct, coins, 0.05)
    assert 2 * NORMAL.inv_cdf(independent) > truth


def test_many_runs_are_sound_and_near_the_truth():
    rng, mu = np.random.default_rng(1), 2.5
    found = []
    for _ in range(200):
        coins = rng.random(400) < 0.5
        guess = mu * coins + rng.standard_normal(400) > mu / 2
        found.append(
            ManyRuns(
                absent=int(np.sum(~coins)),
                false_alarms=int(np.sum(guess & ~coins)),
                planted=int(np.sum(coins)),
                misses=int(np.sum(~guess & coins)),
            ).mu()
        )
    assert sum(bound > mu for bound in found) <= most_by_chance(200, 0.05, 1e-4)
    assert np.median(found) > 0.8 * mu


def test_three_times_the_promised_mu_is_noticed():
    rng = np.random.default_rng(2)
    assert gaussian_run(rng, 3.0, 64, 32).mu() > 1.0
