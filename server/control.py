"""The SuperLink's control interface: who its nodes are, and which runs it holds.

Flower's command line starts a process of two seconds for each question; this asks over one connection. The client and
its messages are private (1.41.0, pinned); tests/e2e/test_edge.py holds them to what is used here. The interface knows
no accounts, so it is reached on loopback alone.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    StreamLogsRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor

from common.errors import ConfigError
from server.state import LOOPBACK, inner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from server.config import Config

GONE: Final = "unregistered"


@dataclass(frozen=True, slots=True)
class Node:
    """A device, as the SuperLink knows it."""

    number: int
    key: str
    """Public, PEM."""
    online: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A run of our apps."""

    number: int
    status: str
    """pending, starting, running or finished."""
    outcome: str
    """completed, failed or stopped; empty while it is not finished."""
    began: str
    """ISO 8601."""

    @property
    def active(self) -> bool:
        """Whether it still goes on."""
        return self.status != "finished"


@dataclass(frozen=True, slots=True)
class Control:
    """One connection."""

    _client: Any  # Flower's own and private

    def register(self, key: str) -> int:
        """Let a node in; give its number."""
        return int(self._client.RegisterNode(RegisterNodeRequest(public_key=key.encode("ascii"))).node_id)

    def unregister(self, number: int) -> None:
        """Shut a node out, at once and for good."""
        self._client.UnregisterNode(UnregisterNodeRequest(node_id=number))

    def nodes(self) -> list[Node]:
        """List the nodes that are let in."""
        found = self._client.ListNodes(ListNodesRequest()).nodes_info
        return [
            Node(one.node_id, one.public_key.decode("ascii"), one.status == "online")
            for one in found
            if one.status != GONE
        ]

    def start(self, bundle: bytes, settings: Mapping[str, str | int | float]) -> int:
        """Start a run of a bundle with these settings; give its number."""
        fab = Fab(hashlib.sha256(bundle).hexdigest(), bundle, {})
        request = StartRunRequest(fab=fab_to_proto(fab), override_config=user_config_to_proto(dict(settings)))
        return int(self._client.StartRun(request).run_id)

    def runs(self) -> list[Run]:
        """List the latest runs, newest first."""
        found = self._client.ListRuns(ListRunsRequest(limit=20)).run_dict.values()
        runs = [Run(one.run_id, one.status.status, one.status.sub_status, one.pending_at) for one in found]
        return sorted(runs, key=lambda run: run.began, reverse=True)

    def said(self, number: int) -> str:
        """Give what the server app of a run that is over wrote."""
        parts = self._client.StreamLogs(StreamLogsRequest(run_id=number, after_timestamp=0.0))
        return "".join(part.log_output for part in parts)

    def stop(self, number: int) -> None:
        """End a run."""
        self._client.StopRun(StopRunRequest(run_id=number))


@contextmanager
def control(config: Config) -> Iterator[Control]:
    """Connect to the SuperLink of this machine.

    Raises:
        ConfigError: it does not run, or refuses; also from what is done with the connection.
    """
    try:
        authority = inner(config).authority
        with ControlHttpClient.from_server_address(
            f"{LOOPBACK}:{config.inside.superlink}",
            insecure=False,
            root_certificates=authority.read_bytes() if authority else None,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="CLI")],
        ) as client:
            yield Control(client)
    except httpx.HTTPStatusError as error:
        raise ConfigError(f"the SuperLink refuses ({error.response.status_code}): its log says why") from error
    except (httpx.HTTPError, OSError) as error:
        raise ConfigError(
            f"the SuperLink cannot be reached: start it with `shoal-server serve {config.state}`"
        ) from error
