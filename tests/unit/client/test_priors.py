from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.identity import keep_certificate, request_enrolment
from client.priors import (
    admit_backbone,
    current_prior,
    held_prior,
    held_version,
    keep_prior,
    receive_prior,
    width_of,
)
from common.enrolment import answer
from common.errors import PriorError, VaultError
from common.messages import PriorNotice
from common.prior import Cohort, Prior, sign_prior

WIDTH, DIMENSIONS = 12, 3
BACKBONE = "ab" * 32
OPERATOR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
BASIS = np.linalg.qr(np.random.default_rng(0).standard_normal((WIDTH, DIMENSIONS)))[0].astype(np.float32).astype(float)


@pytest.fixture
def folder(tmp_path):
    keep_certificate(tmp_path, answer(OPERATOR, request_enrolment(tmp_path, OPERATOR.public_key())))
    admit_backbone(tmp_path, BACKBONE, WIDTH)
    return tmp_path


def prior(version=1, **changes):
    cohort = Cohort(weight=1.0, mean=np.ones(DIMENSIONS), basis=np.eye(3, 1), spectrum=np.ones(1), residual=0.5)
    values = {
        "backbone": BACKBONE,
        "kind": "object",
        "version": version,
        "people": 9,
        "rounds": ("r1",),
        "public_basis": BASIS,
        "cohorts": (cohort,),
        "created": "2025-01-01T00:00:00+00:00",
    }
    return Prior(**{**values, **changes})


def notice(prior, key=OPERATOR):
    signed = sign_prior(prior, key)
    return PriorNotice(backbone=BACKBONE, payload=signed.payload, signature=signed.signature)


def test_a_good_prior_is_kept_and_a_newer_one_replaces_it(folder):
    assert current_prior(folder, BACKBONE, "object") is None
    receive_prior(folder, notice(prior(1)))
    receive_prior(folder, notice(prior(3)))
    assert current_prior(folder, BACKBONE, "object").version == 3
    receive_prior(folder, notice(prior(3)))  # the same again does no harm
    assert current_prior(folder, BACKBONE, "style") is None


def bad_priors():
    good = notice(prior(2))
    crooked = np.array(BASIS)
    crooked[:, 0] = crooked[:, 1]
    far = dataclasses.replace(prior().cohorts[0], mean=np.full(DIMENSIONS, 1e6))
    return {
        "a stranger's signature": notice(prior(2), STRANGER),
        "a bent payload": dataclasses.replace(good, payload=good.payload[:-1] + bytes([good.payload[-1] ^ 1])),
        "no prior at all": dataclasses.replace(good, payload=b"SHOALPRI"),
        "another backbone": notice(prior(2, backbone="cd" * 32)),
        "a backbone not in use": dataclasses.replace(notice(prior(2, backbone="cd" * 32)), backbone="cd" * 32),
        "a basis that is not orthonormal": notice(prior(2, public_basis=crooked)),
        "a huge basis": notice(prior(2, public_basis=1e3 * BASIS)),
        "another width": notice(prior(2, public_basis=np.eye(WIDTH + 1, DIMENSIONS))),
        "a mean out of bounds": notice(prior(2, cohorts=(far,))),
        "an older version": notice(prior(1, people=8)),
        "another prior of the same version": notice(prior(1, people=10)),
    }


@pytest.mark.parametrize("why", bad_priors())
def test_a_bad_prior_is_refused_and_the_last_good_one_kept(folder, why):
    receive_prior(folder, notice(prior(1)))
    with pytest.raises(PriorError):
        receive_prior(folder, bad_priors()[why])
    kept = current_prior(folder, BACKBONE, "object")
    assert (kept.version, kept.people) == (1, 9)


def test_a_prior_that_was_changed_on_the_disk_is_not_trusted(folder):
    keep_prior(folder, sign_prior(prior(5), STRANGER))
    with pytest.raises(PriorError, match="signature"):
        current_prior(folder, BACKBONE, "object")
    assert held_version(folder, BACKBONE, "object") == 0


def test_the_newest_prior_stays(folder):
    newer = sign_prior(prior(2), OPERATOR)
    keep_prior(folder, newer)
    keep_prior(folder, sign_prior(prior(1), OPERATOR))
    assert held_prior(folder, BACKBONE, "object") == newer
    assert held_prior(folder, BACKBONE, "style") is None
    assert (width_of(folder, BACKBONE), width_of(folder, "cd" * 32)) == (WIDTH, None)


def test_without_an_operator_no_prior_is_taken(tmp_path):
    admit_backbone(tmp_path, BACKBONE, WIDTH)
    with pytest.raises(VaultError, match="join first"):
        receive_prior(tmp_path, notice(prior(1)))
