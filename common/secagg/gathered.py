"""What the server has gathered after each exchange, and how it sorts good replies from others.

The server keeps these in memory alone: a round lives for seconds, and after a crash it is called anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from common.errors import AbortedRoundError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from common.secagg.graph import Graph
    from common.secagg.identity import Verify
    from common.secagg.messages import Roster, Shares
    from common.secagg.rules import Rules

Label = TypeVar("Label")
"""Whatever the transport knows a device by."""
_Reply = TypeVar("_Reply")

SILENT = "silent"
"""Why a device that sent nothing dropped out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysGathered(Generic[Label]):
    """After exchange 1: the list U1. Members are known by their place on it from here on."""

    rules: Rules
    roster: Roster
    labels: tuple[Label, ...]
    """Who is who on the roster."""
    digest: bytes
    """SHA-256 of the context and the roster: the transcript that everybody signs."""
    graph: Graph
    neighbours: tuple[tuple[int, ...], ...]
    """N(i) of each member."""
    dropped: dict[Label, str]
    """Who dropped out in this exchange, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesGathered(Generic[Label]):
    """After exchange 2: the set U2."""

    start: KeysGathered[Label]
    shares: dict[int, Shares]
    """Of each member of U2, in ascending order."""
    dropped: dict[Label, str]

    @property
    def senders(self) -> frozenset[int]:
        """Give U2."""
        return frozenset(self.shares)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedGathered(Generic[Label]):
    """After exchange 3: the set U3."""

    shared: SharesGathered[Label]
    survivors: frozenset[int]
    """U3."""
    masked: NDArray[np.uint32] = field(repr=False)
    """Σ y over U3 modulo 2³², shape (length,)."""
    dropped: dict[Label, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationsGathered(Generic[Label]):
    """After exchange 4: the set U4."""

    masked: MaskedGathered[Label]
    confirmers: frozenset[int]
    """U4."""
    dropped: dict[Label, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum(Generic[Label]):
    """After exchange 5: what the round was for."""

    total: NDArray[np.uint32]
    """Σ x over U3 modulo 2^bits, shape (length,)."""
    people: int
    """|U3|: how many vectors are in it."""
    survivors: tuple[Label, ...]
    """Whose vectors are in it."""
    dropped: dict[Label, str]
    """Who did not answer the last exchange, and why; their vectors are in the sum nevertheless."""
    blamed: dict[Label, str]
    """Who revealed, or had shared, so much that does not fit that it must have lied: `common.secagg.blame`. The sum is
    right all the same."""


def sort(
    start: KeysGathered[Label],
    expected: Iterable[int],
    replies: Mapping[Label, bytes],
    read: Callable[[bytes], _Reply],
    check: Callable[[int, _Reply], None],
) -> tuple[dict[int, _Reply], dict[Label, str]]:
    """Read and check the replies of those expected.

    Args:
        start: who is who.
        expected: who was asked, by place.
        replies: what came, by label; whoever was not asked is not looked at.
        read: decodes a reply, or raises `ProtocolError`.
        check: judges it for the member at that place, or raises `ProtocolError`.

    Returns:
        The good replies by place, ascending, and why each of the others dropped out.
    """
    found: dict[int, _Reply] = {}
    dropped: dict[Label, str] = {}
    for place in sorted(expected):
        label = start.labels[place]
        if label not in replies:
            dropped[label] = SILENT
            continue
        try:
            reply = read(replies[label])
            check(place, reply)
        except ProtocolError as error:
            dropped[label] = str(error)
        else:
            found[place] = reply
    return found, dropped


def check_signature(start: KeysGathered[Label], place: int, signature: bytes, message: bytes, verify: Verify) -> None:
    """Refuse a reply in which the member did not sign what was sent to it.

    Raises:
        ProtocolError: the signature is on something else, or by somebody else.
    """
    if not verify(start.roster.members[place].identity, signature, message):
        raise ProtocolError("a device signed another set than was sent to it: leave it out")


def check_quorum(start: KeysGathered[Label], members: frozenset[int], what: str) -> None:
    """Abort a round in which no device would go on.

    Raises:
        AbortedRoundError: fewer than the quorum or the announced minimum are left, or they would fall apart.
    """
    needed = max(start.graph.topology.quorum, start.rules.minimum_people)
    if len(members) < needed:
        raise AbortedRoundError(f"{len(members)} devices {what}, needed {needed}: call a new round")
    if not start.graph.holds_together(members):
        raise AbortedRoundError("those left would fall apart into groups: call a new round")
