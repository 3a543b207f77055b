"""A Flower SuperNode within this process: it fetches no code, and hands messages to the client app installed with it.

A stock SuperNode runs whatever bundle the server delivers, in a new Python process for each message. This one asks
for a run's bundle hash only to see that it is one it knows, never for the bundle, and answers in milliseconds. It
opens no port. Flower's `http_request_response` and what inflates a message are private (1.41.0, pinned);
tests/e2e/test_federation_deployment.py holds them to what is used here.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flwr.app import Context, Message, RecordDict
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree, push_objects
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.fleet_http_connection import http_request_response

from client.app import failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flwr.clientapp import ClientApp

UNKNOWN_APP: Final = "UnknownApp"
"""What the server reads where a run's bundle is none that this device knows."""


@dataclass(slots=True)
class Node:
    """One connection to a SuperLink, as one device."""

    node_id: int
    _app: ClientApp
    _config: Mapping[str, str]
    _bundles: frozenset[str]
    _link: tuple[Any, ...]
    """What `http_request_response` gave, all of it Flower's own and private."""

    def turn(self) -> bool:
        """Look for one message and answer it; False if there was none."""
        receive, send, get_run, _get_fab, pull, push, confirm = self._link
        if (received := receive()) is None:
            return False
        envelope, tree = received
        run_id = envelope.metadata.run_id
        message = pull_and_inflate_object_from_tree(
            tree, lambda item: pull(run_id, item), lambda item: confirm(run_id, item), return_type=Message
        )
        message.metadata.__dict__["_message_id"] = tree.object_id
        began = time.monotonic()
        reply = self._answer(message, get_run(run_id))
        reply.metadata.__dict__["_message_id"] = reply.object_id
        with no_object_id_recompute():
            wanted, session = send(reply, get_object_tree(reply), time.monotonic() - began)
            push_objects(
                get_all_nested_objects(reply),
                lambda item, content: push(run_id, session, item, content),
                object_ids_to_push=wanted,
            )
        return True

    def _answer(self, message: Message, run: Any) -> Message:  # noqa: ANN401 - Flower's own and private
        """Call the app; it gets nothing of the run's settings, which nobody signs."""
        if run.fab_hash not in self._bundles:
            return failure(message, UNKNOWN_APP)
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 0, run.run_id, self.node_id
        context = Context(
            run_id=run.run_id, node_id=self.node_id, node_config=dict(self._config), state=RecordDict(), run_config={}
        )
        try:
            return self._app(message, context)
        except Exception as error:  # noqa: BLE001 - Flower raises for a message of unknown type, with text in it
            return failure(message, type(error).__name__)


@contextmanager
def connected(
    address: str, app: ClientApp, *, node_config: Mapping[str, str], bundles: frozenset[str]
) -> Iterator[Node]:
    """Register with the SuperLink on this machine, and sign off at the end.

    Without TLS and node authentication so far, hence loopback only, as `server.serve` is.

    Args:
        address: host and port.
        app: what answers messages: `client.app.app`.
        node_config: the device's own settings, such as `state-folder`; nothing of it is sent.
        bundles: hashes of the bundles whose runs are answered.
    """
    with http_request_response(address, insecure=True) as (node_id, *link):
        yield Node(node_id, app, node_config, bundles, tuple(link))


def attend(node: Node, *, until: Callable[[], bool], sleep: Callable[[float], None], seconds: float) -> None:
    """Answer messages until told to end, looking again `seconds` after there was none."""
    while not until():
        if not node.turn():
            sleep(seconds)
