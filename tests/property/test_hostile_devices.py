"""Fewer than a third of a round's devices lie: the sum is exact or there is none, and liars alone are proven."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import AbortedRoundError
from common.secagg import shares
from common.secagg.messages import Shares, Unmasking
from simulations.secagg import Round, new_cohort

PEOPLE, LIARS = 7, 2
"""q = 5, t = 4: two may be silent."""
COHORT = new_cohort(PEOPLE, length=4)
STARTED = Round(COHORT, [np.full(4, 1 << number, np.uint32) for number in range(PEOPLE)]).until("shares")
"""Before anything is shared; each example goes its own way from here."""
SOME = st.frozensets(st.integers(0, PEOPLE - 2))
"""Of a device's neighbours, by place."""


@st.composite
def stories(draw):
    """Give the liars, what each spoils when it shares and when it reveals, and who is silent at the end."""
    numbers = draw(st.permutations(range(PEOPLE)))
    liars = numbers[: draw(st.integers(0, LIARS))]
    lies = {liar: (draw(SOME), draw(st.booleans()), draw(SOME)) for liar in liars}
    silent = draw(st.frozensets(st.sampled_from(range(PEOPLE)), max_size=2))
    return lies, silent, draw(st.frozensets(st.sampled_from(range(PEOPLE)), max_size=1))


def spoiled(pieces, some):
    return tuple(os.urandom(len(piece)) if at in some else piece for at, piece in enumerate(pieces))


def share(held, liar, some, another):
    """Answer with some ciphertexts spoiled and, perhaps, with shares of other secrets than were announced."""
    with pytest.MonkeyPatch.context() as patch:
        if another:
            split = shares.split
            patch.setattr("common.secagg.client.shares.split", lambda _, *numbers: split(os.urandom(32), *numbers))
        sent = Shares.from_bytes(held.answer(liar))
    return replace(sent, sealed=spoiled(sent.sealed, some)).to_bytes()


def reveal(held, liar, some):
    said = Unmasking.from_bytes(held.answer(liar)).shares
    values = spoiled([value for _, value in said], some)
    return Unmasking(tuple((what or 1, value) for (what, _), value in zip(said, values, strict=True))).to_bytes()


@given(stories())
@settings(max_examples=60, deadline=None)
def test_the_sum_is_exact_or_there_is_none_and_nobody_honest_is_proven_a_liar(story):
    lies, silent, dropped = story
    held = STARTED.fork()
    held.gather({
        number: share(held, number, *lies[number][:2]) if number in lies else held.answer(number)
        for number in range(PEOPLE)
    })  # fmt: skip
    held.hold(silent=dropped)
    held.hold()
    replies = {
        number: reveal(held, number, lies[number][2]) if number in lies else held.answer(number)
        for number in held.requests
        if number not in silent
    }
    try:
        held.gather(replies)
    except AbortedRoundError as error:
        proven, doubted = error.blamed.keys(), error.doubted.keys()
        assert proven | doubted or len(replies) < PEOPLE
    else:
        assert held.sum.total.tolist() == [sum(1 << number for number in range(PEOPLE) if number not in dropped)] * 4
        proven, doubted = held.sum.blamed.keys(), set()
    assert proven <= lies.keys()
    assert not doubted or doubted & lies.keys() or len(lies) == LIARS
