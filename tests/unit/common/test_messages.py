from __future__ import annotations

import numpy as np
import pytest

from common.errors import ProtocolError
from common.messages import (
    MAXIMUM_STEP,
    PriorNotice,
    PriorReply,
    ReadyQuery,
    ReadyReply,
    RoundCall,
    RoundStep,
    StepReply,
    from_fields,
    pack_basis,
    parameters,
    rules_of,
    to_fields,
    unpack_basis,
)
from common.privacy import Mechanism
from common.secagg import Rules

BACKBONE = "ab" * 32
OPERATOR = bytes(range(32))
CALL = RoundCall(
    round_id="r1",
    kind="object",
    backbone=BACKBONE,
    prior_version=0,
    prior_digest=b"",
    public_basis=pack_basis(np.eye(8, 2)),
    basis_digest=bytes(32),
    clip=2.0,
    minimum_people=8,
    length=6,
    scale=64.0,
    share_variance=1000,
    modulus_bits=24,
)
STEP = RoundStep(round_id="r1", context=bytes(32), request=b"request")
MESSAGES = [
    ReadyQuery(kind="style", backbone=BACKBONE, prior_version=3),
    ReadyReply(ready=True),
    CALL,
    STEP,
    StepReply(reply=b"12345678"),
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
        ("prior_digest", bytes(32)),
        ("basis_digest", bytes(31)),
        ("minimum_people", 2),
        ("minimum_people", 1025),
        ("length", 0),
        ("length", 2**16 + 1),
        ("scale", float("nan")),
        ("scale", 0.0),
        ("share_variance", -1),
        ("share_variance", 2**62),
        ("modulus_bits", 64),
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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("round_id", "a/b"),
        ("context", bytes(31)),
        ("request", bytes(MAXIMUM_STEP + 1)),
    ],
)
def test_a_step_out_of_bounds_is_refused(name, value):
    with pytest.raises(ProtocolError):
        from_fields(RoundStep, {**to_fields(STEP), name: value})


def test_a_reply_that_is_too_long_is_refused():
    with pytest.raises(ProtocolError):
        from_fields(StepReply, {"reply": bytes(MAXIMUM_STEP + 1)})


OTHER = {
    "round_id": "r2",
    "kind": "style",
    "backbone": "cd" * 32,
    "public_basis": pack_basis(np.eye(8, 3)),
    "basis_digest": bytes(range(32)),
    "clip": 2.0000000000000004,
    "minimum_people": 9,
    "length": 7,
    "scale": 64.5,
    "share_variance": 1001,
    "modulus_bits": 16,
}


@pytest.mark.parametrize("name", OTHER)
def test_whatever_is_announced_is_in_the_context(name):
    changed = from_fields(RoundCall, {**to_fields(CALL), name: OTHER[name]})
    assert rules_of(changed, OPERATOR).context != rules_of(CALL, OPERATOR).context


def test_the_prior_and_the_operator_are_in_the_context_too():
    later = {**to_fields(CALL), "public_basis": b"", "prior_version": 1, "prior_digest": bytes(32)}
    contexts = {
        rules_of(from_fields(RoundCall, {**later, **changes}), OPERATOR).context
        for changes in ({}, {"prior_version": 2}, {"prior_digest": bytes(range(32))})
    }
    assert len(contexts) == 3
    assert rules_of(CALL, bytes(32)).context != rules_of(CALL, OPERATOR).context


def test_terms_are_those_of_the_announcement():
    rules = rules_of(CALL, OPERATOR)
    assert (rules.minimum_people, rules.length, rules.modulus_bits, rules.operator) == (8, 8, 24, OPERATOR)
    assert isinstance(rules, Rules)
    assert CALL.mechanism() == Mechanism(length=6, scale=64.0, share_variance=1000, modulus_bits=24)


def test_the_canonical_bytes_stand():
    """Golden: another implementation must write the same."""
    data = parameters(CALL)
    assert data.startswith(bytes([0, 0, 0, 0, 0, 0, 0, 2]) + b"r1" + bytes([0, 0, 0, 0, 0, 0, 0, 6]) + b"object")
    assert data.endswith(bytes.fromhex("405000000000000000000000000003e80000000000000018"))
    assert len(data) == (8 + 2) + (8 + 6) + (8 + 64) + 8 + 8 + (8 + 64) + (8 + 32) + 8 + 8 + 8 + 8 + 8 + 8
