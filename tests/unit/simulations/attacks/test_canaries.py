"""Canaries go through the real round, come out where they went in, and catch noise that is too small."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from common.privacy import central, epsilon, plan, rho
from common.statistics import sensitivity
from simulations.attacks.audit import epsilon_of
from simulations.attacks.canaries import audit_many_runs, audit_one_run, audit_own_share, decoded_sum, plant

DELTA = 1e-6
ALARM = 1e-6
"""Probability that a bound on a sound mechanism exceeds the truth, where it is asked for."""


@pytest.fixture(scope="module")
def mechanism():
    return plan(length=16, people=12, honest=12, epsilon=1.0, delta=DELTA)


@pytest.fixture(scope="module")
def quiet():
    return plan(length=16, people=12, honest=12, epsilon=math.inf, delta=DELTA)


def test_a_sum_is_what_went_in(quiet):
    rng = np.random.default_rng(0)
    vectors = [vector / np.linalg.norm(vector) for vector in rng.standard_normal((5, 16))]
    assert decoded_sum(vectors, quiet) == pytest.approx(np.sum(vectors, axis=0), abs=1e-5)


def test_canaries_are_as_long_as_clipping_allows_and_no_longer(quiet, monkeypatch):
    seen = []
    monkeypatch.setattr("simulations.attacks.canaries.decoded_sum", lambda v, m: seen.extend(v) or np.zeros(m.length))
    plant(12, 5, quiet, np.array([True, False]))
    lengths = [float(np.linalg.norm(vector)) for vector in seen]
    assert lengths[:5] == pytest.approx([sensitivity()] * 5)
    assert max(lengths) <= sensitivity()
    assert lengths[5:] == [0.0] * 7  # tails, and two who fill no group


def test_without_noise_every_coin_is_seen(quiet):
    coins = np.array([True, False, True, True])
    assert plant(12, 3, quiet, coins).scores == pytest.approx(coins.astype(float), abs=1e-5)


def test_without_noise_the_claim_is_refuted():
    """All of 32 surest guesses of 64 coins right, so that no chance is left."""
    quiet = replace(plan(length=40, people=40, honest=40, epsilon=1.0, delta=DELTA), share_variance=0)
    assert epsilon_of(audit_one_run(40, 1, quiet, np.random.default_rng(0)).mu(), DELTA) > 1.0


def test_with_noise_the_claim_stands(mechanism):
    claim = epsilon([central(mechanism, survivors=12, colluders=0)], delta=DELTA)
    assert epsilon_of(audit_one_run(12, 1, mechanism, np.random.default_rng(1)).mu(ALARM), DELTA) <= claim


def test_rounds_with_a_sixth_of_the_noise_are_caught():
    """Rounds of 3 whose true μ is six times the claimed one: three people's coin has 3.9, and 60 rounds show it."""
    honest = plan(length=4, people=3, honest=3, epsilon=1.0, delta=DELTA)
    claim = math.sqrt(2 * rho(central(honest, survivors=3, colluders=0)))
    rng = np.random.default_rng(2)
    broken = replace(honest, share_variance=honest.share_variance // 36)
    assert audit_many_runs(60, 3, broken, rng).mu() > claim
    assert audit_many_runs(60, 3, honest, rng).mu(ALARM) <= claim


def test_a_device_without_its_own_noise_is_caught():
    own = plan(length=4, people=128, honest=70, epsilon=1.0, delta=DELTA)
    claim = math.sqrt(2 * rho(central(own, survivors=1, colluders=0)))
    rng = np.random.default_rng(3)
    assert audit_own_share(200, replace(own, share_variance=own.share_variance // 9), rng).mu() > claim
    assert 0.5 * claim < audit_own_share(400, own, rng).mu() < 1.3 * claim
