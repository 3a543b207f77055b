"""Laws of the secure sum: it is the plain sum whoever drops out, and hostile bytes raise `ProtocolError` alone."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from functools import cache

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import AbortedRoundError, ConfigError, ProtocolError
from common.secagg import messages, read_state, secure_sum, topology
from common.secagg.masks import add_pair
from common.secagg.shares import join, split
from common.secagg.wire import Reader, pack_members
from simulations.secagg import EXCHANGES, Round, new_cohort

PEOPLE = 6
"""q = 5, t = 4."""
FORMS = [
    messages.Advertisement,
    messages.Roster,
    messages.Shares,
    messages.Delivery,
    messages.MaskedVector,
    messages.Survivors,
    messages.Confirmation,
    messages.UnmaskRequest,
    messages.Unmasking,
]


@cache
def cohort(people, bits=16):
    return new_cohort(people, modulus_bits=bits, length=3)


@cache
def rounds():
    """One true round, stopped before each exchange: states, requests and replies to be damaged."""
    found = {}
    for exchange in EXCHANGES:
        held = Round(cohort(PEOPLE), [np.full(3, number, np.uint32) for number in range(PEOPLE)]).until(exchange)
        found[exchange] = (held, dict(held.states), {number: held.answer(number) for number in held.requests})
    return found


@settings(max_examples=60)
@given(
    people=st.integers(3, 9),
    bits=st.sampled_from([8, 16, 24, 32]),
    data=st.data(),
)
def test_the_sum_is_the_plain_sum_of_whoever_sent_a_vector_or_there_is_none(people, bits, data):
    """Whoever drops out, wherever: below the quorum nothing is opened, and above it exactly the sum."""
    enrolled = cohort(people, bits)
    numbers = st.integers(0, (1 << bits) - 1)
    vectors = {one: data.draw(hnp.arrays(np.uint32, 3, elements=numbers)) for one in enrolled.identities}
    when = {one: data.draw(st.sampled_from([*EXCHANGES, "never", "never", "never"])) for one in enrolled.identities}
    silent = {f"drop_{name}": frozenset(one for one in when if when[one] == name) for name in EXCHANGES}
    left = {
        name: [one for one in when if [*EXCHANGES, "never"].index(when[one]) > at] for at, name in enumerate(EXCHANGES)
    }
    try:
        result = secure_sum(vectors, enrolled.rules, os.urandom, **silent)
    except AbortedRoundError:
        called = len(left["keys"])
        assert called < 3 or len(left["unmask"]) < topology(called).quorum
    else:
        quorum = topology(len(left["keys"])).quorum
        assert min(len(left["masked"]), len(left["confirm"])) >= quorum
        assert set(result.survivors) == set(left["masked"])
        plain = sum(vectors[one].astype(np.uint64) for one in left["masked"]) % (1 << bits)
        np.testing.assert_array_equal(result.total, plain)


@given(
    seeds=st.lists(st.binary(min_size=32, max_size=32), min_size=3, max_size=3, unique=True),
    digest=st.binary(min_size=32, max_size=32),
)
def test_pairwise_masks_cancel(seeds, digest):
    names = [bytes([at]) * 32 for at in range(3)]
    total = np.zeros(5, np.uint32)
    for secret, (one, two) in zip(seeds, [(0, 1), (0, 2), (1, 2)], strict=True):
        for own, other in ((one, two), (two, one)):
            total = add_pair(total, secret, digest, own=names[own], other=names[other])
    assert not total.any()


@settings(max_examples=50)
@given(secret=st.binary(min_size=32, max_size=32), data=st.data())
def test_any_threshold_of_shares_opens_the_secret(secret, data):
    quantity = data.draw(st.integers(2, 12))
    threshold = data.draw(st.integers(1, quantity))
    shares = dict(enumerate(split(secret, quantity, threshold), start=1))
    some = data.draw(st.sets(st.sampled_from(sorted(shares)), min_size=threshold))
    assert join({x: shares[x] for x in some}, threshold) == secret


@given(people=st.integers(1, 1024), data=st.data())
def test_a_set_of_members_comes_back(people, data):
    members = data.draw(st.frozensets(st.integers(0, people - 1), max_size=40))
    packed = pack_members(members, people)
    assert len(packed) == (people + 7) // 8
    assert Reader(packed).members(people) == members


# Bytes hostile to either side


def damaged(data, draw):
    """Cut, flip, insert, overwrite or double a stretch, a few times."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at, length = draw(st.integers(0, len(changed))), draw(st.integers(0, 40))
        match draw(st.sampled_from(["cut", "flip", "insert", "overwrite", "double", "drop"])):
            case "cut":
                del changed[at:]
            case "flip" if at < len(changed):
                changed[at] ^= draw(st.integers(1, 255))
            case "overwrite":
                changed[at : at + length] = draw(st.sampled_from([b"\0", b"\xff"])) * length
            case "double":
                changed[at:at] = changed[at : at + length]
            case "drop":
                del changed[at : at + length]
            case _:
                changed[at:at] = draw(st.binary(max_size=9))
    return bytes(changed)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@given(data=st.binary(max_size=700), prefix=st.booleans())
def test_random_bytes_are_read_or_refused(form, data, prefix):
    if prefix:
        data = b"SHOALAGG\1" + bytes([form.kind]) + len(data).to_bytes(4, "little") + data
    with contextlib.suppress(ProtocolError):
        assert form.from_bytes(data).to_bytes() == data


@given(data=st.binary(max_size=700), kind=st.integers(129, 133))
def test_random_bytes_of_a_state_are_read_or_refused(data, kind):
    for state in (data, b"SHOALAGG\1" + bytes([kind]) + len(data).to_bytes(4, "little") + data):
        with contextlib.suppress(ProtocolError):
            read_state(state)


@pytest.mark.parametrize("exchange", EXCHANGES[1:])
@settings(max_examples=60)
@given(data=st.data())
def test_a_device_answers_damaged_requests_with_a_proper_reply_or_a_refusal(exchange, data):
    """Whatever the bytes: the state stays, or the reply is well formed."""
    held, states, _ = rounds()[exchange]
    number = data.draw(st.integers(0, PEOPLE - 1))
    held.states = dict(states)
    request = damaged(held.requests[number], data.draw)
    try:
        reply = held.answer(number, request)
    except ProtocolError:
        assert held.states == states
    else:
        form = FORMS[2 * EXCHANGES.index(exchange)]
        assert form.from_bytes(reply).to_bytes() == reply


@pytest.mark.parametrize("exchange", EXCHANGES)
@settings(max_examples=60)
@given(data=st.data())
def test_a_server_drops_damaged_replies_and_their_senders_alone(exchange, data):
    held, _, replies = rounds()[exchange]
    number = data.draw(st.integers(0, PEOPLE - 1))
    reply = damaged(replies[number], data.draw)
    before = (held.exchange, held.gathered, held.requests, held.sum)
    try:
        held.gather(replies | {number: reply})
        after = held.sum or held.gathered
        assert set(after.dropped) <= {number}
        if held.sum:
            assert held.sum.total.tolist() == [15, 15, 15]
    finally:
        held.exchange, held.gathered, held.requests, held.sum = before


@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_state_goes_on_with_a_proper_reply_or_a_refusal(data):
    exchange = data.draw(st.sampled_from(EXCHANGES[1:]))
    held, states, _ = rounds()[exchange]
    number = data.draw(st.integers(0, PEOPLE - 1))
    with contextlib.suppress(ProtocolError, ConfigError):  # stored terms may be for vectors of another length
        held.states = {number: read_state(damaged(states[number].to_bytes(), data.draw))}
        held.answer(number)


@pytest.mark.parametrize("what", ["identity", "certificate", "cipher_key", "mask_key", "commitment", "signature"])
@settings(max_examples=10)
@given(data=st.data())
def test_no_field_of_anybodys_keys_can_be_changed(what, data):
    held, states, _ = rounds()["shares"]
    held.states = dict(states)
    members = list(messages.Roster.from_bytes(held.requests[0]).members)
    at = data.draw(st.integers(0, PEOPLE - 1))
    size = len(getattr(members[at], what))
    members[at] = replace(members[at], **{what: data.draw(st.binary(min_size=size, max_size=size))})
    with pytest.raises(ProtocolError):
        held.answer(0, messages.Roster(tuple(sorted(members, key=lambda one: one.identity))).to_bytes())
