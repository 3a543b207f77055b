"""Several devices in one process, each a node of its own, with the faults of `simulations.faults`.

python -m simulations.nodes FOLDER...   as those that joined, at the server that each joined
"""

from __future__ import annotations

import itertools
import sys
import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.app import app as client_app
from client.membership import read_membership
from client.node import Node, joined
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


def _node(folder: str) -> AbstractContextManager[Node]:
    membership = read_membership(Path(folder))
    return joined(membership, Suffering(Path(folder)), node_config={"state-folder": folder})


def main() -> None:
    """Answer for everybody in turn, until killed."""
    with ExitStack() as connections:
        nodes = [connections.enter_context(_node(folder)) for folder in sys.argv[1:]]
        print(f"{len(nodes)} nodes are up", flush=True)
        for _ in itertools.count():
            busy = [node.turn() for node in nodes]
            if not any(busy):
                time.sleep(0.2)


if __name__ == "__main__":
    main()
