from __future__ import annotations

import numpy as np
import pytest

from common.errors import ProtocolError
from common.messages import (
    ContributionReply,
    PriorNotice,
    PriorReply,
    ReadyQuery,
    ReadyReply,
    RoundCall,
    from_fields,
    pack_basis,
    pack_vector,
    to_fields,
    unpack_basis,
    unpack_vector,
)

BACKBONE = "ab" * 32
CALL = RoundCall(
    round_id="r1", kind="object", backbone=BACKBONE, prior_version=0, clip=2.0, public_basis=pack_basis(np.eye(8, 2))
)
MESSAGES = [
    ReadyQuery(kind="style", backbone=BACKBONE, prior_version=3),
    ReadyReply(ready=True),
    CALL,
    ContributionReply(contribution=b"12345678"),
    PriorNotice(backbone=BACKBONE, payload=b"payload", signature=bytes(64)),
    PriorReply(stored=False),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_fields_bring_a_message_back(message):
    assert from_fields(type(message), to_fields(message)) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_missing_unknown_and_mistyped_fields_are_refused(message):
    fields = to_fields(message)
    for name in fields:
        with pytest.raises(ProtocolError):
            from_fields(type(message), {key: value for key, value in fields.items() if key != name})
        for value in (None, [], object(), 1 if isinstance(fields[name], (bool, float)) else 0.5):
            with pytest.raises(ProtocolError):
                from_fields(type(message), {**fields, name: value})
    with pytest.raises(ProtocolError):
        from_fields(type(message), {**fields, "extra": 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "smell"),
        ("backbone", "AB" * 32),
        ("round_id", "../r1"),
        ("round_id", ""),
        ("prior_version", -1),
        ("prior_version", 1),  # with a basis, which only the first round carries
        ("clip", float("nan")),
        ("clip", float("inf")),
        ("clip", 0.0),
        ("public_basis", b""),
    ],
)
def test_a_call_out_of_bounds_is_refused(name, value):
    with pytest.raises(ProtocolError):
        from_fields(RoundCall, {**to_fields(CALL), name: value})


def test_a_basis_comes_back():
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 2)))[0].astype(np.float32)
    np.testing.assert_array_equal(unpack_basis(pack_basis(basis), width=8), basis)


@pytest.mark.parametrize("data", [b"", b"123", bytes(4 * 8 * 65), bytes(32), pack_basis(np.eye(9, 2))])
def test_a_basis_of_other_bytes_is_refused(data):
    with pytest.raises(ProtocolError):
        unpack_basis(data, width=8)


def test_a_vector_comes_back():
    vector = np.array([0.5, -1.0, 1e-300])
    np.testing.assert_array_equal(unpack_vector(pack_vector(vector), length=3, bound=2.0), vector)


@pytest.mark.parametrize(
    "vector",
    [
        [0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0],
        [0.0, np.nan, 0.0],
        [0.0, np.inf, 0.0],
        [1e308, 1e308, 1e308],
        [1.0, 1.0, 1.0001],
        [1.9, 0.0, 0.0],
    ],
)
def test_what_no_honest_device_sends_is_refused(vector):
    bound = np.sqrt(3.0)
    assert unpack_vector(pack_vector(np.ones(3)), length=3, bound=bound).sum() == 3.0
    with pytest.raises(ProtocolError):
        unpack_vector(pack_vector(np.array(vector)), length=3, bound=bound)
