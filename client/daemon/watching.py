"""Wakes the daemon when the person says something, or when photos come or go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from watchfiles import Change, watch

from client.control import PAUSED
from client.membership import FILE as MEMBERSHIP
from client.settings import FILE as SETTINGS

CONTROL: Final = frozenset({PAUSED, SETTINGS, MEMBERSHIP})
"""Files of the state folder that the daemon heeds; it writes others itself."""
STEP_MS: Final = 250
"""How often the system's notices are collected: how soon a word is heard, and what waiting costs."""
SETTLE_MS: Final = 500


class Watcher:
    """A thread that calls `wake` at each change in the folders watched."""

    def __init__(self, home: Path, wake: Callable[[], None]) -> None:
        """Watch the state folder; nothing is started before `heed`."""
        self._home, self._wake = home.absolute(), wake
        self._folders: tuple[Path, ...] | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def heed(self, folders: Sequence[Path]) -> None:
        """Watch these folders too, from now on; those that are not there are left out until asked again."""
        there = tuple(sorted({folder for folder in folders if folder.is_dir()}))
        if there == self._folders and self._thread is not None and self._thread.is_alive():
            return
        self.close()
        self._folders, self._ended = there, threading.Event()
        self._thread = threading.Thread(target=self._run, args=(there, self._ended), name="watching", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Watch nothing more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, folders: tuple[Path, ...], ended: threading.Event) -> None:
        try:
            for _ in watch(
                self._home, *folders, watch_filter=self._matters, stop_event=ended, recursive=False,
                step=STEP_MS, debounce=SETTLE_MS, rust_timeout=60_000, raise_interrupt=False,
            ):  # fmt: skip
                self._wake()
        except OSError:  # a folder went away, or the system watches no more of them: the daemon looks by itself
            self._folders = None

    def _matters(self, _change: Change, path: str) -> bool:
        file = Path(path)
        return file.parent != self._home or file.name in CONTROL
