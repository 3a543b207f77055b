"""Runs of our apps on the SuperLink: started by the schedule or by `shoal-server run-round`, one at a time."""

from __future__ import annotations

import fcntl
import time
from typing import TYPE_CHECKING, Final

from common.errors import ConfigError
from server.control import control

if TYPE_CHECKING:
    from server.config import Config
    from server.control import Run

BUNDLE: Final = "bundle.fab"
"""In the state folder: what `serve` built when it started."""
LOOK_SECONDS: Final = 1.0


def start_run(config: Config, rounds: int | None = None) -> int:
    """Start a run of so many rounds of each kind; give its number.

    Raises:
        ConfigError: a run goes on already, the SuperLink does not run, or the configuration lacks something.
    """
    settings = config.run_settings(rounds).to_run_config()
    try:
        bundle = (config.state / BUNDLE).read_bytes()
    except OSError as error:
        raise ConfigError(f"nothing was built yet: start `shoal-server serve {config.state}`") from error
    with (config.state / "run.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with control(config) as link:
            if active := [run.number for run in link.runs() if run.active]:
                raise ConfigError(f"run {active[0]} goes on already: wait until it is over")
            return link.start(bundle, settings)


def await_run(config: Config, number: int) -> Run:
    """Wait until a run is over, however long that takes; a SuperLink that is started again meanwhile is no end.

    Raises:
        ConfigError: the SuperLink does not know the run.
    """
    silent = 0
    while True:
        try:
            with control(config) as link:
                found = [run for run in link.runs() if run.number == number]
        except ConfigError:
            silent += 1
            if silent > 120:
                raise
        else:
            if not found:
                raise ConfigError(f"the SuperLink knows no run {number} any more: see its log")
            if not found[0].active:
                return found[0]
            silent = 0
        time.sleep(LOOK_SECONDS)
