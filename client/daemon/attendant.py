"""`python -m client.daemon.attendant`: this device's node in a process of its own, which is there only while online.

What Flower and the accountant of privacy load stays out of the daemon's memory, and Flower, which may interrupt its
own process, interrupts this one. Whose state and the vault's key come as one line of JSON on standard input; how it
stands leaves as lines of JSON on standard output. When standard input ends it signs off and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from client.app import app
from client.join import renew
from client.membership import read_membership
from client.node import joined
from client.sealing import inherit
from common.errors import ShoalError


def main() -> None:
    """Be online until told to end; whatever was foreseen is told in a line of its own."""
    job = json.loads(sys.stdin.readline())
    ended = threading.Event()
    threading.Thread(target=_listen, args=(ended,), daemon=True).start()
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is no answer

    def tell(text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # the daemon is gone: `ended` says so too
            answers.write(json.dumps({"says": text}) + "\n")
            answers.flush()

    code = 0
    try:
        inherit(job["key"])
        attend(Path(job["home"]), ended, tell)
    except ShoalError as error:
        tell(str(error))
        code = 1
    except Exception as error:  # noqa: BLE001 - Flower's and the network's own, whose text may be long and strange
        tell(f"the connection failed ({type(error).__name__}): it is tried again later")
        code = 1
    os._exit(code)  # the thread that waits for the end of standard input holds its lock


def attend(home: Path, ended: threading.Event, tell: Callable[[str], None]) -> None:
    """Take the operator's present terms, go online, and answer until ended.

    Raises:
        ShoalError: the server cannot be reached, does not accept this device, or asks for more than was agreed.
    """
    renew(home)
    membership = read_membership(home)
    with joined(membership, app, node_config={"state-folder": str(home)}) as node:
        tell(f"online at {membership.terms.name}")
        while not ended.is_set():
            if not node.turn():
                ended.wait(membership.terms.poll_seconds)


def _listen(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


if __name__ == "__main__":
    main()
