"""A curve of losses on one line of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from client.activity import thinned

BARS: Final = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Return one character for each value, at most ``width``, from the lowest to the highest of them."""
    shown = thinned(tuple(values), width)
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(BARS[min(len(BARS) - 1, int(len(BARS) * (value - low) / span))] for value in shown)
