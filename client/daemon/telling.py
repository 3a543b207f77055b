"""What the daemon does, in the words of `shoal status`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from client.activity import Activity
from client.settings import Watched
from client.sparkline import sparkline


def described(activity: Activity | None, watched: Sequence[Watched], *, paused: bool) -> Iterator[str]:
    """Give the lines that a person reads."""
    if activity is None:
        yield "not running: `shoal service install` keeps it running, `shoal daemon` runs it here"
        if paused:
            yield "paused: `shoal resume`"
    else:
        concept = "" if activity.concept is None else f" <{activity.concept}>"
        yield f"{activity.doing}{concept} for {duration(time.time() - activity.since)}: {activity.reason}"
        if activity.total_forwards:
            yield _progress(activity)
        yield from (f"! {problem}" for problem in activity.problems)
        if activity.federation:
            yield f"federation: {activity.federation}"
        if activity.page:
            yield f"page: {activity.page}, opened by `shoal open`"
    for one in watched:
        yield f"watches {one.folder} for <{one.name}>"


def duration(seconds: float) -> str:
    """Return a time span as people say it: 40 s, 12 min, 3 h 5 min."""
    if seconds < 60:
        return f"{max(0, seconds):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _progress(activity: Activity) -> str:
    told = f"{activity.forwards} of {activity.total_forwards} forwards"
    if activity.losses:
        told += f", loss {activity.losses[-1]:.4f} {sparkline(activity.losses)}"
    if activity.seconds_left is not None:
        told += f", at most {duration(activity.seconds_left)} left"
    return told
