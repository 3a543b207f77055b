"""Times in words."""

from __future__ import annotations

from datetime import UTC, datetime

_SIZES = ((86400, "day"), (3600, "hour"), (60, "minute"))


def lasting(seconds: float) -> str:
    """Return a length of time in one unit: "3 minutes"."""
    for size, word in _SIZES:
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {word}{'s' if count > 1 else ''}"
    return "under a minute"


def ago(at: str) -> str:
    """Return how long ago a row was written, from its time of day."""
    return f"{lasting((datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds())} ago"


def moment_of(at: str) -> str:
    """Return a row's date and time as a person would write them, in the time of this machine."""
    return f"{datetime.fromisoformat(at).astimezone():%d %B %Y, %H:%M}"
