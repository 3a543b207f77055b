"""Who masks with whom: a k-regular graph that nobody chooses, and the thresholds that go with it.

Bell et al. (CCS 2020, ePrint 2020/704) replace the complete graph of Bonawitz et al. (2017) by a random k-regular
one with k = O(log n). As there, members are put on a circle in random order and each is joined to the k/2 before and
the k/2 behind it (a Harary graph). Here the order comes from a hash of the whole list of keys, so that every device
derives the same graph itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from math import comb
from typing import TYPE_CHECKING, Final

from common.errors import ProtocolError
from common.secagg.wire import MAXIMUM_PEOPLE

if TYPE_CHECKING:
    from collections.abc import Sequence

COLLUDERS: Final = 5
"""At most one member in 5 colludes with the server (γ = 1/5), where the graph is sparse."""
DROPOUTS: Final = 5
"""At most one member in 5 drops out (δ = 1/5), where the graph is sparse."""
SECRECY_BITS: Final = 80
"""The graph is unsafe with probability 2⁻⁸⁰ at most: 2⁻⁴⁰ even after a server has tried 2⁴⁰ lists of its own
colluders' keys, which would take a thousand cores some days, while a round lasts seconds."""
FAILURE_BITS: Final = 20
"""A round with as many dropouts as are tolerated, in random places, fails with probability 2⁻²⁰ at most."""
_DOMAIN: Final = b"shoal secagg circle 1\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The numbers that follow from n alone."""

    people: int
    """n, the members whose keys are on the list U1."""
    degree: int
    """k: neighbours of each member; n − 1 is the complete graph."""
    threshold: int
    """t: shares that open a secret."""
    quorum: int
    """q = ⌊2n/3⌋ + 1: sums of fewer survivors are never opened, fewer confirmations never unmasked."""
    present: int
    """w: survivors that every k/2 members in a row on the circle must have; 0 in the complete graph."""


@lru_cache(maxsize=64)
def topology(people: int) -> Topology:
    """Derive degree and thresholds for n members.

    **Complete graph** (k = n − 1, t = ⌊2n/3⌋): nothing is left to chance. Fewer than n/3 colluders cannot open a
    secret, and no two sets U3 gather q confirmations each, since honest devices sign one only and 2q − n > n/3. Up to
    n − q dropouts are tolerated, wherever they are.

    **Sparse graph**, where it at least halves the neighbours: m = k/2 is the smallest number for which there are w
    and t such that, with c = ⌊n/5⌋ colluders and d = ⌊n/5⌋ dropouts (X ~ Hypergeometric(population, marked, draws)),

        n · Pr[X(n, c, m) ≥ w] ≤ 2⁻⁸⁰       no m members in a row have w colluders among them, so that w survivors
                                            among any m hold the honest ones together: see `Graph.holds_together`
        n · Pr[X(n − 1, c, 2m) ≥ t] ≤ 2⁻⁸⁰  no member has t colluding neighbours, who could open its secrets
        n · Pr[X(n, d, m) > m − w] ≤ 2⁻²⁰   every m in a row keep w survivors; then every member keeps 2w ≥ t
                                            neighbours, and the sum can be opened

    each a union bound over n members, of the exact tail. Bell et al. ask the same of colluders (their section 3) but
    let the dropouts fall at random; here the device checks w itself, so that a server which chooses who "dropped out"
    cannot cut the graph in pieces and learn the sum of each.

    Raises:
        ProtocolError: fewer than 3 or more than 1,024 members.
    """
    if not 3 <= people <= MAXIMUM_PEOPLE:
        raise ProtocolError(f"a sum of {people} people, allowed 3 to {MAXIMUM_PEOPLE}: take no part")
    quorum = 2 * people // 3 + 1
    colluders, dropouts = people // COLLUDERS, people // DROPOUTS
    for half in range(1, people // 4):
        present = _threshold(people, colluders, half, people)
        if present is None or _exceeds(people, dropouts, half, half - present + 1, people, FAILURE_BITS):
            continue
        threshold = _threshold(people - 1, colluders, 2 * half, people)
        if threshold is not None:
            return Topology(people=people, degree=2 * half, threshold=threshold, quorum=quorum, present=present)
    return Topology(people=people, degree=people - 1, threshold=quorum - 1, quorum=quorum, present=0)


def _threshold(population: int, marked: int, draws: int, samples: int) -> int | None:
    """Give the least number of marked, above the mean, that none of the samples has but with probability 2⁻⁸⁰.

    The tail is summed from its far end, so that one pass finds it. None where even a sample of marked alone is likely.
    """
    ways, whole = 0, comb(population, draws)
    for count in range(min(marked, draws), draws * marked // population, -1):
        ways += _ways(population, marked, draws, count)
        if samples * ways << SECRECY_BITS > whole:
            return count + 1 if count < draws else None
    return draws * marked // population + 1


def _exceeds(population: int, marked: int, draws: int, least: int, samples: int, bits: int) -> bool:
    """Say whether samples · Pr[X ≥ least] > 2^−bits for X hypergeometric: exactly, in integers."""
    most = min(marked, draws)
    ways = sum(_ways(population, marked, draws, count) for count in range(least, most + 1))
    return samples * ways << bits > comb(population, draws)


def _ways(population: int, marked: int, draws: int, count: int) -> int:
    return comb(marked, count) * comb(population - marked, draws - count)


@dataclass(frozen=True, slots=True)
class Graph:
    """Who is whose neighbour; members are numbered by their place on the list U1."""

    topology: Topology
    circle: tuple[int, ...]
    """The members in the order of the circle."""

    def neighbours(self, member: int) -> tuple[int, ...]:
        """Give N(member), ascending."""
        people, degree = self.topology.people, self.topology.degree
        if degree == people - 1:
            return tuple(other for other in range(people) if other != member)
        place, half = self.circle.index(member), degree // 2
        steps = (*range(-half, 0), *range(1, half + 1))
        return tuple(sorted(self.circle[(place + step) % people] for step in steps))

    def closed_neighbourhood(self, member: int) -> tuple[int, ...]:
        """Give N(member) and the member itself, ascending; the i-th of them holds the share for x = i + 1."""
        return tuple(sorted((member, *self.neighbours(member))))

    def holds_together(self, present: frozenset[int]) -> bool:
        """Say whether every stretch of the circle has enough of those present.

        Then, whatever colluders do, honest survivors stay connected and only their total can be learned: to cut the
        circle takes k/2 members in a row of whom none is both honest and present, and with w present of whom fewer
        than w collude there is always one.
        """
        people, half = self.topology.people, self.topology.degree // 2
        if not self.topology.present:
            return True
        here = [member in present for member in self.circle]
        inside = sum(here[:half])
        for at in range(people):
            if inside < self.topology.present:
                return False
            inside += here[(at + half) % people] - here[at]
        return True


def draw_graph(transcript: bytes, identities: Sequence[bytes]) -> Graph:
    """Derive the graph from the digest of the list U1: members stand on the circle in the order of their hashes."""
    places = [hashlib.sha256(_DOMAIN + transcript + identity).digest() for identity in identities]
    circle = sorted(range(len(identities)), key=places.__getitem__)
    return Graph(topology(len(identities)), tuple(circle))
