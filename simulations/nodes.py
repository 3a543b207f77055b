"""Several devices in one process, each a node of its own: `python -m simulations.nodes ADDRESS HASH FOLDER...`.

The nodes are those that a daemon would be (`client.node`), with the faults of `simulations.faults`.
"""

from __future__ import annotations

import itertools
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.app import app as client_app
from client.node import connected
from simulations.faults import suffering


class Suffering(ClientApp):
    """The client app with one person's faults."""

    def __init__(self, folder: Path) -> None:
        """Keep whose."""
        super().__init__()
        self._folder = folder

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer, or not."""
        return suffering(client_app, self._folder)(message, context)


def main() -> None:
    """Answer for everybody in turn, until killed."""
    address, bundle, *folders = sys.argv[1:]
    with ExitStack() as connections:
        nodes = [
            connections.enter_context(
                connected(
                    address, Suffering(Path(folder)), node_config={"state-folder": folder}, bundles=frozenset({bundle})
                )
            )
            for folder in folders
        ]
        print(f"{len(nodes)} nodes are up", flush=True)
        for _ in itertools.count():
            busy = [node.turn() for node in nodes]
            if not any(busy):
                time.sleep(0.2)


if __name__ == "__main__":
    main()
