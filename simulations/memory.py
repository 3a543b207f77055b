"""A Flower grid within one process: each node is a function, each message a call. For rounds in milliseconds."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from flwr.clientapp import ClientApp

    Node = Callable[[Message], Message | None]
    """Answers a message; None for a node that stays silent."""


class MemoryGrid(Grid):
    """Nodes as functions. A reply is there at the first look, or never."""

    def __init__(self, nodes: Mapping[int, Node]) -> None:
        """Take the nodes by id; the mapping may change between exchanges, as people come and go."""
        # Flower refuses to make a message in a process that has no task.
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
        self.nodes = nodes
        self.sent: list[tuple[int, str]] = []
        """Whom each message went to, and its type, in order."""
        self._replies: dict[str, Message] = {}
        self._ids = itertools.count(1)

    def get_node_ids(self) -> Iterable[int]:
        """Give all nodes there are now."""
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Call each node at once."""
        ids = []
        for message in messages:
            name = str(next(self._ids))
            message.metadata.__dict__["_message_id"] = name
            self.sent.append((message.metadata.dst_node_id, message.metadata.message_type))
            reply = self.nodes[message.metadata.dst_node_id](message)
            if reply is not None:
                self._replies[name] = reply
            ids.append(name)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Hand out the replies to these messages, each once."""
        return [self._replies.pop(name) for name in list(message_ids) if name in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push, then pull."""
        del timeout  # nothing is ever late
        return self.pull_messages(self.push_messages(messages))

    def set_run(self, run: Run) -> None:
        """Take no run: there is only this one."""

    @property
    def run(self) -> Run:
        """An empty run."""
        return Run.create_empty(run_id=1)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Make a message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)


def person(app: ClientApp, node: int, folder: Path) -> Node:
    """Give a node that runs a client app over one person's state folder, as a SuperNode would."""
    context = Context(
        run_id=1, node_id=node, node_config={"state-folder": str(folder)}, state=RecordDict(), run_config={}
    )
    return lambda message: app(message, context)


def virtual_person(app: ClientApp, number: int, people_folder: Path) -> Node:
    """Give a node as Flower's simulation has them: with a partition id, and everything else from the server."""
    context = Context(
        run_id=1,
        node_id=number,
        node_config={"partition-id": number},
        state=RecordDict(),
        run_config={"people-folder": str(people_folder)},
    )
    return lambda message: app(message, context)


def dropping(node: Node, action: str, *, lost: bool = False) -> Node:
    """Give the same node, silent from an exchange on.

    Args:
        node: as it would be.
        action: the message type of the exchange, such as `train.masked`.
        lost: whether the node answers this exchange, and its answer gets lost.
    """
    gone = False

    def answer(message: Message) -> Message | None:
        nonlocal gone
        here = message.metadata.message_type == action
        if gone or (here and not lost):
            gone = True
            return None
        reply = node(message)
        gone = gone or here
        return None if gone else reply

    return answer
