"""`shoal-server init | serve | run-round | status | unit`: an operator's machine."""

from __future__ import annotations

import getpass
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from common.errors import ConfigError
from common.invitation import Invitation, fingerprint, write_code
from server.config import FILE, Federation, Inside, read_config
from server.keys import public_pem, signing_key
from server.service import systemd
from server.service.runs import await_run, start_run
from server.service.standing import as_tables, standing
from server.service.supervisor import RUNS_LOG
from server.service.supervisor import serve as serve_parts
from server.state import Beginning, prepare

app = typer.Typer()

State = Annotated[Path, typer.Argument(help="The server's state folder.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command()
def init(
    state: State,
    *,
    host: Annotated[str, typer.Option(help="Name or address under which devices reach this machine.")] = "localhost",
    port: Annotated[int, typer.Option(help="The one port that is reachable from outside.")] = 8443,
    listen: Annotated[str, typer.Option(help="Address that the proxy binds.")] = "0.0.0.0",  # noqa: S104 - the proxy's
    name: Annotated[str, typer.Option(help="What people see when they join.")] = "a Shoal federation",
    first_inside_port: Annotated[int, typer.Option(help="On loopback, and the two after it.")] = 18443,
    backbone: Annotated[str, typer.Option(help="SHA-256 of the backbone's weights.")] = "",
    public_basis: Annotated[Path | None, typer.Option(help="An .npy file; it is copied.")] = None,
    registry: Annotated[str, typer.Option(help="Of rounds and priors, an SQLAlchemy URL. [default: SQLite]")] = "",
    machine: Json = False,
) -> None:
    """Make the state folder: signing key, certificates, secrets and the configuration; what is there stays."""
    first = first_inside_port
    config = prepare(
        state,
        Beginning(
            federation=Federation(name=name, host=host, port=port, listen=listen),
            inside=Inside(superlink=first, enrolment=first + 1, page=first + 2),
            backbone=backbone,
            public_basis=public_basis,
            registry=registry,
        ),
    )
    key = signing_key(state)
    code = write_code(Invitation(fingerprint(key.public_key().public_bytes_raw())))
    if machine:
        found = {"config": str(config.state / FILE), "operator": code, "public_key": public_pem(key).decode("ascii")}
        typer.echo(json.dumps(found, indent=1))
        return
    typer.echo(f"operator {code}\nconfiguration {config.state / FILE}")
    missing = [key for key in ("backbone",) if not config.rounds.get(key)]
    if missing or not (config.state / "basis.npy").exists():
        typer.echo("next: set rounds.backbone and put the public basis beside it, or `shoal-server bootstrap`")
    else:
        typer.echo(f"next: shoal-server serve {state}")


@app.command()
def serve(
    state: State,
    *,
    only: Annotated[
        str, typer.Option(help="Comma-separated parts, where the others run elsewhere; `runs` is the schedule.")
    ] = "",
) -> None:
    """Run the server until it is told to stop: SuperLink, SuperExec, enrolment, page, proxy, and scheduled runs."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request otherwise
    serve_parts(read_config(state), frozenset(part.strip() for part in only.split(",") if part.strip()))


@app.command()
def run_round(
    state: State,
    *,
    rounds: Annotated[int, typer.Option(help="Of each kind.")] = 1,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until it is over.")] = True,
    machine: Json = False,
) -> None:
    """Hold a round of each kind now, while `serve` runs; it ends when there was one, or nobody came for too long."""
    config = read_config(state)
    number = start_run(config, rounds)
    outcome = await_run(config, number).outcome if wait else "begun"
    typer.echo(json.dumps({"run": number, "outcome": outcome}) if machine else f"run {number}: {outcome}")
    if outcome not in {"completed", "begun"}:
        raise ConfigError(f"run {number} {outcome}: {config.state / 'log' / RUNS_LOG} says why")


@app.command()
def status(
    state: State,
    *,
    devices: Annotated[bool, typer.Option("--devices", help="List all devices.")] = False,
    machine: Json = False,
) -> None:
    """Show what runs, who is enrolled, the latest runs and when the next one is due."""
    config = read_config(state)
    found = standing(config)
    if machine:
        shown = asdict(found) if devices else {**asdict(found), "devices": len(found.devices)}
        typer.echo(json.dumps(shown, indent=1))
        return
    for part in as_tables(found, config.federation.name, devices=devices):
        Console().print(part)


@app.command()
def unit(
    state: State,
    *,
    user: Annotated[str, typer.Option(help="The account that it runs as. [default: yours]")] = "",
) -> None:
    """Print the systemd unit that keeps `serve` running."""
    port = read_config(state).federation.port
    typer.echo(systemd.unit(state, user or getpass.getuser(), port=port), nl=False)
