"""`shoal-server`: what an operator does."""

from __future__ import annotations

import sys

import typer

from common.errors import ShoalError
from server.backup import app as backup
from server.excluded import app as excluded
from server.first_basis import app as first_basis
from server.invite import app as invite
from server.ledgers import app as rounds
from server.ledgers import top as budget
from server.priors import app as priors
from server.rotation import app as keys
from server.service.commands import app as service

app = typer.Typer(help="Run a Shoal federation.", no_args_is_help=True, add_completion=False)

app.registered_commands += excluded.registered_commands
app.registered_commands += service.registered_commands
app.registered_commands += invite.registered_commands
app.registered_commands += first_basis.registered_commands
app.registered_commands += backup.registered_commands
app.registered_commands += budget.registered_commands
app.add_typer(priors, name="priors")
app.add_typer(keys, name="keys")
app.add_typer(rounds, name="rounds")


def main() -> None:
    """Run the command line; what was foreseen ends in one line and exit code 1."""
    try:
        app()
    except ShoalError as error:
        typer.echo(f"shoal-server: {error}", err=True)
        sys.exit(1)
