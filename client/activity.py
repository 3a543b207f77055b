"""What the daemon is doing now and why, or why it is not: written by it, read by `shoal status` and the page.

One small JSON file in the state folder, replaced whole at each change. It names the process that wrote it, so that
what a killed daemon left behind is known to be stale at once and not after some time-out. Of photos it names those that
were skipped, and it is deleted when the daemon ends.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

import psutil

from client.files import write_whole

FILE: Final = "activity.json"
Doing = Literal["starting", "waiting", "learning", "drawing", "paused"]
LONGEST_CURVE: Final = 60
"""Losses kept for a sparkline; more than fit on a line are thinned."""
_SAME_START: Final = 1.0
"""Seconds by which two readings of when a process began may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What the daemon is doing."""

    doing: Doing
    """``waiting``: for photos or for its conditions, see `reason`; ``paused``: the person said so; ``drawing``: samples
    of what was just learned."""
    reason: str
    """Why, in words for the person: "3 photos are new", "on battery"."""
    concept: str | None = None
    """The name of what is being learned, or is next to be."""
    forwards: int = 0
    """Forward passes done in this learning."""
    total_forwards: int = 0
    """The most that it will take; 0 while unknown."""
    losses: tuple[float, ...] = ()
    """Best validation losses so far, oldest first, at most `LONGEST_CURVE`."""
    seconds_left: float | None = None
    """At the most; None while unknown."""
    problems: tuple[str, ...] = ()
    """What the person should know: a photo that was skipped, a folder that is gone, and what to do about it."""
    page: str | None = None
    """Address of the web page on loopback, without its token; None where none is served."""
    federation: str = ""
    """In words: how it stands with rounds; empty for who never joined."""
    since: float = 0.0
    """When it began to do this, in seconds since 1970."""
    process: int = 0
    """Its process id."""
    started: float = 0.0
    """When that process began, by the system's account: ids are used again."""


def write_activity(home: Path, activity: Activity) -> None:
    """Say what this process, the daemon, is doing now; `process` and `started` are filled in.

    Raises:
        OSError: the file cannot be written.
    """
    values = asdict(activity) | {"process": os.getpid(), "started": psutil.Process().create_time()}
    values["since"] = activity.since or time.time()
    values["losses"] = thinned(activity.losses)
    content = json.dumps(values, indent=1).encode()
    write_whole(home / FILE, content, replace=True, mode=0o600)


def read_activity(home: Path) -> Activity | None:
    """Return what the daemon of this state folder is doing; None if none runs."""
    try:
        found = Activity(**_values((home / FILE).read_bytes()))
    except (OSError, ValueError, TypeError):  # never there, or of another version: nobody who could tell
        return None
    return found if _runs(found) else None


def clear_activity(home: Path) -> None:
    """Say that the daemon ended."""
    (home / FILE).unlink(missing_ok=True)


def thinned(losses: tuple[float, ...], most: int = LONGEST_CURVE) -> tuple[float, ...]:
    """Return at most so many of the losses, evenly spread, the first and the last among them."""
    count = len(losses)
    if count <= most:
        return losses
    return tuple(losses[round(i * (count - 1) / (most - 1))] for i in range(most))


def _values(data: bytes) -> dict[str, Any]:
    found = json.loads(data)
    if not isinstance(found, dict) or set(found) != {field.name for field in fields(Activity)}:
        raise ValueError("the activity is of another version")
    if found["doing"] not in get_args(Doing):
        raise ValueError("the activity is unknown")
    return found | {name: tuple(found[name]) for name in ("losses", "problems")}


def _runs(found: Activity) -> bool:
    try:
        process = psutil.Process(found.process)
        same = abs(process.create_time() - found.started) < _SAME_START
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)  # killed, and not yet collected
    except (psutil.Error, ValueError):
        return False
