"""The daemon's side of a learning: starts the child process, hears what it tells, ends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from client.daemon.photo_set import PhotoSet
from client.daemon.subject import Subject

PROGRAM: Final = (sys.executable, "-P", "-m", "client.daemon.apprentice")
PAUSED, FAILED, UNUSABLE = 75, 1, 65
"""Exit codes: EX_TEMPFAIL and EX_DATAERR of sysexits.h, for who tries again and for who need not."""
PATIENCE: Final = 10.0
"""Seconds that a child may take to pause; then it is killed, and its last checkpoint counts."""
_LONGEST_TOLD: Final = 50


@dataclass(slots=True, eq=False)
class Pupil:
    """One learning under way; its fields are written by the thread that listens to the child."""

    watched: Subject
    photos: PhotoSet
    process: subprocess.Popen[str]
    wake: Callable[[], None]
    began: float = field(default_factory=time.monotonic)
    forwards: int = 0
    total: int = 0
    losses: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """Photos that were skipped, and the like."""
    problem: str = ""
    first: tuple[float, int] | None = None
    """When its first report came, and the forwards by then: what came before was loading."""
    _stopped: float | None = None

    def listen(self) -> None:
        """Take what the child tells, until it ends."""
        for answer in answers_of(self.process):
            self._take(answer)
            self.wake()
        self.process.wait()
        self.wake()

    @property
    def seconds_left(self) -> float | None:
        """How long it will take at most, by its pace so far; None before there is one."""
        if self.first is None or self.forwards <= self.first[1]:
            return None
        pace = (time.monotonic() - self.first[0]) / (self.forwards - self.first[1])
        return pace * (self.total - self.forwards)

    @property
    def ended(self) -> bool:
        """Whether the child is gone."""
        return self.process.poll() is not None

    @property
    def is_learned(self) -> bool:
        """Whether it ended with a concept in the vault."""
        return self.process.poll() == 0

    @property
    def is_unusable(self) -> bool:
        """Whether these photos can teach nothing, so that trying again is in vain."""
        return self.process.poll() == UNUSABLE

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to pause."""
        return self._stopped is not None

    def stop(self) -> None:
        """Ask the child to pause, by the end of its input; kill it where it does not in time."""
        if self._stopped is None:
            self._stopped = time.monotonic()
            close(self.process.stdin)
        elif time.monotonic() - self._stopped > PATIENCE:
            self.process.kill()

    def end(self) -> None:
        """Pause the child and wait until it is gone."""
        self.stop()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _take(self, answer: dict[str, Any]) -> None:
        if "says" in answer:
            self.told = [*self.told, str(answer["says"])][-_LONGEST_TOLD:]
        elif "problem" in answer:
            self.problem = str(answer["problem"])
        else:
            self.forwards, self.total = int(answer["forwards"]), int(answer["total"])
            self.losses = [float(loss) for loss in answer["losses"]]
            self.first = self.first or (time.monotonic(), self.forwards)


def start(
    watched: Subject, photos: PhotoSet, *, home: Path, model: str | None, key: str, forwards: int | None,
    wake: Callable[[], None],
) -> Pupil:  # fmt: skip
    """Start a learning.

    Args:
        watched: what is to be learned.
        photos: as they lay there when that was decided; of a taste, the choices.
        home: the state folder.
        model: which backbone; None for the default one.
        key: as `client.sealing.hand_down` gives it.
        forwards: budget in forward passes; None is the learner's own.
        wake: called whenever the child told something.
    """
    process = subprocess.Popen(  # noqa: S603 - our own program
        PROGRAM,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # libraries may quote what is private
        text=True,
        encoding="utf-8",
        env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
        start_new_session=True,  # Ctrl-C at the terminal is for the daemon, which then ends it in order
    )
    pupil = Pupil(watched, photos, process, wake)
    job = {
        "home": str(home), "folder": str(watched.folder), "name": watched.name, "kind": watched.kind,
        "class_word": watched.class_word, "model": model, "key": key, "forwards": forwards,
    }  # fmt: skip
    send(process.stdin, json.dumps(job) + "\n")
    threading.Thread(target=pupil.listen, name="pupil", daemon=True).start()
    return pupil


def answers_of(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """Give what a child tells until it ends; what a library of it printed in between is none of it."""
    for line in process.stdout or ():
        try:
            answer = json.loads(line)
        except ValueError:
            continue
        if isinstance(answer, dict):
            yield answer


def send(asking: IO[str] | None, line: str) -> None:
    """Tell a child something; one that ended already is told nothing."""
    try:
        if asking is not None:
            asking.write(line)
            asking.flush()
    except OSError:  # it ended at once: its exit code tells
        return


def close(asking: IO[str] | None) -> None:
    """End what a child hears, by which it knows that it is to end."""
    try:
        if asking is not None:
            asking.close()
    except OSError:
        return
