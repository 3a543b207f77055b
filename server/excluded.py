"""`shoal-server excluded`: who is left out of rounds for a time, why and until when; and to end it early."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from common.errors import ConfigError
from server.registry import Registry

if TYPE_CHECKING:
    from server.exclusions import Exclusion

app = typer.Typer()


@app.command()
def excluded(
    state_folder: Annotated[Path, typer.Argument(help="The server's state folder.")],
    everybody: Annotated[bool, typer.Option("--all", help="Also those whose time is over.")] = False,  # noqa: FBT002 - typer
    readmit: Annotated[str, typer.Option(help="Let this device take part again: how its identity begins.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002 - the same
    registry: Annotated[str, typer.Option(help="SQLAlchemy URL. [default: the state folder's]")] = "",
) -> None:
    """Show the devices that are left out of rounds, since what they shared or revealed in one was false."""
    now = datetime.now(UTC)
    with Registry(registry or f"sqlite:///{state_folder / 'registry.sqlite'}") as books:
        if readmit:
            one = _find(books.exclusions(now), readmit)
            books.readmit(one.identity, now)
        found = books.exclusions(None if everybody else now)
    if as_json:
        typer.echo(json.dumps([_values(one) for one in found], indent=2))
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
