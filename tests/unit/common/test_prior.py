"""What a prior must be: golden bytes, and every way in which a bad one is refused."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from common.errors import PriorError
from common.prior import (
    MAXIMUM_PAYLOAD,
    Cohort,
    Prior,
    SignedPrior,
    check_prior,
    decode_prior,
    encode_prior,
    open_prior,
    sign_prior,
)

VECTORS = Path(__file__).parents[2] / "vectors"
GOOD = sorted(VECTORS.glob("prior_good_*.json"))
BAD = sorted(VECTORS.glob("prior_bad_*.json"))
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def load(path):
    vector = json.loads(path.read_text())
    signed = SignedPrior(payload=bytes.fromhex(vector["payload"]), signature=bytes.fromhex(vector["signature"]))
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(vector["public_key"]))
    return vector, lambda: open_prior(signed, public_key=key, backbone=vector["backbone"], width=vector["width"])


def written_out(fields):
    """A prior from the plain JSON of a golden vector."""
    cohorts = tuple(
        Cohort(
            weight=cohort["weight"],
            mean=np.array(cohort["mean"]),
            basis=np.array(cohort["basis"]).reshape(len(cohort["mean"]), -1),
            spectrum=np.array(cohort["spectrum"], dtype=float),
            residual=cohort["residual"],
        )
        for cohort in fields["cohorts"]
    )
    plain = {name: fields[name] for name in ("backbone", "kind", "version", "people", "epsilon", "created")}
    basis = np.array(fields["public_basis"])
    return Prior(**plain, rounds=tuple(fields["rounds"]), public_basis=basis, cohorts=cohorts)


def some_prior(**changes):
    cohort = Cohort(
        weight=1.0,
        mean=np.array([0.5, -0.25, 0.0]),
        basis=np.eye(3)[:, :2],
        spectrum=np.array([2.0, 1.0]),
        residual=0.5,
    )
    prior = Prior(
        backbone="ab" * 32,
        kind="object",
        version=3,
        people=24,
        rounds=("r1", "r2"),
        public_basis=np.eye(5)[:, :3],
        cohorts=(cohort,),
        created="2025-01-31T12:00:00+00:00",
    )
    return replace(prior, **changes)


def with_cohort(**changes):
    prior = some_prior()
    return replace(prior, cohorts=(replace(prior.cohorts[0], **changes),))


def test_there_are_vectors_of_both_sorts():
    assert len(GOOD) >= 2
    assert len(BAD) >= 12


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_vector_is_encoded_to_these_very_bytes(path):
    vector, opened = load(path)
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector["private_key"]))
    signed = sign_prior(written_out(vector["prior"]), key)
    assert signed.payload.hex() == vector["payload"]
    assert signed.signature.hex() == vector["signature"]
    assert encode_prior(opened()) == signed.payload


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_vector_is_refused_for_its_reason(path):
    vector, opened = load(path)
    with pytest.raises(PriorError, match=vector["refusal"]):
        opened()


def test_a_decoded_prior_is_the_one_that_was_encoded():
    prior = some_prior(epsilon=0.1)
    again = decode_prior(encode_prior(prior))
    for name in ("backbone", "kind", "version", "people", "rounds", "epsilon", "created"):
        assert getattr(again, name) == getattr(prior, name)
    np.testing.assert_array_equal(again.public_basis, prior.public_basis)
    for name in ("weight", "mean", "basis", "spectrum", "residual"):
        np.testing.assert_array_equal(getattr(again.cohorts[0], name), getattr(prior.cohorts[0], name))


def test_one_flipped_bit_anywhere_breaks_the_signature():
    signed = sign_prior(some_prior(), KEY)
    for at in range(len(signed.payload)):
        payload = bytearray(signed.payload)
        payload[at] ^= 1
        with pytest.raises(PriorError, match="signature"):
            open_prior(
                replace(signed, payload=bytes(payload)), public_key=KEY.public_key(), backbone="ab" * 32, width=5
            )


def test_a_payload_is_measured_before_it_is_hashed():
    signed = SignedPrior(payload=bytes(MAXIMUM_PAYLOAD + 1), signature=bytes(64))
    with pytest.raises(PriorError, match="exceeds"):
        open_prior(signed, public_key=KEY.public_key(), backbone="ab" * 32, width=5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"SHOALPRI",
        pickle.dumps({"backbone": "x"}),
        b"SHOALPRI" + (1).to_bytes(4, "little") + (200_000).to_bytes(4, "little") + b"[" * 200_000,
        b"SHOALPRI" + (1).to_bytes(4, "little") + (9).to_bytes(4, "little") + b"1" * 9,
        b"SHOALPRI" + (1).to_bytes(4, "little") + (9000).to_bytes(4, "little") + b"1" * 9000,
        b"SHOALPRI" + (1).to_bytes(4, "little") + (0xFFFFFFFF).to_bytes(4, "little") + b"{}",
        bytes(MAXIMUM_PAYLOAD + 1),
    ],
    ids=["empty", "magic alone", "pickle", "nested", "number", "long number", "length 2^32-1", "too long"],
)
def test_hostile_bytes_are_refused(data):
    with pytest.raises(PriorError):
        decode_prior(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backbone", "AB" * 32),
        ("backbone", "ab" * 31),
        ("backbone", "ab" * 32 + "\n"),
        ("kind", "person"),
        ("version", 0),
        ("version", True),
        ("version", 1.0),
        ("people", 0),
        ("rounds", ("",)),
        ("rounds", ("../etc",)),
        ("rounds", (7,)),
        ("rounds", tuple(f"{index:064d}" for index in range(20_000))),
        ("epsilon", float("nan")),
        ("epsilon", float("inf")),
        ("epsilon", -1.0),
        ("epsilon", 1),
        ("created", "yesterday"),
        ("created", "2025-02-30T12:00:00+00:00"),
        ("created", "2025-01-31T12:00:00"),
        ("created", "٢٠٢٥-01-31T12:00:00Z"),
        ("cohorts", ()),
        ("public_basis", np.zeros(5)),
        ("public_basis", np.eye(65)),
        ("public_basis", np.zeros((8193, 1))),
    ],
)
def test_a_field_outside_its_alphabet_or_range_is_not_encoded(field, value):
    with pytest.raises(PriorError):
        encode_prior(some_prior(**{field: value}))


@pytest.mark.parametrize(
    ("prior", "reason"),
    [
        (some_prior(backbone="cd" * 32), "prior is for backbone cdcd"),
        (some_prior(public_basis=np.eye(6)[:, :3]), "shape"),
        (some_prior(public_basis=np.eye(5)[:, :3] * 1.001), "above 1"),
        (some_prior(public_basis=np.eye(5)[:, [0, 1, 1]]), "orthonormal"),
        (some_prior(public_basis=np.full((5, 3), np.nan)), "finite"),
        (some_prior(public_basis=np.full((5, 3), 1e300)), "above 1"),
        (some_prior(public_basis=np.eye(5)[:, :2]), "shapes"),
        (some_prior(cohorts=()), "0 cohorts"),
        (some_prior(cohorts=some_prior().cohorts * 17), "17 cohorts"),
        (some_prior(cohorts=some_prior().cohorts * 2), "sum to 2"),
        (with_cohort(weight=0.9), "sum to 0.9"),
        (with_cohort(weight=float("nan")), "weight"),
        (with_cohort(weight=-0.1), "weight"),
        (with_cohort(mean=np.array([0.0, np.nan, 0.0])), "mean"),
        (with_cohort(mean=np.array([0.0, np.inf, 0.0])), "mean"),
        (with_cohort(mean=np.full(3, 999.0)), "mean"),
        (with_cohort(mean=np.full(3, 1e200)), "mean"),
        (with_cohort(mean=np.zeros(4)), "shapes"),
        (with_cohort(spectrum=np.array([1.0, 2.0])), "order"),
        (with_cohort(spectrum=np.array([2.0, 0.0])), "spectrum"),
        (with_cohort(spectrum=np.array([2.0, -1.0])), "spectrum"),
        (with_cohort(spectrum=np.array([np.nan, 1.0])), "spectrum"),
        (with_cohort(spectrum=np.array([1e9, 1.0])), "spectrum"),
        (with_cohort(residual=0.0), "residual"),
        (with_cohort(residual=float("nan")), "residual"),
        (with_cohort(basis=np.eye(3)[:, [0, 0]]), "orthonormal"),
        (with_cohort(basis=np.full((3, 2), np.nan)), "finite"),
        (with_cohort(basis=np.eye(3)), "shapes"),
    ],
)
def test_numbers_out_of_bounds_are_refused_with_their_name(prior, reason):
    with pytest.raises(PriorError, match=reason):
        check_prior(prior, backbone="ab" * 32, width=5)


def test_a_good_prior_passes_and_single_precision_is_orthonormal_enough():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(768, 64)))[0].astype(np.float32).astype(np.float64)
    cohort = Cohort(weight=1.0, mean=np.zeros(64), basis=np.zeros((64, 0)), spectrum=np.zeros(0), residual=1e-4)
    check_prior(some_prior(public_basis=basis, cohorts=(cohort,)), backbone="ab" * 32, width=768)


def test_a_signature_made_for_something_else_is_no_signature_on_a_prior():
    payload = encode_prior(some_prior())
    signed = SignedPrior(payload=payload, signature=KEY.sign(payload))
    with pytest.raises(PriorError, match="signature"):
        open_prior(signed, public_key=KEY.public_key(), backbone="ab" * 32, width=5)


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_is_refused(length):
    signed = SignedPrior(payload=encode_prior(some_prior()), signature=bytes(length))
    with pytest.raises(PriorError, match="signature"):
        open_prior(signed, public_key=KEY.public_key(), backbone="ab" * 32, width=5)
