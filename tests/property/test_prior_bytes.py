"""The law of a prior's bytes: they come back the same, and hostile ones raise `PriorError` and nothing else."""

from __future__ import annotations

import contextlib
import json
import struct
from dataclasses import replace

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import PriorError
from common.prior import Cohort, Prior, SignedPrior, check_prior, decode_prior, encode_prior, open_prior, sign_prior

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
BACKBONE = "ab" * 32
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
NAMES = st.text("09AZaz._-", min_size=1, max_size=64).filter(lambda name: name[0].isalnum())


@st.composite
def priors(draw, numbers=NUMBERS):
    """Every prior that has an encoding, sensible or not: what is sensible is `check_prior`'s to say."""
    width, dimensions = draw(st.integers(1, 6)), draw(st.integers(1, 4))

    def array(*shape):
        return draw(hnp.arrays(np.float64, shape, elements=numbers))

    def cohort():
        directions = draw(st.integers(0, dimensions))
        return Cohort(
            weight=draw(numbers),
            mean=array(dimensions),
            basis=array(dimensions, directions),
            spectrum=array(directions),
            residual=draw(numbers),
        )

    return Prior(
        backbone=draw(st.binary(min_size=32, max_size=32)).hex(),
        kind=draw(st.sampled_from(["object", "style", "taste"])),
        version=draw(st.integers(1, 2**31)),
        people=draw(st.integers(1, 2**31)),
        rounds=tuple(draw(st.lists(NAMES, max_size=4))),
        public_basis=array(width, dimensions),
        cohorts=tuple(cohort() for _ in range(draw(st.integers(1, 3)))),
        epsilon=draw(st.none() | st.floats(0, 1e6)),
        created=draw(st.datetimes()).isoformat() + "Z",
    )


GOOD = encode_prior(
    Prior(
        backbone=BACKBONE,
        kind="style",
        version=2,
        people=30,
        rounds=("r1",),
        public_basis=np.eye(4)[:, :2],
        cohorts=(Cohort(weight=1.0, mean=np.ones(2), basis=np.eye(2)[:, :1], spectrum=np.array([2.0]), residual=0.5),),
        created="2025-01-31T12:00:00+00:00",
    )
)
END = 16 + struct.unpack_from("<8sII", GOOD)[2]
HEADER = json.loads(GOOD[16:END])


def read(data):
    """Decode and check; anything but `PriorError` is a failure of the test."""
    with contextlib.suppress(PriorError):
        prior = decode_prior(data)
        check_prior(prior, backbone=prior.backbone, width=len(prior.public_basis))


@given(prior=priors())
def test_decoding_undoes_encoding(prior):
    data = encode_prior(prior)
    again = decode_prior(data)
    assert encode_prior(again) == data
    for name in ("backbone", "kind", "version", "people", "rounds", "epsilon", "created"):
        assert getattr(again, name) == getattr(prior, name)
    np.testing.assert_array_equal(again.public_basis, prior.public_basis)
    for left, right in zip(again.cohorts, prior.cohorts, strict=True):
        for name in ("weight", "mean", "basis", "spectrum", "residual"):
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


@given(prior=priors())
def test_whatever_the_numbers_are_checking_raises_nothing_but_prior_error(prior):
    with contextlib.suppress(PriorError):
        check_prior(prior, backbone=prior.backbone, width=len(prior.public_basis))
        assert np.all(np.isfinite(prior.public_basis))


@given(data=st.binary(max_size=300))
def test_random_bytes_are_refused(data):
    with pytest.raises(PriorError):
        decode_prior(data)


@given(data=st.data())
@settings(max_examples=300)
def test_damaged_bytes_are_read_or_refused(data):
    """Cut, flip, insert: what still decodes must be canonical."""
    damaged = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged)))
        match data.draw(st.sampled_from(["cut", "flip", "insert"])):
            case "cut":
                del damaged[at:]
            case "flip" if at < len(damaged):
                damaged[at] ^= data.draw(st.integers(1, 255))
            case _:
                damaged[at:at] = data.draw(st.binary(max_size=9))
    read(bytes(damaged))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(name=st.sampled_from(sorted(HEADER)), value=JSON)
@settings(max_examples=300)
def test_a_header_field_of_any_kind_is_read_or_refused(name, value):
    text = json.dumps(HEADER | {name: value}, sort_keys=True, separators=(",", ":")).encode("ascii")
    read(struct.pack("<8sII", b"SHOALPRI", 1, len(text)) + text + GOOD[END:])


@given(payload=st.binary(max_size=200) | st.just(GOOD), signature=st.binary(max_size=80))
def test_nobody_guesses_a_signature(payload, signature):
    with pytest.raises(PriorError, match="signature"):
        open_prior(SignedPrior(payload, signature), public_key=KEY.public_key(), backbone=BACKBONE, width=4)


@given(version=st.integers(1, 2**31))
def test_what_the_operator_signs_opens(version):
    prior = replace(decode_prior(GOOD), version=version)
    opened = open_prior(sign_prior(prior, KEY), public_key=KEY.public_key(), backbone=BACKBONE, width=4)
    assert opened.version == version
