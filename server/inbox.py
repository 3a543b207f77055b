"""Replies as they come in, over Flower's `Grid`; one that was announced and does not come holds up nobody.

A device announces a reply, then sends its parts. Flower's own `HttpGrid.pull_messages` waits for the parts of one reply
before it looks at the next, until the device's session is over (minutes) or for two hours: a device that dies between
the two, whose connection breaks there, or that means ill, would stop every round at will. It also lets a server app end
on parts that are no message. So this does the same requests and leaves what is not there yet for the next look. What it
needs of the grid is private to Flower (1.41.0, pinned); tests/e2e/test_survival.py holds it to what is used here.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from flwr.app import Message
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectUnavailableError,
    inflate_object_from_contents,
)
from flwr.superlink.grid import HttpGrid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flwr.serverapp import Grid

AT_ONCE: Final = 2
"""Replies that are fetched side by side: as many requests as Flower makes."""
MOST_PARTS: Final = 8
"""Of a reply; a device's have three at most. One of thousands would keep a server busy that has others to hear."""


@dataclass(slots=True)
class _Coming:
    """A reply that was announced."""

    question: str
    head: str
    missing: list[str]
    parts: dict[str, bytes] = field(default_factory=dict)


class Inbox:
    """The replies to one exchange's questions."""

    def __init__(self, grid: Grid) -> None:
        """Take the connection. In a simulation, where no reply has parts, its own way of looking serves."""
        self._grid = grid
        self._coming: dict[str, _Coming] = {}

    def look(self, questions: Iterable[str]) -> dict[str, Message | None]:
        """Give what is here of the replies to these questions, by the question's id; None for what is no message."""
        if not isinstance(self._grid, HttpGrid):
            found = self._grid.pull_messages(questions)
            return {message.metadata.reply_to_message_id: message for message in found}
        if fresh := set(questions) - set(self._coming):
            self._hear(fresh)
        if not self._coming:
            return {}
        coming = list(self._coming.values())
        with ThreadPoolExecutor(AT_ONCE) as pool:
            here = [one for one, done in zip(coming, pool.map(self._fetch, coming), strict=True) if done]
        for one in here:
            del self._coming[one.question]
        return {one.question: _read(one) for one in here}

    def _hear(self, questions: set[str]) -> None:
        """Ask which replies were announced; each is named once."""
        found = self._client.PullMessages(PullAppMessagesRequest(message_ids=questions))
        for message, tree in zip(found.messages_list, found.message_object_trees, strict=True):
            question = message.metadata.reply_to_message_id
            if question in questions:
                parts = [part.object_id for part in iterate_object_tree(tree)]
                self._coming[question] = _Coming(question, message.metadata.message_id, parts)

    def _fetch(self, one: _Coming) -> bool:
        """Fetch those parts that are there; tell whether that is all there will be, or all that is wanted of it."""
        if len(one.missing) > MOST_PARTS:
            return True
        grid: Any = self._grid
        pull = make_pull_object_fn_protobuf(self._client.PullObject, grid.node, grid.run.run_id)
        try:
            while one.missing:
                one.parts[one.missing[-1]] = pull(one.missing[-1])
                one.missing.pop()
        except ObjectUnavailableError:
            return False
        except ObjectPullError:  # the device took too long, and the SuperLink gave it up
            return True
        self._client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(node=grid.node, run_id=grid.run.run_id, message_object_id=one.head)
        )
        return True

    @property
    def _client(self) -> Any:  # noqa: ANN401 - Flower's own and private
        return self._grid._runtime_client  # type: ignore[attr-defined] # noqa: SLF001 - no other way


def _read(one: _Coming) -> Message | None:
    try:
        message = inflate_object_from_contents(one.head, one.parts)
    except Exception:  # noqa: BLE001 - a device's bytes: whatever is wrong with them, it is one reply less
        return None
    if not isinstance(message, Message) or not (message.has_content() or message.has_error()):
        return None
    return message
