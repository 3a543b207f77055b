"""Blame falls on liars while there are as few as the sum's secrecy assumes, whatever they say of whom."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import AbortedRoundError
from common.secagg import topology
from common.secagg.blame import FALSE_SHARING, Opened, judge
from common.secagg.messages import Unmasking
from common.secagg.shares import SHARE
from simulations.secagg import Round, new_cohort


def story(numbers, lies, *, silent=frozenset(), false=frozenset()):
    """Give what became of everybody's secrets in a complete graph, of a list of (owner, holder) that do not fit."""
    found = {}
    for owner in range(numbers.people):
        answered = set(range(numbers.people)) - {owner} - silent
        against = frozenset(holder for who, holder in lies if who == owner and holder in answered)
        good = len(answered) - len(against)
        found[owner] = Opened(good=good, contradicted=against, secret=good >= numbers.threshold and owner not in false)
    return found


@st.composite
def stories(draw, *, everybody_answers=False):
    """Fewer than n/3 liars, who say whatever they like of whomever they like, as owners and as holders."""
    people = draw(st.integers(4, 16))
    everybody = list(range(people))
    liars = set(draw(st.permutations(everybody))[: draw(st.integers(0, (people - 1) // 3))])
    pairs = [
        (owner, holder) for owner in everybody for holder in everybody if owner != holder and {owner, holder} & liars
    ]
    lies = draw(st.sets(st.sampled_from(pairs))) if pairs else set()
    silent = frozenset() if everybody_answers else frozenset(draw(st.sets(st.sampled_from(everybody))))
    false = draw(st.sets(st.sampled_from(sorted(liars)))) if liars else set()
    return topology(people), liars, story(topology(people), lies, silent=silent, false=false)


@given(stories())
@settings(max_examples=300, deadline=None)
def test_what_is_proven_is_proven_of_liars_alone(drawn):
    numbers, liars, found = drawn
    assert judge(numbers, found).proven.keys() <= liars


@given(stories(everybody_answers=True))
@settings(max_examples=300, deadline=None)
def test_where_all_answer_a_secret_that_fails_has_a_proven_liar_and_nobody_is_doubted(drawn):
    numbers, _, found = drawn
    blame = judge(numbers, found)
    assert bool(blame.proven) or all(one.secret for one in found.values())
    assert not blame.doubted


@given(stories())
@settings(max_examples=300, deadline=None)
def test_a_doubt_has_a_liar_in_it_and_of_one_word_against_one_doubts_both(drawn):
    numbers, liars, found = drawn
    doubted = judge(numbers, found).doubted.keys()
    against = {(owner, holder) for owner, one in found.items() for holder in one.contradicted}
    for honest in doubted - liars:
        others = {a + b - honest for a, b in against if honest in {a, b}}
        assert others <= liars
        assert len(others) >= 2 or others & doubted


def test_false_sharing_is_proven_by_the_shares_alone():
    numbers = topology(8)
    assert judge(numbers, story(numbers, [], false={3})).proven == {3: FALSE_SHARING}


def test_one_word_against_another_proves_nothing_and_doubts_both():
    """Two of eight are silent, so that one contradiction is enough to lose a secret."""
    numbers = topology(8)
    blame = judge(numbers, story(numbers, [(0, 1)], silent={6, 7}))
    assert not blame.proven
    assert blame.doubted.keys() == {0, 1}


def test_whoever_contradicts_everybody_is_the_liar_and_the_others_are_not_even_doubted():
    """With two silent, one liar's false shares lose everybody's secret: nobody but it is to blame."""
    numbers = topology(8)
    blame = judge(numbers, story(numbers, [(owner, 2) for owner in range(8) if owner != 2], silent={6, 7}))
    assert blame.proven.keys() == {2}
    assert not blame.doubted


def test_two_contradictions_of_three_needed_doubt_the_one_who_has_both():
    numbers = topology(8)
    blame = judge(numbers, story(numbers, [(0, 1), (0, 2)], silent={7}))
    assert not blame.proven
    assert blame.doubted.keys() == {0}


def test_a_lie_that_did_no_harm_is_no_ground_for_doubt():
    numbers = topology(8)
    blame = judge(numbers, story(numbers, [(0, 1)]))
    assert not blame.proven
    assert not blame.doubted


def test_a_secret_that_was_lost_by_a_proven_liar_alone_casts_no_doubt_on_others():
    """Its owner contradicts one more, which would have done no harm without the liar."""
    numbers = topology(8)
    lies = [(owner, 2) for owner in range(8) if owner != 2] + [(0, 1)]
    blame = judge(numbers, story(numbers, lies, silent={7}))
    assert blame.proven.keys() == {2}
    assert not blame.doubted


def test_in_a_sparse_graph_as_many_neighbours_as_open_a_secret_cannot_all_be_liars():
    numbers = topology(423)
    assert numbers.present
    few, many = (frozenset(range(1, count + 1)) for count in (numbers.threshold - 1, numbers.threshold))
    for against, proven in ((few, set()), (many, {0})):
        opened = {0: Opened(good=numbers.degree - len(against), contradicted=against, secret=True)}
        assert judge(numbers, opened).proven.keys() == proven


@pytest.fixture
def held():
    people = 8
    return Round(new_cohort(people), [np.full(8, number, np.uint32) for number in range(people)]).until("unmask")


def forge(reply):
    return Unmasking(tuple((what, os.urandom(SHARE)) for what, _ in Unmasking.from_bytes(reply).shares)).to_bytes()


def test_a_sum_that_opens_all_the_same_names_who_lied(held):
    held.hold(altered={2: forge(held.fork().answer(2))})
    assert held.sum.total.tolist() == [sum(range(8))] * 8
    assert held.sum.blamed.keys() == {2}


def test_more_liars_than_are_assumed_do_not_drag_everybody_with_them(held):
    """Three of eight is a third: the sum is lost, and still they alone are blamed."""
    replies = {number: held.answer(number) for number in range(8)}
    with pytest.raises(AbortedRoundError, match="cannot be opened") as caught:
        held.gather(replies | {number: forge(replies[number]) for number in range(3)})
    assert caught.value.blamed.keys() == {0, 1, 2}
    assert not caught.value.doubted
