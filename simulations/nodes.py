"""Several devices in one process, each a node of its own, with the faults of `simulations.faults`.

python -m simulations.nodes FOLDER...   as those that joined, at the server that each joined
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.app import app as client_app
from client.membership import read_membership
from client.node import joined
from common.errors import ShoalError
from simulations.faults import suffering

if TYPE_CHECKING:
    from collections.abc import Iterator

AGAIN_SECONDS: Final = 2.0
"""Until a device whose connection failed connects anew; a daemon takes longer (`client.daemon.rounds`)."""


class Suffering(ClientApp):
    """The client app with one person's faults."""

    def __init__(self, folder: Path) -> None:
        """Keep whose."""
        super().__init__()
        self._folder = folder

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer, or not."""
        return suffering(client_app, self._folder)(message, context)


def device(folder: Path) -> Iterator[bool]:
    """Be one device, step by step; tell at each whether there was something to do.

    Raises:
        ShoalError: at the first step: it cannot connect. Later it tells so and connects anew.
    """
    been = False
    while True:
        try:
            with joined(read_membership(folder), Suffering(folder), node_config={"state-folder": str(folder)}) as node:
                been = True
                while True:
                    yield node.turn()
        except ShoalError as error:
            if not been:
                raise
            print(f"{folder.name} connects anew: {error}", flush=True)
        end = time.monotonic() + AGAIN_SECONDS
        while time.monotonic() < end:
            yield False


def main() -> None:
    """Answer for everybody in turn, until killed."""
    devices = [device(Path(folder)) for folder in sys.argv[1:]]
    for one in devices:
        next(one)
    print(f"{len(devices)} nodes are up", flush=True)
    while True:
        if not sum(next(one) for one in devices):  # each has its turn
            time.sleep(0.2)


if __name__ == "__main__":
    main()
