"""What a device keeps between two exchanges: comes back the same, goes on the same, and shows no secret."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.errors import ProtocolError
from common.secagg import Advertised, Confirmed, Done, Masked, Shared, read_state
from common.secagg.messages import Roster
from simulations.secagg import EXCHANGES, Round, new_cohort

PEOPLE = 5


@pytest.fixture(scope="module")
def cohort():
    return new_cohort(PEOPLE)


@pytest.fixture
def held(cohort):
    return Round(cohort, [np.full(8, number, np.uint32) for number in range(PEOPLE)])


FORMS = dict(zip([*EXCHANGES[1:], "done"], [Advertised, Shared, Masked, Confirmed, Done], strict=True))


def states(held):
    """A device's state after each exchange."""
    found = []
    while held.sum is None:
        held.hold()
        found.append(held.states[1])
    return found


def test_each_state_comes_back_the_same(held):
    found = states(held)
    assert [type(state) for state in found] == list(FORMS.values())
    for state in found:
        assert read_state(state.to_bytes()) == state
        assert type(state).from_bytes(state.to_bytes()) == state
        assert read_state(state.to_bytes()).to_bytes() == state.to_bytes()


def test_a_round_goes_on_from_stored_states(held):
    """Everybody is restarted between every two exchanges."""
    while held.sum is None:
        held.states = {number: read_state(state.to_bytes()) for number, state in held.states.items()}
        held.hold(silent=[4] if held.exchange == "masked" else [])
    assert held.sum.total.tolist() == [0 + 1 + 2 + 3] * 8


def test_stored_shares_that_did_not_decrypt_are_still_none(cohort, held):
    held.until("confirm")
    state = held.states[1]
    lacking = replace(state, held=(b"", *state.held[1:]))
    assert read_state(lacking.to_bytes()) == lacking


def test_nothing_secret_is_in_a_state_as_text(held):
    """A traceback or a log may show a state: not one of its secrets."""
    held.hold()
    first = held.states[1]
    secrets = [first.identity.secret, first.cipher_secret, first.mask_secret, first.self_seed]
    for state in [first, *states(held)]:
        text = repr(state)
        kept = [*secrets, *getattr(state, "held", ()), *getattr(getattr(state, "masked", None), "held", ())]
        assert kept
        for secret in kept:
            assert repr(secret) not in text
            assert repr(secret)[2:-1] not in text
            assert secret.hex() not in text


def test_own_secrets_are_forgotten_once_the_vector_is_masked(held):
    """Whoever takes the device afterwards finds others' shares, which open nothing alone, and not its own b."""
    held.hold()
    first = held.states[1]
    for state in states(held)[1:]:
        for secret in (first.cipher_secret, first.mask_secret, first.self_seed):
            assert secret not in state.to_bytes()
        assert isinstance(state, Masked | Confirmed | Done)


def test_after_the_last_exchange_nothing_is_left(held):
    done = states(held)[-1]
    assert len(done.to_bytes()) == 14 + 32


def without(items, gone):
    return tuple(item for item in items if item != gone)


def own_of(state):
    return next(item for item in state.roster.members if item.identity == state.advertised.identity.public)


APART = {
    "own device": (
        "confirm",
        lambda state: replace(state, identities=without(state.identities, state.identity.public)),
    ),
    "order": ("confirm", lambda state: replace(state, identities=state.identities[::-1])),
    "own vector": ("confirm", lambda state: replace(state, senders=state.senders - {state.own})),
    "a share too few": ("confirm", lambda state: replace(state, held=state.held[1:])),
    "a survivor from nowhere": (
        "unmask",
        lambda state: replace(
            state, masked=replace(state.masked, senders=state.survivors - {0}, held=state.masked.held)
        ),
    ),
    "own survival": ("unmask", lambda state: replace(state, survivors=state.survivors - {state.masked.own})),
    "own keys": ("masked", lambda state: replace(state, roster=Roster(without(state.roster.members, own_of(state))))),
}


@pytest.mark.parametrize(("exchange", "change"), APART.values(), ids=APART)
def test_parts_that_do_not_belong_together_are_refused(held, exchange, change):
    state = held.until(exchange).states[1]
    with pytest.raises(ProtocolError):
        read_state(change(state).to_bytes())


@pytest.mark.parametrize("data", [b"", b"SHOALAGG", bytes(14), b"SHOALAGG\1\1" + bytes(4), b"x" * 100])
def test_other_bytes_are_no_state(data):
    with pytest.raises(ProtocolError):
        read_state(data)


@pytest.mark.parametrize("exchange", EXCHANGES[1:])
def test_a_state_cut_anywhere_is_refused(held, exchange):
    data = held.until(exchange).states[1].to_bytes()
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            read_state(data[:end])
