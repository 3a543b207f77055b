"""When a run is due: a function of the time, the hours, and the runs that there were."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.control import Run

GRACE: Final = timedelta(hours=3)
"""A run that could not begin at its hour, because the machine was off, is held up to so much later."""
ATTEMPTS: Final = 5
"""A run that failed, as when a part was killed, is begun anew so often,"""
PAUSE: Final = timedelta(seconds=10)
"""not before so long after the last one began."""


def is_due(now: datetime, hours: Sequence[int], runs: Sequence[Run]) -> bool:
    """Tell whether a run is to be started.

    Args:
        now: with a time zone.
        hours: of the day, UTC.
        runs: those that the SuperLink knows.
    """
    slot = latest(now, hours)
    if slot is None or now - slot > GRACE or any(run.active for run in runs):
        return False
    since = [run for run in runs if datetime.fromisoformat(run.began) >= slot]
    if any(run.outcome != "failed" for run in since):
        return False
    last = max((datetime.fromisoformat(run.began) for run in since), default=slot - PAUSE)
    return len(since) < ATTEMPTS and now - last >= PAUSE


def latest(now: datetime, hours: Sequence[int]) -> datetime | None:
    """Give the latest scheduled time that is not in the future; None if nothing is scheduled."""
    today = now.replace(minute=0, second=0, microsecond=0)
    slots = [today.replace(hour=hour) - timedelta(days=day) for day in (0, 1) for hour in hours]
    return max((slot for slot in slots if slot <= now), default=None)


def following(now: datetime, hours: Sequence[int]) -> datetime | None:
    """Give the next scheduled time; None if nothing is scheduled."""
    today = now.replace(minute=0, second=0, microsecond=0)
    slots = [today.replace(hour=hour) + timedelta(days=day) for day in (0, 1) for hour in hours]
    return min((slot for slot in slots if slot > now), default=None)
