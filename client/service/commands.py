"""`shoal service`: keep the daemon running, or stop doing so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from platformdirs import user_data_path
from rich.console import Console

from client.service.here import Machine, installation
from client.service.installation import STATES, install, remove, run, state
from client.service.plan import Plan, this_program

app = typer.Typer(help="Keep the daemon running from log-on to log-off.", no_args_is_help=True)

Home = Annotated[
    Path,
    typer.Option(envvar="SHOAL_HOME", help="Where concepts are kept.", default_factory=lambda: user_data_path("shoal")),
]
Force = Annotated[bool, typer.Option("--force", help="Also where the file was changed by hand; a copy is kept.")]


@app.command(name="install")
def install_service(
    *,
    model: Annotated[
        str | None, typer.Option("--model", envvar="SHOAL_MODEL", help="The model that the daemon learns on.")
    ] = None,
    force: Force = False,
    home: Home,
) -> None:
    """Start the daemon now and at every log-on."""
    _tell(install(installation(_plan(home, model), Machine()), home.absolute(), force=force))


@app.command(name="remove")
def remove_service(*, force: Force = False, home: Home) -> None:
    """Stop the daemon and start it no more. Concepts and settings stay."""
    _tell(remove(installation(_plan(home, None), Machine()), home.absolute(), force=force))


@app.command(name="status")
def service_status(*, home: Home) -> None:
    """Say whether the daemon is installed as a service and runs; exit code 0 if so."""
    found = installation(_plan(home, None), Machine())
    known = state(found, home.absolute())
    running = known != "absent" and run(found.running)[0] == 0
    _tell([f"{found.file}: {STATES[known]}", "it is running" if running else "it is not running"])
    if not running:
        raise typer.Exit(1)


def _plan(home: Path, model: str | None) -> Plan:
    """Make every path absolute: a service starts elsewhere."""
    if model is not None and Path(model).expanduser().is_dir():
        model = str(Path(model).expanduser().absolute())
    return Plan(program=this_program(), home=home.expanduser().absolute(), model=model)


def _tell(lines: list[str]) -> None:
    for line in lines:
        Console().print(line, markup=False, highlight=False, soft_wrap=True)
