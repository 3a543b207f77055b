from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.contribution import Announcement, contribution
from client.federation import (
    OPERATOR_KEY,
    contribute,
    current_prior,
    enrol,
    is_ready,
    operator_key,
    receive_prior,
)
from client.vault import Concept, Vault
from common.errors import PriorError, ProtocolError, StaleRoundError, VaultError
from common.messages import PriorNotice, ReadyQuery, RoundCall, pack_basis
from common.prior import Cohort, Prior, SignedPrior, sign_prior

WIDTH, DIMENSIONS = 12, 3
BACKBONE = "ab" * 32
OPERATOR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
BASIS = np.linalg.qr(np.random.default_rng(0).standard_normal((WIDTH, DIMENSIONS)))[0].astype(np.float32).astype(float)
OTHER_BASIS = np.eye(WIDTH, DIMENSIONS)


@pytest.fixture
def folder(tmp_path):
    enrol(tmp_path, operator=OPERATOR.public_key(), backbone=BACKBONE, width=WIDTH)
    return tmp_path


def learn(folder, name="my-dog"):
    rng = np.random.default_rng(7)
    anchor, token = rng.standard_normal((2, WIDTH)).astype(np.float32)
    learned = Concept(
        name=name, kind="object", class_word="dog", backbone=BACKBONE, anchor=anchor, token=token, loss=0.1, forwards=9
    )
    Vault(folder).save_concept(learned)
    return learned


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


def call(version=0, round_id="r1", **changes):
    values = {
        "round_id": round_id,
        "kind": "object",
        "backbone": BACKBONE,
        "prior_version": version,
        "clip": 2.0,
        "public_basis": pack_basis(BASIS) if version == 0 else b"",
    }
    return RoundCall(**{**values, **changes})


def query(version=0, kind="object"):
    return ReadyQuery(kind=kind, backbone=BACKBONE, prior_version=version)


def test_a_pinned_key_is_never_replaced(folder):
    enrol(folder, operator=OPERATOR.public_key(), backbone=BACKBONE, width=WIDTH)
    with pytest.raises(VaultError, match="another operator"):
        enrol(folder, operator=STRANGER.public_key(), backbone=BACKBONE, width=WIDTH)
    assert operator_key(folder) == OPERATOR.public_key()


def test_a_damaged_key_is_a_reason_to_enrol_again(folder):
    (folder / OPERATOR_KEY).write_bytes(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    with pytest.raises(VaultError, match="enrol again"):
        operator_key(folder)


def test_nothing_leaves_before_enrolment(tmp_path):
    learn(tmp_path)
    assert not is_ready(tmp_path, query())
    with pytest.raises(VaultError, match="never joined"):
        contribute(tmp_path, call())
    assert Vault(tmp_path).pending("object", BACKBONE) is not None


def test_ready_means_pending_and_under_the_same_prior(folder):
    assert not is_ready(folder, query())
    learn(folder)
    assert is_ready(folder, query())
    assert not is_ready(folder, query(kind="style"))
    assert not is_ready(folder, query(version=1))
    receive_prior(folder, notice(prior(1)))
    assert is_ready(folder, query(version=1))
    assert not is_ready(folder, query())


def test_the_first_round_uses_the_basis_of_the_call(folder):
    learned = learn(folder)
    announced = Announcement(
        round_id="r1", backbone=BACKBONE, kind="object", prior_version=0, public_basis=BASIS, cohorts=(), clip=2.0
    )
    np.testing.assert_array_equal(contribute(folder, call()), contribution(learned.displacement, announced))


def test_later_rounds_use_basis_and_cohorts_of_the_prior_held(folder):
    learned, held = learn(folder), prior(1, public_basis=OTHER_BASIS)
    receive_prior(folder, notice(held))
    announced = Announcement(
        round_id="r1",
        backbone=BACKBONE,
        kind="object",
        prior_version=1,
        public_basis=OTHER_BASIS,
        cohorts=held.cohorts,
        clip=2.0,
    )
    np.testing.assert_array_equal(contribute(folder, call(1)), contribution(learned.displacement, announced))


def test_a_contribution_is_booked_before_it_is_returned(folder, monkeypatch):
    learn(folder)
    booked = []
    real = Vault.mark_contributed

    def crash(self, *arguments):
        real(self, *arguments)
        booked.append(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(Vault, "mark_contributed", crash)
    with pytest.raises(KeyboardInterrupt):
        contribute(folder, call())
    assert booked == [("my-dog", "r1", 0)]
    monkeypatch.undo()
    with pytest.raises(StaleRoundError):
        contribute(folder, call(round_id="r2"))


def test_one_concept_makes_one_contribution_and_one_round_gets_one_answer(folder):
    learn(folder, "a")
    contribute(folder, call())
    with pytest.raises(StaleRoundError):
        contribute(folder, call(round_id="r2"))
    learn(folder, "b")
    with pytest.raises(VaultError, match="counts once"):
        contribute(folder, call())
    contribute(folder, call(round_id="r3"))


def test_a_round_under_another_prior_gets_nothing_and_books_nothing(folder):
    learn(folder)
    with pytest.raises(StaleRoundError):
        contribute(folder, call(version=1))
    receive_prior(folder, notice(prior(1)))
    with pytest.raises(StaleRoundError):
        contribute(folder, call(version=0))
    assert Vault(folder).pending("object", BACKBONE) is not None


@pytest.mark.parametrize(
    "basis", [np.ones((WIDTH, 3)), 2 * BASIS, np.full((WIDTH, 3), np.nan), np.zeros((WIDTH + 1, 3))]
)
def test_a_call_with_an_unusable_basis_gets_nothing_and_books_nothing(folder, basis):
    learn(folder)
    with pytest.raises(ProtocolError):
        contribute(folder, call(public_basis=pack_basis(basis)))
    assert Vault(folder).pending("object", BACKBONE) is not None


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
    learn(folder)
    forged = sign_prior(prior(5), STRANGER)
    Vault(folder).save_prior(SignedPrior(payload=forged.payload, signature=forged.signature))
    with pytest.raises(PriorError, match="signature"):
        current_prior(folder, BACKBONE, "object")
    assert not is_ready(folder, query(version=5))
    with pytest.raises(PriorError):
        contribute(folder, call(version=5))
