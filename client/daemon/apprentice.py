"""`python -m client.daemon.apprentice`: learns one concept for the daemon in a process of its own, and ends.

What to learn, and the vault's key, come as one line of JSON on standard input, which nobody else can read as they
could a command line; how it goes leaves as lines of JSON on standard output. When standard input ends, the daemon
wants it to pause, or is gone: it writes a checkpoint and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from client.control import is_paused
from client.daemon.pupil import FAILED, PAUSED, UNUSABLE
from client.daemon.subject import TASTE
from client.sealing import inherit
from common.errors import PhotoError, ShoalError

if TYPE_CHECKING:
    from client.lesson import Listener

BETWEEN_REPORTS: Final = 0.5
"""Seconds; a small model takes a hundred steps a second."""
CALM: Final = 10
"""Niceness: whatever the person does comes first."""


def main() -> None:
    """Learn what is asked for; whatever was foreseen is told in a line of its own."""
    job = json.loads(sys.stdin.readline())
    ended = threading.Event()
    threading.Thread(target=_listen, args=(ended,), daemon=True).start()
    with contextlib.suppress(AttributeError, OSError):  # not on Windows
        os.nice(CALM)
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is no answer

    def tell(**answer: object) -> None:
        with contextlib.suppress(BrokenPipeError):  # the daemon is gone: `ended` says so too
            answers.write(json.dumps(answer) + "\n")
            answers.flush()

    code = 0
    try:
        inherit(job["key"])
        code = 0 if _learn(job, tell, ended.is_set) else PAUSED
    except PhotoError as error:
        tell(problem=str(error))
        code = UNUSABLE
    except ShoalError as error:
        tell(problem=str(error))
        code = FAILED
    os._exit(code)  # the thread that waits for the end of standard input holds its lock


def _learn(job: dict[str, Any], tell: Callable[..., None], ended: Callable[[], bool]) -> bool:
    """Learn, telling how it goes; return whether it came to its end."""
    from client.learn.settings import Progress  # noqa: PLC0415 - the model libraries, after the calm
    from client.lesson import Lesson, Listener, study  # noqa: PLC0415 - the same
    from client.quiet import quiet  # noqa: PLC0415 - the same

    quiet()
    home, told = Path(job["home"]), 0.0

    def progress(now: Progress) -> None:
        nonlocal told
        if time.monotonic() - told >= BETWEEN_REPORTS:
            told = time.monotonic()
            tell(forwards=now.forwards, total=now.total_forwards, losses=now.losses)

    listener = Listener(says=lambda text: tell(says=text), progress=progress, stop=lambda: ended() or is_paused(home))
    if job["kind"] == TASTE.kind:
        return _learn_taste(job, listener, tell)
    lesson = Lesson(
        photos=[Path(job["folder"])],
        name=job["name"],
        kind=job["kind"],
        class_word=job["class_word"],
        forwards=job["forwards"],
        again=True,
    )
    learned = study(lesson, job["model"], home, listener)
    tell(forwards=learned.forwards, total=learned.forwards, losses=learned.losses)
    return learned.reason != "paused"


def _learn_taste(job: dict[str, Any], listener: Listener, tell: Callable[..., None]) -> bool:
    """Learn the taste from all choices; return whether it came to its end, also because nothing is new."""
    from client.taste.lesson import study_taste  # noqa: PLC0415 - as above

    learned = study_taste(Path(job["home"]), job["model"], listener, forwards=job["forwards"])
    if learned is None:
        return True
    tell(forwards=learned.forwards, total=learned.forwards, losses=learned.losses)
    return learned.reason != "paused"


def _listen(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


if __name__ == "__main__":
    main()
