"""The daemon's part in a federation: online while its conditions hold, by a child process that answers.

A thread of its own, because a round lasts seconds and learning hours. Nothing here decides what is answered: that is
`client.federation` and `client.contribution`, by the person's ledger, in the child (`client.daemon.attendant`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

from client.conditions import Machine, hindrances, in_words
from client.control import is_paused
from client.daemon.pupil import answers_of, close, send
from client.database import Database
from client.membership import is_member, read_membership
from client.sealing import hand_down
from client.settings import read_settings
from common.errors import ShoalError

PROGRAM: Final = (sys.executable, "-P", "-m", "client.daemon.attendant")
QUIET: Final = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
PATIENCE: Final = 20.0
"""Seconds that the child may take to sign off; then it is killed, and the server finds out by itself."""
STEP: Final = 1.0
"""Seconds between two looks at whether the child still runs."""
SHORTEST, LONGEST = 15.0, 900.0
"""Seconds until a server that could not be reached is tried again: doubled each time, half of it by chance."""
LOOK: Final = 30.0
"""Seconds between two looks at the conditions while offline."""
CHECK: Final = 10.0
"""Seconds between two looks at them while online."""
EARLY: Final = 120.0
"""Seconds before an operator's hour at which devices come online."""


class Rounds:
    """Keeps one device online when it may be."""

    def __init__(self, home: Path, machine: Machine, wake: Callable[[], None], chance: Random) -> None:
        """Prepare; `start` goes online.

        Args:
            home: the state folder.
            machine: whose conditions count.
            wake: called when `status` changed.
            chance: spreads devices over time.
        """
        self._home, self._machine, self._wake, self._chance = home, machine, wake, chance
        self._ended, self._look = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)
        self._delay = SHORTEST
        self.status = ""
        """How it stands, in words; empty for who never joined."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def look(self) -> None:
        """Look at once whether it may still be online: the person said something."""
        self._look.set()

    def close(self) -> None:
        """Sign off and end."""
        self._ended.set()
        self._look.set()
        self._thread.join(LOOK)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                if why := self._hindered():
                    self._say(why)
                    self._wait(LOOK)
                else:
                    self._attend()
            except ShoalError as error:
                self._say(str(error))
                self._wait(self._backoff())

    def _hindered(self) -> str | None:
        """Say why this device is not online now; None where it may be; empty for who never joined."""
        if not is_member(self._home):
            return "not joined"
        if is_paused(self._home):
            return "offline: paused"
        found = hindrances(read_settings(self._home).conditions, self._machine, "rounds")
        if found:
            return f"offline: {in_words(found)}"
        terms = read_membership(self._home).terms
        if not is_hour(terms.hours, terms.jitter_seconds + EARLY, datetime.now(UTC)):
            hours = ", ".join(f"{hour:02}:00" for hour in terms.hours)
            return f"offline until the next round: {terms.name} holds them at {hours} UTC"
        return None

    def _attend(self) -> None:
        """Have a child go online and answer, until something hinders."""
        terms = read_membership(self._home).terms
        self._say(f"about to connect to {terms.name}")
        if self._wait(self._chance.uniform(0, terms.jitter_seconds)):
            return
        with Database(self._home).transaction() as rows:
            job = json.dumps({"home": str(self._home), "key": hand_down(rows)})
        child = subprocess.Popen(  # noqa: S603 - our own program
            PROGRAM,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # Flower logs addresses
            text=True,
            encoding="utf-8",
            env=os.environ | QUIET,
            start_new_session=True,  # Ctrl-C at the terminal is for the daemon, which then ends it in order
        )
        try:
            send(child.stdin, job + "\n")
            threading.Thread(target=self._listen, args=(child,), name="attendant", daemon=True).start()
            self._watch(child)
        finally:
            close(child.stdin)
            try:
                child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if child.returncode:
            self._wait(self._backoff())

    def _watch(self, child: subprocess.Popen[str]) -> None:
        """Wait until the child ends or something hinders it."""
        looked = time.monotonic()
        while child.poll() is None and not self._ended.is_set():
            heard = self._wait(STEP)
            if heard or time.monotonic() - looked > CHECK:
                looked = time.monotonic()
                if self._hindered():
                    return

    def _listen(self, child: subprocess.Popen[str]) -> None:
        for answer in answers_of(child):
            said = str(answer.get("says", ""))
            if said.startswith("online"):
                self._delay = SHORTEST
            self._say(said)

    def _say(self, text: str) -> None:
        text = "" if text == "not joined" else text
        if text != self.status:
            self.status = text
            self._wake()

    def _wait(self, seconds: float) -> bool:
        """Wait, unless the person says something; return whether they did."""
        if self._look.wait(seconds):
            self._look.clear()
            return True
        return False

    def _backoff(self) -> float:
        now, self._delay = self._delay, min(LONGEST, 2 * self._delay)
        return now * self._chance.uniform(0.5, 1.0)


def is_hour(hours: tuple[int, ...], early: float, now: datetime) -> bool:
    """Tell whether a device should be online: any time where there are no hours, else within one and shortly before.

    Args:
        hours: UTC.
        early: seconds before the hour.
        now: in UTC.
    """
    second = 3600 * now.hour + 60 * now.minute + now.second
    return not hours or any((second - 3600 * hour + early) % 86400 < early + 3600 for hour in hours)
