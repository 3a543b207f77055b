"""A Flower SuperNode within this process: it fetches no code, and hands messages to the client app installed with it.

A stock SuperNode runs whatever bundle the server delivers, in a new Python process for each message. This one asks
for a run's bundle hash only to see that it is one it knows, never for the bundle, and answers in milliseconds. It
opens no port. `joined` connects as the device that `shoal join` enrolled, over TLS: all it needs is the `Membership`
that `client.membership.read_membership` reads from the state folder.

Flower's `http_request_response` and what inflates a message are private (1.41.0, pinned);
tests/e2e/test_federation_deployment.py holds them to what is used here.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

import httpx
from flwr.app import Context, Message, RecordDict
from flwr.proto.fleet_pb2 import DeactivateNodeRequest
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree, push_objects
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.fleet_http_connection import http_request_response
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from client.app import failure, refusal
from common.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flwr.clientapp import ClientApp

    from client.membership import Membership

UNKNOWN_APP: Final = "UnknownApp"
"""What the server reads where a run's bundle is none that this device knows."""
CLOCK_SECONDS: Final = 4.0
"""How far a clock may be off: Flower refuses signatures from 5 s in the future."""


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
        reply = self._answer(message, get_run(run_id))
        reply.metadata.__dict__["_message_id"] = reply.object_id
        with no_object_id_recompute():
            # How long the answer took is nobody's business: it depends on what was drawn and on what is in the vault.
            wanted, session = send(reply, get_object_tree(reply), 0.0)
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
            return refusal(message, error)


@contextmanager
def joined(membership: Membership, app: ClientApp, *, node_config: Mapping[str, str]) -> Iterator[Node]:
    """Connect as an enrolled device, over TLS and with its own key, and sign off at the end.

    What an earlier process of this device left signed on is signed off first: after a crash Flower would otherwise
    refuse the device until its heartbeats lapse, for a minute.

    Args:
        membership: what `shoal join` kept.
        app: what answers messages: `client.app.app`.
        node_config: the device's own settings, such as `state-folder`; nothing of it is sent.

    Raises:
        ConfigError: the server cannot be reached or does not accept this device, on entering or in a `turn`.
    """
    keys = (membership.key, membership.key.public_key())
    sign_off(membership)
    with (
        _refusals(),
        _linked(
            membership.address, insecure=False, root_certificates=membership.authority, authentication_keys=keys
        ) as (node_id, *link),
    ):
        yield Node(node_id, app, node_config, membership.bundles, tuple(link))


@contextmanager
def connected(
    address: str, app: ClientApp, *, node_config: Mapping[str, str], bundles: frozenset[str]
) -> Iterator[Node]:
    """Register with a SuperLink on this machine that knows nobody, and sign off at the end: for tests.

    Args:
        address: host and port; on loopback, since there is neither TLS nor node authentication.
        app: what answers messages: `client.app.app`.
        node_config: the device's own settings, such as `state-folder`; nothing of it is sent.
        bundles: hashes of the bundles whose runs are answered.
    """
    with _linked(address, insecure=True) as (node_id, *link):
        yield Node(node_id, app, node_config, bundles, tuple(link))


def sign_off(membership: Membership) -> None:
    """Tell the SuperLink that this device is offline; no matter if it was.

    Raises:
        ConfigError: the server cannot be reached or does not accept this device.
    """
    interceptors: list[Any] = [
        RuntimeVersionHttpInterceptor(component_name="SuperNode"),
        NodeAuthHttpInterceptor(membership.key, membership.key.public_key()),
    ]
    with (
        _refusals(),
        FleetHttpClient.from_server_address(
            membership.address, insecure=False, root_certificates=membership.authority, interceptors=interceptors
        ) as client,
    ):
        try:
            client.DeactivateNode(DeactivateNodeRequest(node_id=membership.node))
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.PRECONDITION_FAILED:  # it was offline
                raise


@contextmanager
def _linked(address: str, **how: Any) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - Flower's own and private
    """Open Flower's link; what goes wrong while it is used comes out, which Flower would only log."""
    wrong: Exception | None = None
    with http_request_response(address, **how) as link:
        try:
            yield link
        except Exception as error:  # noqa: BLE001 - raised below
            wrong = error
    if wrong is not None:
        raise wrong


@contextmanager
def _refusals() -> Iterator[None]:
    """Say in a person's words why a server cannot be talked to."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise ConfigError(_reason(error.response)) from error
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        raise ConfigError(f"the server cannot be reached ({why}): it is tried again later") from error


def _reason(response: httpx.Response) -> str:
    """Tell a wrong clock from a device that is not wanted; the server's clock stands in every answer (RFC 9110)."""
    if response.status_code != httpx.codes.UNAUTHORIZED:
        return f"the server answers {response.status_code}: it is tried again later"
    try:
        off = (datetime.now(UTC) - parsedate_to_datetime(response.headers["date"])).total_seconds()
    except (KeyError, ValueError, TypeError):
        off = 0.0
    if abs(off) > CLOCK_SECONDS:
        return f"this device's clock is {off:+.0f} s off the server's: set it, by network time if you can"
    return "the server does not accept this device: the operator revoked it, or lost its list; ask, then join again"


def attend(node: Node, *, until: Callable[[], bool], sleep: Callable[[float], None], seconds: float) -> None:
    """Answer messages until told to end, looking again `seconds` after there was none."""
    while not until():
        if not node.turn():
            sleep(seconds)
