"""The graph: regular, the same for all, and as safe as its docstring says, by an independent count."""

from __future__ import annotations

import hashlib
import os
from fractions import Fraction
from itertools import combinations, pairwise
from random import Random

import pytest
from scipy.stats import hypergeom

from common.errors import ProtocolError
from common.secagg.graph import COLLUDERS, DROPOUTS, Graph, Topology, _exceeds, draw_graph, topology

SPARSE = (440, 512, 1024)


def names(people):
    return sorted(hashlib.sha256(str(number).encode()).digest() for number in range(people))


@pytest.mark.parametrize(
    ("people", "degree", "threshold", "quorum", "present"),
    [
        (3, 2, 2, 3, 0),
        (4, 3, 2, 3, 0),
        (6, 5, 4, 5, 0),
        (8, 7, 5, 6, 0),
        (128, 127, 85, 86, 0),
        (422, 421, 281, 282, 0),
        (423, 208, 83, 283, 62),
        (440, 212, 85, 294, 63),
        (512, 226, 93, 342, 67),
        (1024, 266, 118, 683, 79),
    ],
)
def test_the_numbers_are_part_of_the_protocol(people, degree, threshold, quorum, present):
    """Every device must derive the same: these stand in docs/protocol.md."""
    expected = Topology(people=people, degree=degree, threshold=threshold, quorum=quorum, present=present)
    assert topology(people) == expected


@pytest.mark.parametrize("people", [-1, 0, 1, 2, 1025])
def test_other_numbers_of_people_are_refused(people):
    with pytest.raises(ProtocolError, match="allowed 3 to 1024"):
        topology(people)


@pytest.mark.parametrize("people", [*range(3, 60), 128, 300, *SPARSE])
def test_two_sets_cannot_both_be_confirmed_and_no_minority_opens_anything(people):
    numbers = topology(people)
    colluders = (people - 1) // 3 if not numbers.present else people // COLLUDERS
    assert 2 * numbers.quorum - people > colluders
    assert numbers.threshold > colluders * numbers.degree / people
    assert numbers.threshold <= numbers.quorum - 1


@pytest.mark.parametrize("people", SPARSE)
def test_a_sparse_graph_is_as_safe_as_promised(people):
    """The same tails from SciPy, in floating point."""
    numbers, half = topology(people), topology(people).degree // 2
    colluders, dropouts = people // COLLUDERS, people // DROPOUTS
    assert people * hypergeom.sf(numbers.present - 1, people, colluders, half) <= 2**-80 * 1.001
    assert people * hypergeom.sf(numbers.threshold - 1, people - 1, colluders, 2 * half) <= 2**-80 * 1.001
    assert people * hypergeom.sf(half - numbers.present, people, dropouts, half) <= 2**-20 * 1.001
    assert 2 * numbers.present >= numbers.threshold
    assert numbers.degree <= people / 2


@pytest.mark.parametrize("people", SPARSE)
def test_a_sparse_graph_is_no_denser_than_it_must_be(people):
    """With one neighbour fewer on each side, no w keeps both promises."""
    half = topology(people).degree // 2 - 1
    colluders, dropouts = people // COLLUDERS, people // DROPOUTS
    assert not any(
        people * hypergeom.sf(present - 1, people, colluders, half) <= 2**-80
        and people * hypergeom.sf(half - present, people, dropouts, half) <= 2**-20
        for present in range(1, half + 1)
    )


@pytest.mark.parametrize(("population", "marked", "draws"), [(7, 3, 4), (9, 4, 2), (6, 6, 3)])
def test_the_tail_is_that_of_an_enumeration(population, marked, draws):
    samples = list(combinations(range(population), draws))
    for least in range(draws + 1):
        chance = Fraction(sum(sum(one < marked for one in sample) >= least for sample in samples), len(samples))
        for bits in range(8):
            assert _exceeds(population, marked, draws, least, 5, bits) == (5 * chance > Fraction(1, 2**bits))


@pytest.mark.parametrize("people", [3, 10, 440])
def test_everybody_has_k_neighbours_who_have_it_too(people):
    graph = draw_graph(bytes(32), names(people))
    table = [graph.neighbours(at) for at in range(people)]
    for at, neighbours in enumerate(table):
        assert len(neighbours) == graph.topology.degree
        assert at not in neighbours
        assert list(neighbours) == sorted(set(neighbours))
        assert all(at in table[other] for other in neighbours)
        assert graph.closed_neighbourhood(at) == tuple(sorted((*neighbours, at)))


def test_the_circle_follows_from_the_transcript_alone():
    people = names(500)
    first, again, other = (draw_graph(digest, people).circle for digest in (bytes(32), bytes(32), b"\1" * 32))
    assert first == again
    assert first != other
    assert sorted(first) == list(range(500))
    key = [hashlib.sha256(b"shoal secagg circle 1\0" + bytes(32) + name).digest() for name in people]
    assert all(key[a] < key[b] for a, b in pairwise(first))


def connected(graph, present):
    """Whether the graph on those present is in one piece, by walking it."""
    todo, seen = [min(present)], {min(present)}
    while todo:
        found = present.intersection(graph.neighbours(todo.pop())) - seen
        seen |= found
        todo += found
    return seen == present


def ring(people, half, present):
    numbers = Topology(people=people, degree=2 * half, threshold=2, quorum=2 * people // 3 + 1, present=present)
    order = list(range(people))
    Random(people).shuffle(order)  # noqa: S311 - of a test
    return Graph(numbers, tuple(order))


def test_where_it_holds_together_no_colluders_can_cut_it():
    """Dropouts as the server likes, then w − 1 colluders at most in any stretch: the honest are in one piece."""
    source = Random(5)  # noqa: S311 - of a test
    graph = ring(30, 4, 3)
    tried = 0
    while tried < 50:
        present = frozenset(graph.circle) - frozenset(source.sample(graph.circle, source.randint(0, 9)))
        if not graph.holds_together(present):
            continue
        tried += 1
        colluders = set[int]()
        for at in source.sample(range(30), 30):
            stretches = [{graph.circle[(start + step) % 30] for step in range(4)} for start in range(at - 3, at + 1)]
            if all(len(colluders & stretch) < graph.topology.present - 1 for stretch in stretches):
                colluders.add(graph.circle[at])
        assert len(colluders) > 10
        assert connected(graph, present - colluders)


def test_a_gap_of_half_the_degree_cuts_it():
    """The test above has teeth: without the check, two gaps of k/2 leave two pieces."""
    graph = ring(30, 4, 3)
    gone = {graph.circle[at] for at in (0, 1, 2, 3, 15, 16, 17, 18)}
    rest = frozenset(graph.circle) - gone
    assert not graph.holds_together(rest)
    assert not connected(graph, rest)


def test_every_stretch_counts_the_one_around_the_end_too():
    graph = ring(30, 4, 3)
    for start in range(30):
        gone = {graph.circle[(start + step) % 30] for step in (0, 2)}
        assert not graph.holds_together(frozenset(graph.circle) - gone)
        assert graph.holds_together(frozenset(graph.circle) - {graph.circle[start]})


def test_a_complete_graph_always_holds_together():
    graph = draw_graph(os.urandom(32), names(9))
    assert graph.holds_together(frozenset({3, 4}))


def test_random_dropouts_rarely_end_a_round():
    """One in 5 drops out, 300 times: by the bound, a failure among them has a chance below 1 in 3,000."""
    source = Random(7)  # noqa: S311 - of a test
    graph = draw_graph(bytes(32), names(1024))
    for _ in range(300):
        assert graph.holds_together(frozenset(source.sample(range(1024), 1024 - 1024 // DROPOUTS)))


def test_the_bound_on_colluders_is_not_wasteful():
    """Half the threshold would be reached by chance: the tails are where they should be."""
    numbers = topology(1024)
    colluders = 1024 // COLLUDERS
    assert 1024 * hypergeom.sf(numbers.threshold // 2 - 1, 1023, colluders, numbers.degree) > 1e-2
