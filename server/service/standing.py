"""How a server stands: its parts, its devices, its runs; for `shoal-server status` and whoever else shows it."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table

from common.errors import ConfigError
from server.control import control
from server.roster import Roster
from server.service.schedule import following
from server.service.supervisor import PARTS_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import RenderableType

    from server.config import Config
    from server.control import Run
    from server.roster import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known from outside the running server."""

    parts: list[dict[str, Any]]
    """Each with name, pid (None while it is being started) and restarts; empty where the server does not run."""
    devices: list[Device]
    """All that were ever let in."""
    online: int | None
    """How many are connected; None where there is no SuperLink to ask."""
    codes: int
    """How many are out, unspent."""
    runs: list[Run]
    """The latest, newest first."""
    next_run: str | None
    """ISO 8601."""


def standing(config: Config) -> Standing:
    """Ask the state folder, and the SuperLink if it runs.

    Raises:
        ConfigError: the state folder cannot be used.
    """
    with Roster(config.state) as roster:
        devices, codes = roster.devices(), roster.open_codes()
    online, runs = None, []
    try:
        with control(config) as link:
            online, runs = sum(node.online for node in link.nodes()), link.runs()
    except ConfigError:
        pass  # it does not run: there is nobody to ask
    due = following(datetime.fromtimestamp(time.time(), UTC), config.schedule.hours)
    return Standing(
        parts=running_parts(config.state),
        devices=devices,
        online=online,
        codes=codes,
        runs=runs,
        next_run=due.isoformat() if due else None,
    )


def running_parts(state: Path) -> list[dict[str, Any]]:
    """Give what the supervisors of a state folder wrote down: one for all, or one in each container."""
    parts: list[dict[str, Any]] = []
    for path in sorted(state.glob(PARTS_FILE.replace(".", "*."))):
        with suppress(OSError, ValueError):  # it ended just now
            parts += json.loads(path.read_text(encoding="utf-8"))
    return parts


def as_tables(found: Standing, name: str, *, devices: bool) -> Iterator[RenderableType]:
    """Give it for a terminal; with a list of all devices if that is asked for."""
    if found.parts:
        parts = Table("part", "process", "restarts", title=name)
        for part in found.parts:
            parts.add_row(part["name"], str(part["pid"] or "being started"), str(part["restarts"]))
        yield parts
    else:
        yield "it does not run: shoal-server serve STATE"
    revoked = sum(one.revoked is not None for one in found.devices)
    yield (
        f"{len(found.devices) - revoked} devices enrolled, {'?' if found.online is None else found.online} online, "
        f"{revoked} revoked; {found.codes} codes open; next run: {found.next_run or 'when you say run-round'}"
    )
    for run in found.runs[:5]:
        yield f"run {run.number} of {run.began[:16]}: {run.outcome or run.status}"
    if devices:
        table = Table("label", "identity", "enrolled", "revoked")
        for one in found.devices:
            table.add_row(one.label, one.identity[:16], _day(one.enrolled), _day(one.revoked))
        yield table


def _day(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="minutes")
