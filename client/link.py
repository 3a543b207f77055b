"""One device's connection to a SuperLink, over Flower's fleet interface.

Flower's own connection serves a program that is nothing but a node: on a refusal it interrupts its process, on a
failure at the start it ends it, and it keeps a thread for heartbeats. A daemon does other things as well, so this does
the same requests with Flower's client and does no more than raise. Client and messages are private (1.41.0, pinned);
tests/e2e/test_survival.py and test_federation_deployment.py hold them to what is used here.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx
from flwr.common.serde import message_from_proto, message_to_proto, run_from_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node as NodeNumber
from flwr.proto.run_pb2 import GetRunRequest
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from flwr.app import Message

BEAT_SECONDS: Final = 60.0
"""A SuperLink counts a device as gone after two of these without a sign of life; looks for messages are none."""
BEAT_AFTER: Final = 40.0
"""Seconds since the last sign of life after which a look is preceded by one. Terms have devices look every 30 s at the
longest, so that there is always time for one; more signs of life than that would be half of what a SuperLink hears."""
PATIENCE_SECONDS: Final = 40.0
"""A server that is being started again is waited for so long: its SuperLink needs some 10 s."""
LONGEST_WAIT: Final = 4.0
_AGAIN: Final = frozenset({429, 502, 503, 504})
"""Statuses after which the same may be asked again: too many requests, and a proxy with nothing behind it."""

Answer = TypeVar("Answer")


@dataclass(slots=True)
class Link:
    """A connection as one node, which is online."""

    node_id: int
    _client: Any  # Flower's own and private
    _beat: float = field(default_factory=time.monotonic)

    def receive(self) -> tuple[Any, Any] | None:
        """Look for a message; give its envelope and the tree of its objects, or None. Shows that the node is alive."""
        if time.monotonic() - self._beat > BEAT_AFTER:
            self._beat = time.monotonic()
            beat = SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=BEAT_SECONDS)
            patiently(lambda: self._client.SendNodeHeartbeat(beat))
        found = patiently(lambda: self._client.PullMessages(PullMessagesRequest(node=self._node)))
        if not found.messages_list:
            return None
        return message_from_proto(found.messages_list[0]), found.message_object_trees[0]

    def run(self, number: int) -> Any:  # noqa: ANN401 - Flower's own and private
        """Give what is known of a run, without its bundle."""
        request = GetRunRequest(node=self._node, run_id=number)
        return run_from_proto(patiently(lambda: self._client.GetRun(request)).run)

    def pull(self, run: int, item: str) -> bytes:
        """Fetch an object of a message."""
        return make_pull_object_fn_protobuf(self._asking(self._client.PullObject), self._node, run)(item)

    def confirm(self, run: int, item: str) -> None:
        """Say that a message is here."""
        ask = self._asking(self._client.ConfirmMessageReceived)
        make_confirm_message_received_fn_protobuf(ask, self._node, run)(item)

    def send(self, reply: Message, tree: Any, seconds: float) -> tuple[set[str], str]:  # noqa: ANN401 - as above
        """Announce a reply; give which of its objects are wanted, and the session to send them in.

        None are wanted of a reply that is known already, as after an answer that was lost; those of the first time are
        still waited for, in a session whose name was lost too: an empty one stands for any that waits for an object.
        """
        request = PushMessagesRequest(
            node=self._node,
            messages_list=[message_to_proto(reply)],
            message_object_trees=[tree],
            clientapp_runtime_list=[seconds],
        )
        found = patiently(lambda: self._client.PushMessages(request))
        if not found.objects_to_push:
            return {part.object_id for part in iterate_object_tree(tree)}, ""
        return set(found.objects_to_push), found.session_id

    def push(self, run: int, session: str, item: str, content: bytes) -> None:
        """Send an object of a reply.

        A SuperLink takes each once, and says of a second that it was not stored: it has it, where the answer to the
        first was lost; otherwise the reply came too late, and nobody waits for it.
        """
        with suppress(ObjectPushError):
            make_push_object_fn_protobuf(self._asking(self._client.PushObject), self._node, run, session)(item, content)

    @property
    def _node(self) -> NodeNumber:
        return NodeNumber(node_id=self.node_id)

    @staticmethod
    def _asking(method: Callable[[Any], Answer]) -> Callable[[Any], Answer]:
        return lambda request: patiently(lambda: method(request))


@contextmanager
def linked(address: str, key: EllipticCurvePrivateKey, *, authority: bytes | None, node: int) -> Iterator[Link]:
    """Go online as one node, and offline at the end.

    Args:
        address: host and port.
        key: the node's, P-384.
        authority: certificate (PEM) that the server's must descend from; None for those that every system trusts.
        node: the SuperLink's number for it, under which an earlier process of this device, one that was killed, may
            still be online: Flower would refuse it until its heartbeats lapse. So it is signed off where it is refused;
            not in any case, since a SuperLink logs with its number whoever was not online.

    Raises:
        httpx.HTTPError: the server cannot be reached or refuses; from what is done with the link as well.
    """
    public = public_key_to_bytes(key.public_key())
    interceptors: list[Any] = [
        RuntimeVersionHttpInterceptor(component_name="SuperNode"),
        NodeAuthHttpInterceptor(key, key.public_key()),
    ]
    with FleetHttpClient.from_server_address(address, False, authority, interceptors) as client:
        link = Link(_go_online(client, public, node), client)
        try:
            yield link
        finally:
            with suppress(httpx.HTTPError):
                client.DeactivateNode(DeactivateNodeRequest(node_id=link.node_id))


def patiently(ask: Callable[[], Answer], patience: float = PATIENCE_SECONDS) -> Answer:
    """Ask again while the server is not there or too busy, with growing pauses, until the patience is over."""
    end, wait = time.monotonic() + patience, 0.25
    while True:
        try:
            return ask()
        except httpx.TransportError:
            if time.monotonic() + wait > end:
                raise
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in _AGAIN or time.monotonic() + wait > end:
                raise
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)


def _go_online(client: Any, public: bytes, node: int) -> int:  # noqa: ANN401 - Flower's own and private
    """Activate a node, once more where that may be due to an earlier process; give its number."""
    activation = ActivateNodeRequest(public_key=public, heartbeat_interval=BEAT_SECONDS)
    try:
        return int(patiently(lambda: client.ActivateNode(activation)).node_id)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.PRECONDITION_FAILED:
            raise
    _sign_off(client, node)
    return int(patiently(lambda: client.ActivateNode(activation)).node_id)


def _sign_off(client: Any, node: int) -> None:  # noqa: ANN401 - Flower's own and private
    """Say that a node is offline; no matter if it was, or has another number by now."""
    try:
        patiently(lambda: client.DeactivateNode(DeactivateNodeRequest(node_id=node)))
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in {httpx.codes.PRECONDITION_FAILED, httpx.codes.UNAUTHORIZED}:
            raise
