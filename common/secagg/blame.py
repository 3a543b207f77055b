"""Who is to be left out of later sums because its secrets, or the shares it revealed, did not fit.

A share that does not open its owner's commitment, or that the holder says it never got, is a *contradiction*: the owner
lied when it shared, or the holder lies now. Only these two could tell, and neither can prove it without giving the
server keys that open more than this one share. So one contradiction proves nothing against anybody. Two things do:

* Shares that open their owner's own commitments make another secret than the owner announced. Commitments and secret
  are the owner's alone, whoever holds the shares.
* Somebody contradicts so many others that some of those must be honest: fewer than n/3 lie in a complete graph, and
  fewer than t of anybody's neighbours in a sparse one (`graph.topology`), which is what the sum's secrecy rests on.

Where all neighbours of a member answer, its secret fails only by one of these two: with t of k shares needed, it takes
k − t + 1 contradictions, which is as many. Where some are silent fewer will do, and it stays one word against another;
then those are *doubted* who would have to be the liars if there are as few as possible.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from common.secagg.graph import Topology

Label = TypeVar("Label")

FALSE_SHARING: Final = "the shares that it gave out open another secret than it announced"
"""Why the owner of such shares is to blame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame(Generic[Label]):
    """Whom to leave out, and why."""

    proven: dict[Label, str] = field(default_factory=dict)
    """Nobody honest is here while as few lie as the sum's secrecy assumes."""
    doubted: dict[Label, str] = field(default_factory=dict)
    """Somebody here lied, not everybody need have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What became of one member's secret."""

    good: int
    """Shares that opened their commitments."""
    contradicted: frozenset[int]
    """Holders who answered, and whose share did not."""
    secret: bool
    """It is there, and as announced."""


def judge(topology: Topology, opened: Mapping[int, Opened]) -> Blame[int]:
    """Say who is to blame, by place on the list U1.

    Args:
        topology: the round's numbers.
        opened: by owner, each member of U2.
    """
    proven = _too_many(topology, opened)
    proven |= {
        owner: FALSE_SHARING for owner, one in opened.items() if not one.secret and one.good >= topology.threshold
    }
    doubted = _fewest(_unexplained(topology, opened, proven.keys()))
    return Blame(
        proven=dict(sorted(proven.items())),
        doubted={place: f"it or one of {doubted[place]} others lied about a share" for place in sorted(doubted)},
    )


def _too_many(topology: Topology, opened: Mapping[int, Opened]) -> dict[int, str]:
    """Give who contradicts more others than can all be liars.

    Those who contradict most come first, and what they had a part in is then no longer counted against the others: so
    that more liars than are assumed still do not drag everybody with them.
    """
    pairs = {frozenset((owner, holder)) for owner, one in opened.items() for holder in one.contradicted}
    most = topology.threshold if topology.present else -(-topology.people // 3)
    found = dict[int, str]()
    while worst := {place: count for place, count in _worst(pairs).items() if count >= most}:
        found |= {
            place: f"it contradicts {count} others about shares, and not all of those can be liars"
            for place, count in worst.items()
        }
        pairs = {pair for pair in pairs if not pair & worst.keys()}
    return found


def _unexplained(topology: Topology, opened: Mapping[int, Opened], proven: AbstractSet[int]) -> set[frozenset[int]]:
    """Give the contradictions without which a secret would be open, and which no proven liar had a part in."""
    return {
        frozenset((owner, holder))
        for owner, one in opened.items()
        if not one.secret and owner not in proven and one.good + len(one.contradicted & proven) < topology.threshold
        for holder in one.contradicted - proven
    }


def _fewest(contradictions: set[frozenset[int]]) -> dict[int, int]:
    """Cover contradictions by few members: whoever has most of those left, all of them where several have as many.

    The usual greedy cover of edges by vertices. For an honest member to be in it takes two liars, or one who is in it
    as well.

    Returns:
        How many others each contradicts, by place.
    """
    left, found = set(contradictions), dict[int, int]()
    while left:
        worst = _worst(left)
        found |= worst
        left = {pair for pair in left if not pair & worst.keys()}
    return found


def _worst(pairs: set[frozenset[int]]) -> dict[int, int]:
    """Give whoever is in most of these pairs, and in how many."""
    counts = Counter(place for pair in pairs for place in pair)
    most = max(counts.values(), default=0)
    return {place: count for place, count in counts.items() if count == most}
