"""All parts together, and the runs: what `shoal-server serve` does until it is told to stop."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from common.errors import ConfigError
from server.admission import reconcile
from server.bundle import HASH_FILE, build_bundle
from server.control import control
from server.log import events
from server.roster import Roster
from server.service.keeper import Keeper, set_aside
from server.service.parts import ORDER, parts_of
from server.service.runs import BUNDLE, start_run
from server.service.schedule import is_due
from server.state import refresh_certificates
from server.succession import succession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from server.config import Config
    from server.control import Control, Run

START_SECONDS: Final = 120.0
"""For a part to come up: 5 s on an idle machine."""
LOOK_SECONDS: Final = 0.25
"""Between two looks at the parts."""
SCHEDULE_SECONDS: Final = 5.0
"""Between two looks at the schedule."""
PARTS_FILE: Final = "parts.json"
"""In the state folder while all are up; `parts-NAMES.json` for those of a `serve --only`."""
LOCK_FILE: Final = "serve.lock"
RUNS_LOG: Final = "runs.log"
"""Among the parts' logs: what the server apps of runs said."""
_LOG: Final = events("shoal.service")


class Supervisor:
    """The parts of one server, or some of them where the others run elsewhere, as in containers of their own."""

    def __init__(self, config: Config, only: frozenset[str] = frozenset()) -> None:
        """Prepare: certificates, the bundle, each part's command; nothing is started yet.

        Args:
            config: the operator's.
            only: names of parts; empty for all, and the runs.

        Raises:
            ConfigError: something is missing.
        """
        self._config, self._runs = config, not only or "runs" in only
        self._file = config.state / (f"parts-{'-'.join(sorted(only))}.json" if only else PARTS_FILE)
        if unknown := sorted(only - {*ORDER, "runs"}):
            raise ConfigError(f"there is no part {', '.join(unknown)}: there are {', '.join(ORDER)} and runs")
        config.run_settings()
        refresh_certificates(config)
        parts = [part for part in parts_of(config) if not only or part.name in only]
        self._keepers = [Keeper(part, config.state / "log") for part in parts]
        self._looked = self._reconciled = -float("inf")
        self._over: set[int] | None = None
        """Runs whose end was noticed; None before the first look."""
        self._shown = ""

    def run(self, stopped: Callable[[], bool]) -> None:
        """Keep everything running until told to stop, then stop it.

        Raises:
            ConfigError: another `serve` has this folder, or a part does not come up.
        """
        self._file.unlink(missing_ok=True)
        try:
            for keeper in self._keepers:
                keeper.start()
                self._await(keeper, stopped)
            _LOG.info("up", parts=[keeper.part.name for keeper in self._keepers])
            while not stopped():
                for keeper in self._keepers:
                    keeper.check()
                if self._runs:
                    self._look()
                self._show()
                time.sleep(LOOK_SECONDS)
        finally:
            self.stop()

    def stop(self) -> None:
        """Stop the parts, those first that need the others."""
        for keeper in reversed(self._keepers):
            keeper.ask_to_end()
            keeper.end()
        self._file.unlink(missing_ok=True)

    def _await(self, keeper: Keeper, stopped: Callable[[], bool]) -> None:
        end = time.monotonic() + START_SECONDS
        while not stopped() and not keeper.part.is_up():
            if time.monotonic() > end or keeper.pid is None:
                log = self._config.state / "log" / f"{keeper.part.name}.log"
                raise ConfigError(f"{keeper.part.name} does not come up: see {log}, or choose another port")
            time.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        """Bring the SuperLink's nodes in line with the roster once, and start a run where one is due."""
        now = time.monotonic()
        if now - self._looked < SCHEDULE_SECONDS:
            return
        self._looked = now
        try:
            if self._reconciled < 0:
                with Roster(self._config.state) as roster:
                    reconcile(self._config, roster)
                self._reconciled = now
            with control(self._config) as link:
                runs = link.runs()
                self._keep_what_they_said(link, runs)
            if is_due(datetime.now(UTC), self._config.schedule.hours, runs):
                _LOG.info("a run has begun", run=start_run(self._config))
        except ConfigError as error:
            _LOG.warning("no run", why=str(error))  # the SuperLink is just being started again

    def _keep_what_they_said(self, link: Control, runs: list[Run]) -> None:
        """Add the log of each run that came to its end to log/runs.log; the SuperLink alone has it otherwise."""
        over = {run.number: run.outcome for run in runs if not run.active}
        if self._over is not None:
            path = self._config.state / "log" / RUNS_LOG
            set_aside(path)
            for number in over.keys() - self._over:
                with path.open("a", encoding="utf-8") as file:
                    file.write(f"== run {number}: {over[number]}\n{link.said(number)}\n")
        self._over = over.keys() | (self._over or set())

    def _show(self) -> None:
        """Write down which parts run, for `shoal-server status`."""
        parts = [{"name": keeper.part.name, "pid": keeper.pid, "restarts": keeper.restarts} for keeper in self._keepers]
        if self._runs and self._file.name != PARTS_FILE:
            parts.append({"name": "runs", "pid": os.getpid(), "restarts": 0})
        text = json.dumps(parts)
        if text != self._shown:
            write_text(self._file, text)
            self._shown = text


def write_text(path: Path, text: str) -> None:
    """Write a file whole: whoever looks finds the old or the new one."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def serve(config: Config, only: frozenset[str] = frozenset()) -> None:
    """Run a server until SIGTERM or SIGINT.

    Raises:
        ConfigError: another `serve` has this folder, something is missing, or a part does not come up.
    """
    if not only or "runs" in only or "enrolment" in only:
        build(config)
    with _alone(config.state / (LOCK_FILE if not only else f"{'-'.join(sorted(only))}.lock")), _stopping() as stopped:
        Supervisor(config, only).run(stopped)


def build(config: Config) -> None:
    """Build the bundle of the Shoal that is installed, for runs and for the terms; one process at a time."""
    with (config.state / "build.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        bundle = build_bundle(config.state / "bundle", len(succession(config.state)))
        (config.state / BUNDLE).write_bytes(bundle)
        write_text(config.state / HASH_FILE, f"{hashlib.sha256(bundle).hexdigest()}\n")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock that only one `serve` can have; it goes with the process, however that ends."""
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"another `shoal-server serve` runs on {path.parent}: stop that one first") from error
        yield


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Give a question "is it to stop?", which SIGTERM and SIGINT answer."""
    asked = False

    def ask(_number: int, _frame: object) -> None:
        nonlocal asked
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            with suppress(TypeError):
                signal.signal(number, handler)
