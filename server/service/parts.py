"""The parts of a server: what each runs, and how to tell that it is up."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from server.door import STATE
from server.service.programs import environment, program
from server.service.proxy import proxy_program, write_proxy
from server.state import LOOPBACK, SECRET, inner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.config import Config

PAGE: Final = "server.web"
"""The operator's page, where it is installed: a package whose `app` module has a factory `create`, which gives an ASGI
application for the state folder that the environment variable SHOAL_SERVER_STATE names."""
ORDER: Final = ("superlink", "superexec", "enrolment", "page", "proxy")
"""Each needs only those before it, so they are started in this order, and stopped in the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One program of a server."""

    name: str
    command: tuple[str, ...]
    port: int | None
    """On loopback, on which it listens when it is up; None if it does not listen."""
    environment: Mapping[str, str] = field(repr=False)

    def is_up(self) -> bool:
        """Tell whether it listens; one that never does is up when it runs."""
        return self.port is None or listens(self.port)


def parts_of(config: Config) -> list[Part]:
    """Give all parts, in `ORDER`.

    Raises:
        ConfigError: a program is not installed.
    """
    home = config.state / "flower"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    inside, pair = config.inside, inner(config)
    link = f"{LOOPBACK}:{inside.superlink}"
    secret = ("--superexec-auth-secret-file", str(config.state / SECRET))
    authority = str(pair.authority)
    surroundings = environment(home)
    superlink = (
        *(program("flower-superlink"), "--host", LOOPBACK, "--port", str(inside.superlink)),
        *("--ssl-ca-certfile", authority, "--ssl-certfile", str(pair.certificate), "--ssl-keyfile", str(pair.key)),
        *("--enable-supernode-auth", "--isolation", "process", "--database", str(home / "link.sqlite"), *secret),
    )
    superexec = (
        *(program("flower-superexec"), "--runtime-api-address", link, "--root-certificates", authority, *secret),
    )
    proxy = (proxy_program(), "-p", str(config.state / "proxy"), "-e", "stderr", "-c", str(write_proxy(config)))
    found = [
        # Otherwise each answer of a device would be a line, with its number.
        Part(
            name="superlink",
            command=superlink,
            port=inside.superlink,
            environment={**surroundings, "FLWR_LOG_LEVEL": "WARNING"},
        ),
        Part(name="superexec", command=superexec, port=None, environment=surroundings),
        _asgi("enrolment", "server.door:create", inside.enrolment, config),
    ]
    if find_spec(PAGE) is not None:
        found.append(_asgi("page", f"{PAGE}.app:create", inside.page, config))
    return [*found, Part(name="proxy", command=proxy, port=config.federation.port, environment=dict(os.environ))]


def listens(port: int) -> bool:
    """Tell whether something listens on a port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _asgi(name: str, factory: str, port: int, config: Config) -> Part:
    """Give a part that uvicorn serves on loopback; it logs no requests, and believes no headers about who asks."""
    command = (
        *(sys.executable, "-m", "uvicorn", "--factory", factory, "--host", LOOPBACK, "--port", str(port)),
        *("--no-access-log", "--no-server-header", "--no-proxy-headers", "--log-level", "warning"),
        *("--limit-concurrency", "256"),
    )
    return Part(name=name, command=command, port=port, environment={**os.environ, STATE: str(config.state)})
