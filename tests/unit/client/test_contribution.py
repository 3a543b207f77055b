"""The only exit. The law on its size is in tests/property/test_sensitivity.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from client.contribution import Announcement, contribution, protect
from common.errors import ProtocolError, VaultError
from common.mixture import responsibilities
from common.prior import Cohort
from common.privacy import Mechanism, Randomness
from common.statistics import block_length, split

WIDTH, DIMENSIONS = 7, 3


def cohort(at, weight):
    return Cohort(
        weight=weight, mean=np.full(DIMENSIONS, at), basis=np.eye(DIMENSIONS)[:, :1], spectrum=np.ones(1), residual=0.5
    )


def announcement(**changes):
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(WIDTH, DIMENSIONS)))[0]
    announced = Announcement(
        round_id="r1",
        backbone="ab" * 32,
        kind="object",
        prior_version=0,
        public_basis=basis,
        cohorts=(),
        clip=2.0,
    )
    return replace(announced, **changes)


def test_before_the_first_prior_it_is_one_block_of_coordinates_and_squares():
    announced, delta = announcement(), np.linspace(-0.5, 0.5, WIDTH)
    (moments,) = split(contribution(delta, announced), DIMENSIONS, 1, 2.0)
    x = announced.public_basis.T @ delta
    assert moments.people == 1.0
    np.testing.assert_allclose(moments.sum_x, x, rtol=1e-14)
    np.testing.assert_allclose(moments.sum_xx, np.outer(x, x), rtol=1e-13)


def test_nothing_outside_the_public_basis_leaves():
    announced, delta = announcement(), np.linspace(-0.5, 0.5, WIDTH)
    basis = announced.public_basis
    inside = basis @ (basis.T @ delta)
    assert not np.allclose(inside, delta)
    np.testing.assert_allclose(contribution(delta, announced), contribution(inside, announced), atol=1e-14)


def test_responsibilities_are_those_of_the_clipped_coordinates():
    announced = announcement(cohorts=(cohort(0.1, 0.5), cohort(30.0, 0.5)))
    delta = announced.public_basis @ np.full(DIMENSIONS, 30.0)
    vector = contribution(delta, announced)
    assert vector.shape == (2 * block_length(DIMENSIONS),)
    near, far = split(vector, DIMENSIONS, 2, 2.0)
    clipped = np.full(DIMENSIONS, 2.0 / np.sqrt(DIMENSIONS))
    np.testing.assert_allclose([near.people, far.people], responsibilities(clipped, announced.cohorts), rtol=1e-9)
    assert near.people > 0.99


def test_single_precision_from_the_vault_is_welcome():
    delta = np.linspace(-0.5, 0.5, WIDTH, dtype=np.float32)
    assert contribution(delta, announcement()).dtype == np.float64


@pytest.mark.parametrize("delta", [np.full(WIDTH, np.nan), np.full(WIDTH, np.inf), np.zeros((1, WIDTH))])
def test_a_damaged_token_stays_home(delta):
    with pytest.raises(VaultError, match="learn it again"):
        contribution(delta, announcement())


@pytest.mark.parametrize(
    "changes",
    [
        {"clip": 0.0},
        {"clip": -1.0},
        {"clip": float("nan")},
        {"clip": float("inf")},
        {"clip": 1e-300},
        {"public_basis": np.eye(WIDTH + 1)[:, :DIMENSIONS]},
        {"public_basis": 10 * np.eye(WIDTH)[:, :DIMENSIONS]},
        {"public_basis": np.full((WIDTH, DIMENSIONS), np.nan)},
        {"cohorts": (cohort(0.0, 0.5),)},
        {"cohorts": (cohort(float("nan"), 1.0),)},
        {"cohorts": (replace(cohort(0.0, 1.0), residual=0.0),)},
        {"cohorts": (cohort(0.0, 1 / 17),) * 17},
    ],
)
def test_a_round_announced_with_nonsense_is_sat_out(changes):
    with pytest.raises(ProtocolError, match="sit this round out"):
        contribution(np.zeros(WIDTH), announcement(**changes))


def test_the_devices_own_share_of_the_noise_is_added_to_what_is_masked(monkeypatch):
    mechanism = Mechanism(length=10, scale=64.0, share_variance=42_000, modulus_bits=24)
    vector, seed = contribution(np.linspace(-0.5, 0.5, WIDTH), announcement()), bytes(32)

    def integers(share):
        monkeypatch.setattr("client.contribution.draw_share", lambda *_: np.full(mechanism.padded, share))
        return protect(vector, mechanism, seed, Randomness(bytes(32))).astype(np.int64)

    np.testing.assert_array_equal(
        integers(1000) - integers(0), np.full(16, 1000) - 2**24 * (integers(0) > 2**24 - 1001)
    )
    monkeypatch.undo()
    drawn = [protect(vector, mechanism, seed, Randomness()).astype(np.int64) for _ in range(200)]
    lifted = np.array(drawn) - 2**24 * (np.array(drawn) >= 2**23)
    # 3,200 draws of variance 42,000: 0.7 of it would be twelve standard errors away.
    assert abs(lifted.var(axis=0, ddof=1).mean() / 42_000 - 1) < 0.15


def test_several_vectors_contribute_their_mean_and_weigh_as_one():
    rows = np.random.default_rng(4).normal(size=(3, WIDTH))
    np.testing.assert_array_equal(
        contribution(rows.reshape(-1), announcement()), contribution(rows.mean(axis=0), announcement())
    )
