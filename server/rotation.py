"""`shoal-server keys show | rotate`: the signing key, and those before it."""

from __future__ import annotations

import fcntl
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from common.errors import ConfigError
from common.invitation import fingerprint
from server.config import read_config
from server.keys import signing_key
from server.service.commands import Json, State
from server.succession import rotated, succession

app = typer.Typer(help="The signing key, and its successors.", no_args_is_help=True)


@app.command()
def show(state: State, *, machine: Json = False) -> None:
    """Show the signing key's fingerprint, and those of the keys before it."""
    config = read_config(state)
    now = fingerprint(signing_key(config.state).public_key().public_bytes_raw()).hex()
    before = [fingerprint(link.previous).hex() for link in succession(config.state)]
    if machine:
        typer.echo(json.dumps({"now": now, "before": before}))
        return
    typer.echo("\n".join([f"now     {now}", *(f"before  {one}" for one in reversed(before))]))


@app.command()
def rotate(
    state: State,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Without being asked.")] = False,
    machine: Json = False,
) -> None:
    """Make a fresh signing key, for which the present one vouches; the present one is deleted. `serve` must not run."""
    config = read_config(state)
    if not yes:
        typer.confirm("The present key will be deleted, here. Make a fresh one?", abort=True)
    with ExitStack() as held:
        for path in config.state.glob("*.lock"):
            _hold(held, path)
        link = rotated(config.state)
    found = {"before": fingerprint(link.previous).hex(), "now": fingerprint(link.following).hex()}
    if machine:
        typer.echo(json.dumps(found))
        return
    typer.echo(f"{found['before']} gave way to {found['now']}: start `serve`, make a backup, delete those before it")


def _hold(held: ExitStack, path: Path) -> None:
    """Take a lock that a part of `serve` would have."""
    lock = held.enter_context(path.open("a"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ConfigError(f"`shoal-server serve` runs, or a command ({path.name}): stop it first") from error
