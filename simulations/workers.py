"""Processes that simulated people's work is shared out to."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from client.quiet import quiet


def workers(count: int) -> ProcessPoolExecutor:
    """Return so many processes, begun anew and not forked: threads of torch's do not come along."""
    return ProcessPoolExecutor(count, get_context("spawn"), initializer=quiet)
