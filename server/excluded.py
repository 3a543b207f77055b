"""`shoal-server excluded`: who is left out of rounds for a time, why and until when; and to end it early."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from common.errors import ConfigError
from server.desk import desk
from server.service.commands import Json, State

if TYPE_CHECKING:
    from server.exclusions import Exclusion

app = typer.Typer()


@app.command()
def excluded(
    state: State,
    *,
    everybody: Annotated[bool, typer.Option("--all", help="Also those whose time is over.")] = False,
    readmit: Annotated[str, typer.Option(help="Let this device take part again: how its identity begins.")] = "",
    machine: Json = False,
) -> None:
    """Show the devices that are left out of rounds, since what they shared or revealed in one was false."""
    now = datetime.now(UTC)
    with desk(state) as open_desk:
        books = open_desk.registry
        if readmit:
            books.readmit(_find(books.exclusions(now), readmit).identity, now)
        found = books.exclusions(None if everybody else now)
    if machine:
        typer.echo(json.dumps([_values(one) for one in found], indent=1))
        return
    table = Table("device", "round", "why", "since", "until")
    for one in found:
        values = _values(one)
        table.add_row(values["identity"][:16], *(values[name] for name in ("round", "why", "since", "until")))
    Console().print(table if found else "nobody is left out")


def _find(found: list[Exclusion], text: str) -> Exclusion:
    """Give an exclusion of the one device whose identity begins so.

    Raises:
        ConfigError: there is none, or more than one.
    """
    fitting = {one.identity: one for one in found if one.identity.hex().startswith(text.lower())}
    if len(fitting) != 1:
        raise ConfigError(f"{len(fitting)} devices that are left out are {text!r}: `shoal-server excluded` lists them")
    return next(iter(fitting.values()))


def _values(one: Exclusion) -> dict[str, str]:
    return {
        "identity": one.identity.hex(),
        "round": one.round_id,
        "why": one.reason,
        "since": one.since.isoformat(timespec="seconds"),
        "until": one.until.isoformat(timespec="seconds"),
    }
