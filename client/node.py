"""A Flower SuperNode within this process: it fetches no code, and hands messages to the client app installed with it.

A stock SuperNode runs whatever bundle the server delivers, in a new Python process for each message. This one asks
for a run's bundle hash only to see that it is one it knows, never for the bundle, and answers in milliseconds. It
opens no port. `joined` connects as the device that `shoal join` enrolled, over TLS: all it needs is the `Membership`
that `client.membership.read_membership` reads from the state folder.

What inflates a message is private to Flower (1.41.0, pinned); tests/e2e/test_federation_deployment.py holds it to what
is used here.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

import httpx
from flwr.app import Context, Message, RecordDict
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    pull_and_inflate_object_from_tree,
    push_objects,
)
from flwr.supercore.task_identity import TaskIdentity

from client.app import failure, refusal
from client.link import PATIENCE_SECONDS, linked
from common.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flwr.clientapp import ClientApp

    from client.link import Link
    from client.membership import Membership

UNKNOWN_APP: Final = "UnknownApp"
"""What the server reads where a run's bundle is none that this device knows."""
CLOCK_SECONDS: Final = 4.0
"""How far a clock may be off: Flower refuses signatures from 5 s in the future."""


@dataclass(slots=True)
class Node:
    """One connection to a SuperLink, as one device."""

    link: Link
    _app: ClientApp
    _config: Mapping[str, str]
    _bundles: frozenset[str]
    _leaves: bool = False
    """Whether a run of an unknown bundle ends the connection: the terms, which name the bundles, may be old."""
    _unknown: bool = False
    _run: Any = None
    """The run that was asked about last: what a run is does not change, and each message would cost a request more."""

    @property
    def node_id(self) -> int:
        """The SuperLink's number for this device."""
        return self.link.node_id

    def turn(self) -> bool:
        """Look for one message and answer it; False if there was none."""
        if (received := self.link.receive()) is None:
            return False
        try:
            self._reply(*received)
        except ObjectPullError:
            pass  # the message was withdrawn, or never came whole: nobody waits
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.FORBIDDEN:  # otherwise the run is over: nobody waits
                raise
        if self._unknown and self._leaves:
            raise ConfigError("the server holds a run of a bundle that is not in its terms: they are asked for again")
        return True

    def _reply(self, envelope: Any, tree: Any) -> None:  # noqa: ANN401 - Flower's own and private
        """Fetch a message, have it answered, and send the answer."""
        link, run_id = self.link, envelope.metadata.run_id
        message = pull_and_inflate_object_from_tree(
            tree,
            lambda item: link.pull(run_id, item),
            lambda item: link.confirm(run_id, item),
            return_type=Message,
            max_time=PATIENCE_SECONDS,  # a server app that dies between a question and its parts never sends them
        )
        message.metadata.__dict__["_message_id"] = tree.object_id
        if self._run is None or self._run.run_id != run_id:
            self._run = link.run(run_id)
        reply = self._answer(message, self._run)
        reply.metadata.__dict__["_message_id"] = reply.object_id
        with no_object_id_recompute():
            # How long the answer took is nobody's business: it depends on what was drawn and on what is in the vault.
            wanted, session = link.send(reply, get_object_tree(reply), 0.0)
            push_objects(
                get_all_nested_objects(reply),
                lambda item, content: link.push(run_id, session, item, content),
                object_ids_to_push=wanted,
            )

    def _answer(self, message: Message, run: Any) -> Message:  # noqa: ANN401 - Flower's own and private
        """Call the app; it gets nothing of the run's settings, which nobody signs."""
        if run.fab_hash not in self._bundles:
            self._unknown = True
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

    A server that cannot be reached is waited for (`client.link.PATIENCE_SECONDS`), on entering and in a `turn`; whoever
    looks at least every 30 s stays online.

    Args:
        membership: what `shoal join` kept.
        app: what answers messages: `client.app.app`.
        node_config: the device's own settings, such as `state-folder`; nothing of it is sent.

    Raises:
        ConfigError: the server cannot be reached or does not accept this device, on entering or in a `turn`; or a run
            has a bundle that the terms do not name, as after an upgrade: `client.join.renew`, then connect again.
    """
    with (
        _refusals(),
        linked(membership.address, membership.key, authority=membership.authority, node=membership.node) as link,
    ):
        yield Node(link, app, node_config, membership.bundles, _leaves=True)


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
    """Tell a wrong clock from a device that is not wanted; the server's clock stands in every answer (RFC 9110).

    A SuperLink answers 401 to a signature that is not fresh or not by the node, 412 to a key that it does not know.
    """
    if response.status_code not in {httpx.codes.UNAUTHORIZED, httpx.codes.PRECONDITION_FAILED}:
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
