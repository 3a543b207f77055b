"""What rounds cost in privacy, as the operator's books have it; each person's own ledger is what counts for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from common.crowd import colluders, fewest_survivors
from common.errors import ProtocolError
from common.privacy import Mechanism, RoundEvent, central, epsilon
from common.secagg.rules import MINIMUM_PEOPLE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from server.books import Entry

DELTA: Final = 1e-6
"""As devices count."""
FREE: Final = frozenset({"query.ready", "train.keys", "train.shares"})
"""A round that came no further than these has no vector of anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """One round's cost, and that of all up to it for somebody who was in every one."""

    round_id: str
    ended: datetime
    epsilon: float
    """Central ε of the round for each of its people; infinite without noise."""
    together: float
    """The same of this and all earlier rounds: nobody spent more here than that."""


def spending(entries: Iterable[Entry]) -> list[Spending]:
    """Account for rounds, oldest first; those in which nobody's vector left cost nothing and are not listed."""
    found: list[Spending] = []
    events: list[RoundEvent] = []
    for entry in entries:
        event = event_of(entry)
        if event is None:
            continue
        events.append(event)
        cost = _cost(event.mechanism, event.shares)
        together = math.inf if math.inf in {cost, *(one.epsilon for one in found[-1:])} else _together(events)
        found.append(Spending(round_id=entry.round_id, ended=entry.ended, epsilon=cost, together=together))
    return found


def event_of(entry: Entry) -> RoundEvent | None:
    """Say what happened to each person's vector in a round; None if none left a device.

    A round that was aborted later than that is counted as if it had been opened with the fewest that it may be.
    """
    if entry.state == "aborted" and (entry.exchange in FREE or not entry.called):
        return None
    people = entry.people or _fewest(entry.called)
    return central(entry.mechanism, survivors=people, colluders=colluders(max(entry.called, people)))


def _fewest(called: int) -> int:
    try:
        return fewest_survivors(called, MINIMUM_PEOPLE)
    except ProtocolError:
        return 1


@lru_cache(maxsize=4096)
def _cost(mechanism: Mechanism, shares: int) -> float:
    return epsilon([RoundEvent(mechanism=mechanism, shares=shares)], delta=DELTA)


def _together(events: list[RoundEvent]) -> float:
    return epsilon(events, delta=DELTA)
