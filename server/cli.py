"""`shoal-server`: what an operator does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from common.errors import ShoalError
from common.prior import KINDS, decode_prior
from server.excluded import app as excluded
from server.invite import app as invite
from server.registry import Registry
from server.service.commands import app as service

app = typer.Typer(help="Run a Shoal federation.", no_args_is_help=True, add_completion=False)

app.registered_commands += excluded.registered_commands
app.registered_commands += service.registered_commands
app.registered_commands += invite.registered_commands

StateFolder = Annotated[Path, typer.Argument(help="The server's state folder.")]
Backbone = Annotated[str, typer.Option(help="SHA-256 of the backbone's weights, as `shoal` names it.")]


@app.command()
def priors(state_folder: StateFolder, backbone: Backbone) -> None:
    """Show the latest prior of each kind."""
    table = Table("kind", "version", "people", "rounds", "cohorts", "directions", "‖mean‖", "made")
    with Registry(f"sqlite:///{state_folder / 'registry.sqlite'}") as registry:
        for kind in KINDS:
            signed = registry.latest(backbone, kind)
            if signed is None:
                table.add_row(kind, "no prior yet")
                continue
            prior = decode_prior(signed.payload)
            counts = (prior.version, prior.people, len(prior.rounds), len(prior.cohorts))
            directions = "+".join(str(len(cohort.spectrum)) for cohort in prior.cohorts)
            norms = " ".join(f"{np.linalg.norm(cohort.mean):.3g}" for cohort in prior.cohorts)
            table.add_row(kind, *(str(count) for count in counts), directions, norms, prior.created)
    Console().print(table)


def main() -> None:
    """Run the command line; what was foreseen ends in one line and exit code 1."""
    try:
        app()
    except ShoalError as error:
        typer.echo(f"shoal-server: {error}", err=True)
        sys.exit(1)
