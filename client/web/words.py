"""Times and places as people write them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup, escape

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


def at_home(folder: Path | str) -> str:
    """Return a folder's path, with ~ for the person's own folder; `Path.expanduser` reads it back."""
    try:
        return str(Path("~") / Path(folder).relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(folder)


def told(text: str) -> Markup:
    """Return what the command line would say with its `commands` set as such; everything else stays text."""
    parts = (
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(text.split("`"))
    )
    return Markup("").join(parts)


def sentence(text: str) -> tuple[str, str]:
    """Return a reason as a heading, with a capital letter, and what follows its colon, mostly what to do."""
    first, _, rest = text.partition(": ")
    return first[:1].upper() + first[1:], rest
