"""Memory that is given back as soon as it is free.

glibc keeps blocks of up to 32 MB in its heap, in whose gaps a step's next, larger numbers do not fit: at 64 x 64 a
third of a gigabyte lay idle. While an engine computes, blocks from one megabyte on are mapped on their own and unmapped
when they are free. Fresh pages cost time; PyTorch asks for huge ones where THP_MEM_ALLOC_ENABLE is set (client.quiet).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

M_MMAP_THRESHOLD = -3
"""mallopt(3): blocks from so many bytes on are mapped on their own."""

TIGHT, USUAL = 2**20, 2**25
"""While computing; and where glibc's own threshold ends up in any process that has had large blocks."""


@contextmanager
def tight_memory() -> Iterator[None]:
    """Give large blocks back when they are free; nothing happens where the C library is another."""
    set_option = _mallopt()
    if set_option is None:
        yield
        return
    set_option(M_MMAP_THRESHOLD, TIGHT)
    try:
        yield
    finally:
        set_option(M_MMAP_THRESHOLD, USUAL)


@cache
def _mallopt() -> ctypes._NamedFuncPointer | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # musl has no such option
        return None
