"""One part kept running: started, started again when it dies, stopped with all that it started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from server.log import events

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from server.service.parts import Part

FIRST_WAIT: Final = 0.5
"""Seconds before a part that died is started again; twice as long each time,"""
LONGEST_WAIT: Final = 60.0
"""up to this,"""
SETTLED: Final = 60.0
"""and from the beginning once it ran so long."""
PATIENCE: Final = 15.0
"""Seconds for a part to end by itself when it is told to."""
LOG_BYTES: Final = 10 * 2**20
"""A log that is larger when its part starts is set aside; the one set aside before it is deleted."""
_PR_SET_PDEATHSIG: Final = 1
"""prctl(2), Linux."""
_LOG: Final = events("shoal.service")


class Keeper:
    """Keeps one part running."""

    def __init__(self, part: Part, logs: Path, now: Callable[[], float] = time.monotonic) -> None:
        """Prepare; `start` starts it."""
        self.part, self._logs, self._now = part, logs, now
        self._process: subprocess.Popen[bytes] | None = None
        self._began = self._again = 0.0
        self._wait = FIRST_WAIT
        self.restarts = 0
        """How often it died."""

    @property
    def pid(self) -> int | None:
        """Of the part; None while it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it, as the leader of a group of processes of its own, which ends with this process."""
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._logs / f"{self.part.name}.log"
        set_aside(path)
        with path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - ours
                self.part.command,
                env=dict(self.part.environment),
                cwd=self._logs.parent / "flower",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - no threads here
            )
        self._began = self._now()

    def check(self) -> bool:
        """Start it again if it died and its time has come; tell whether it runs."""
        if self._process is None or self._process.poll() is None:
            if self._process is not None and self._now() - self._began > SETTLED:
                self._wait = FIRST_WAIT
            return self._process is not None
        if not self._again:
            self._bury()
        if self._now() >= self._again:
            self._again = 0.0
            self.start()
            return True
        return False

    def ask_to_end(self) -> None:
        """Tell it and all that it started to end."""
        self._signal(signal.SIGTERM)

    def end(self, seconds: float = PATIENCE) -> None:
        """Wait until it has ended; what is left after that is killed."""
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _bury(self) -> None:
        """Note that it died, and end what it left behind."""
        process = self._process
        self._signal(signal.SIGKILL)
        self.restarts += 1
        self._again = self._now() + self._wait
        told = {"part": self.part.name, "code": process.returncode if process else None, "seconds": self._wait}
        _LOG.warning("a part ended: starting it again", log=str(self._logs / f"{self.part.name}.log"), **told)
        self._wait = min(2 * self._wait, LONGEST_WAIT)

    def _signal(self, number: int) -> None:
        """Send a signal to the part's group; the group may be gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def set_aside(log: Path) -> None:
    """Rename a log that grew too large, in the place of the one that was set aside before."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))


def _end_with_parent() -> None:
    """Ask Linux to end this process when the one that started it dies, however that dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
