"""The secure sum of honest people: exact with dropouts at every exchange, or clearly none."""

from __future__ import annotations

import os

import numpy as np
import pytest

from common.errors import AbortedRoundError, ConfigError
from common.secagg import Topology, secure_sum, topology
from common.secagg.messages import MaskedVector
from simulations.secagg import EXCHANGES, Round, new_cohort

PEOPLE = 12
"""q = 9, t = 8."""


@pytest.fixture(scope="module")
def cohort():
    return new_cohort(PEOPLE)


def one_hot(number, length=8, value=1):
    """A value of one's own for each person, so that a loss or a replay shows as an impossible sum."""
    vector = np.zeros(length, np.uint32)
    vector[number % length] = value + (number // length) * 100
    return vector


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("count", [1, 3])
def test_the_sum_is_exact_with_dropouts_at(cohort, exchange, count):
    gone = set(cohort.identities[:count])
    vectors = {identity: one_hot(number) for number, identity in enumerate(cohort.identities)}
    result = secure_sum(vectors, cohort.rules, os.urandom, **{f"drop_{exchange}": gone})
    in_sum = gone.symmetric_difference(vectors) if exchange in {"keys", "shares", "masked"} else set(vectors)
    assert set(result.survivors) == in_sum
    assert result.people == len(in_sum)
    np.testing.assert_array_equal(result.total, sum(vectors[identity] for identity in in_sum))


def test_the_sum_is_exact_with_a_dropout_at_each_exchange():
    cohort = new_cohort(16)
    vectors = {identity: one_hot(number) for number, identity in enumerate(cohort.identities)}
    gone = {f"drop_{exchange}": {cohort.identities[at]} for at, exchange in enumerate(EXCHANGES)}
    result = secure_sum(vectors, cohort.rules, os.urandom, **gone)
    np.testing.assert_array_equal(result.total, sum(vectors[identity] for identity in cohort.identities[3:]))


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_the_sum_is_taken_modulo(bits):
    cohort = new_cohort(4, modulus_bits=bits, length=5)
    largest = np.full(5, (1 << bits) - 1, np.uint32)
    result = secure_sum(dict.fromkeys(cohort.identities, largest), cohort.rules, os.urandom)
    np.testing.assert_array_equal(result.total, np.full(5, (1 << bits) - 4, np.uint32))


@pytest.mark.parametrize("people", [3, 4, 5, 6, 7])
def test_small_groups(people):
    """With the most dropouts that are tolerated before the vectors are masked, after it, and at the end."""
    cohort = new_cohort(people)
    spare = people - topology(people).quorum
    for exchange in ("shares", "masked", "unmask"):
        held = Round(cohort, [one_hot(number) for number in range(people)]).until(exchange)
        held.hold(silent=range(spare))
        present = range(0 if exchange == "unmask" else spare, people)
        np.testing.assert_array_equal(held.finish().total, sum(held.vectors[number] for number in present))


@pytest.mark.parametrize(
    ("exchange", "because"),
    [
        ("keys", "8 devices sent keys, needed 9"),
        ("shares", "8 devices sent shares, needed 9"),
        ("masked", "8 devices sent masked vectors, needed 9"),
        ("confirm", "8 devices confirmed, needed 9"),
        ("unmask", "cannot be opened by those who answered"),
    ],
)
def test_below_the_quorum_no_sum_is_opened(exchange, because):
    held = Round(new_cohort(PEOPLE, minimum_people=9), [one_hot(number) for number in range(PEOPLE)]).until(exchange)
    silent = range(5 if exchange == "unmask" else 4)
    with pytest.raises(AbortedRoundError, match=because):
        held.hold(silent=silent)
    assert held.sum is None


def test_a_sum_has_at_least_the_announced_people():
    """q = 9 of 12 would do, but 11 were promised."""
    held = Round(new_cohort(PEOPLE, minimum_people=11), [one_hot(number) for number in range(PEOPLE)]).until("masked")
    with pytest.raises(AbortedRoundError, match="10 devices sent masked vectors, needed 11"):
        held.hold(silent=range(2))


def test_masked_vectors_tell_nothing_without_the_secrets(cohort):
    """The same vector masked in two rounds, and a vector of zeros, are as far apart as random bytes."""
    sent = []
    for _ in range(2):
        held = Round(new_cohort(4, length=4096), [np.zeros(4096, np.uint32)] * 4).until("masked")
        sent += [np.frombuffer(MaskedVector.from_bytes(held.answer(number)).vector, "<u2") for number in range(4)]
    stacked = np.array(sent, float) / 65536 - 0.5
    correlations = np.corrcoef(stacked) - np.eye(8)
    assert np.abs(correlations).max() < 0.1  # 1/√4096 = 0.0156 is one deviation: by chance once in 10⁹
    assert np.abs(stacked.mean(axis=1)).max() < 0.03  # 0.289/√4096 = 0.0045 is one deviation


def test_devices_without_their_masks_would_show_their_vectors(cohort, monkeypatch):
    """The test above has teeth: without masks, all of it is equal."""
    monkeypatch.setattr("common.secagg.client.masks.expand", lambda _, length: np.zeros(length, np.uint32))
    monkeypatch.setattr("common.secagg.client.masks.add_pair", lambda vector, *_, **__: vector)
    held = Round(new_cohort(4), [one_hot(number) for number in range(4)]).until("masked")
    sent = MaskedVector.from_bytes(held.answer(2)).vector
    assert np.frombuffer(sent, "<u2").tolist() == one_hot(2).tolist()


@pytest.mark.parametrize(
    "vector", [np.zeros(7, np.uint32), np.zeros(8, np.int64), np.zeros((8, 1), np.uint32)], ids=["length", "type", "2d"]
)
def test_a_vector_of_the_wrong_form_is_our_own_mistake(cohort, vector):
    held = Round(cohort, [vector] * PEOPLE).until("masked")
    with pytest.raises(ConfigError, match="encode it"):
        held.answer(0)


@pytest.fixture
def sparse(monkeypatch):
    """A round before its vectors are masked, as with 423 people or more: k = 8 neighbours of 23."""
    numbers = Topology(people=24, degree=8, threshold=4, quorum=17, present=2)
    monkeypatch.setattr("common.secagg.graph.topology", lambda _: numbers)
    return Round(new_cohort(24), [one_hot(number) for number in range(24)]).until("masked")


def test_dropouts_in_a_row_end_a_round_that_no_device_would_confirm(sparse):
    circle, labels = sparse.gathered.start.graph.circle, sparse.gathered.start.labels
    with pytest.raises(AbortedRoundError, match="fall apart into groups"):
        sparse.hold(silent=[labels[circle[at]] for at in range(3)])


def test_a_round_of_a_sparse_graph(sparse):
    """With dropouts at each of the last three exchanges."""
    held = sparse
    circle, labels = held.gathered.start.graph.circle, held.gathered.start.labels
    held.hold(silent=[labels[circle[at]] for at in (0, 1, 7, 12)])
    held.hold(silent=[labels[circle[3]]])
    held.hold(silent=[labels[circle[15]]])
    result = held.finish()
    np.testing.assert_array_equal(result.total, sum(one_hot(number) for number in result.survivors))
    assert result.people == 20


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_round_of_the_smallest_sparse_graph_there_is():
    """423 people with the protocol's own numbers, a fifth of them silent; signatures are believed, to save time."""
    people = 423
    held = Round(new_cohort(people), [one_hot(number) for number in range(people)], verify=lambda *_: True)
    assert topology(people).degree == 208
    held.hold()
    for gone in (range(30), range(30, 60), range(60, 72), range(72, people // 5)):
        held.hold(silent=gone)
    assert held.sum.people == people - 60
    np.testing.assert_array_equal(held.sum.total, sum(one_hot(number) for number in range(60, people)) & 0xFFFF)
