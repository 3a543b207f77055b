"""A server in a process of its own, which something befalls at a named moment: it dies, or its database drops it."""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from server.exchange import Clock
from server.journal import Journal
from server.keys import signing_key
from server.registry import Registry
from server.rounds import Rounds
from server.sums import EXCHANGES
from simulations.faults import die
from simulations.memory import MemoryGrid
from simulations.postgres import drop_connections

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from server.settings import RunSettings
    from simulations.memory import Node

Moment = tuple[str, str, str]
"""A method that writes, the exchange it writes about (or none), and `before` or `after`."""
MOMENTS: Final[tuple[Moment, ...]] = (
    *((method, action, when) for action in EXCHANGES for method in ("keep", "finish") for when in ("before", "after")),
    *((method, "", when) for method in ("open_round", "close", "publish") for when in ("before", "after")),
)
NOON: Final = datetime(2025, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Outage:
    """What befalls a server."""

    moment: Moment
    deadly: bool = True
    """Whether its process is killed; otherwise its database closes all connections on it."""


def serve(
    settings: RunSettings, nodes: Mapping[int, Node], *, since_noon: float, outages: Sequence[Outage] = ()
) -> int:
    """Hold one run of the server in a process of its own; give how it ended, as `os.waitstatus_to_exitcode` does.

    Args:
        settings: as the server has them.
        nodes: the devices.
        since_noon: seconds on the wall clock when it starts. They pass only when the server waits.
        outages: what befalls it; each once, in this process alone.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for outage in outages:
                _prepare(outage, settings.registry_url)
            _run(settings, nodes, since_noon)
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it is, this process ends here
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _run(settings: RunSettings, nodes: Mapping[int, Node], since_noon: float) -> None:
    seconds = [since_noon]

    def sleep(duration: float) -> None:
        seconds[0] += duration

    def wall() -> datetime:
        return NOON + timedelta(seconds=seconds[0])

    key, clock = signing_key(settings.state_folder), Clock(now=lambda: seconds[0], sleep=sleep)
    with Registry(settings.registry_url) as registry:
        Rounds(MemoryGrid(nodes), settings, registry=registry, key=key, clock=clock, wall=wall).run()


def _prepare(outage: Outage, url: str) -> None:
    method, action, when = outage.moment
    owner: type = Registry if method in {"open_round", "publish"} else Journal
    plain: Callable[..., object] = getattr(owner, method)
    pending = [outage]

    def call(*arguments: object, **named: object) -> object:
        here = bool(pending) and (not action or arguments[1] == action)
        if here and when == "before":
            _strike(pending.pop(), url)
        result = plain(*arguments, **named)
        if here and when == "after":
            _strike(pending.pop(), url)
        return result

    setattr(owner, method, call)


def _strike(outage: Outage, url: str) -> None:
    if outage.deadly:
        die()
    drop_connections(url)
