"""Learns the taste when the person says so on the page, in a child process that ends afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from client.activity import read_activity
from client.control import is_paused
from client.daemon.choice_set import look_at_choices
from client.daemon.pupil import Pupil, start
from client.daemon.subject import TASTE
from client.database import Database
from client.sealing import hand_down
from common.errors import ConfigError

BUSY: Final = "your taste is being learned already: this page tells when it is"


class Lessons:
    """The learning of one page; the daemon's own ones wait for its conditions, this one for nobody."""

    def __init__(self, home: Path, model: str | None, begin: Callable[..., Pupil] = start) -> None:
        """Learn on that model; nothing is started before `learn`."""
        self._home, self._model, self._begin = home, model, begin
        self._lock = threading.Lock()
        self.pupil: Pupil | None = None
        """The last one."""

    @property
    def running(self) -> bool:
        """Whether one is under way, here or in the daemon."""
        if self.pupil is not None and not self.pupil.ended:
            return True
        found = read_activity(self._home)
        return found is not None and found.doing == "learning" and found.concept == TASTE.name

    @property
    def problem(self) -> str:
        """Why the last one ended badly; empty where it did not."""
        pupil = self.pupil
        if pupil is None or not pupil.ended or pupil.is_learned or pupil.is_stopping:
            return ""
        return pupil.problem or "the learning ended unexpectedly, perhaps for lack of memory: try again"

    def learn(self) -> None:
        """Begin; return at once.

        Raises:
            ConfigError: it is paused, or learned, or being learned.
            VaultError: the vault's key cannot be had.
        """
        with self._lock:
            if self.running:
                raise ConfigError(BUSY)
            if is_paused(self._home):
                raise ConfigError("you paused everything: resume first, then learn your taste")
            found = look_at_choices(self._home, self._model)
            if not found.count:
                raise ConfigError("there is nothing new to learn: choose between some pictures first")
            with Database(self._home).transaction() as rows:
                key = hand_down(rows)
            self.pupil = self._begin(
                TASTE, found, home=self._home, model=self._model, key=key, forwards=None, wake=lambda: None
            )

    def stop(self) -> None:
        """Pause what this page began; it goes on from its checkpoint when it is begun again."""
        if self.pupil is not None and not self.pupil.ended:
            self.pupil.stop()

    def close(self) -> None:
        """Pause, and wait until the child is gone."""
        if self.pupil is not None and not self.pupil.ended:
            self.pupil.end()
