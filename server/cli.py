"""`shoal-server`: what an operator does."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from common.errors import ConfigError, ShoalError
from common.prior import KINDS, Kind, decode_prior
from server.excluded import app as excluded
from server.keys import public_pem, signing_key
from server.registry import Registry
from server.serve import serve as serve_run
from server.settings import RunSettings

app = typer.Typer(help="Run a Shoal federation.", no_args_is_help=True, add_completion=False)

app.registered_commands += excluded.registered_commands

StateFolder = Annotated[Path, typer.Argument(help="The server's state folder.")]
Backbone = Annotated[str, typer.Option(help="SHA-256 of the backbone's weights, as `shoal` names it.")]


@app.command()
def init(state_folder: StateFolder) -> None:
    """Make the signing key, and print its public half, which people pin when they join."""
    typer.echo(public_pem(signing_key(state_folder)).decode("ascii"), nl=False)


@app.command()
def serve(
    state_folder: StateFolder,
    backbone: Backbone,
    public_basis: Annotated[Path, typer.Option(help="An .npy file: (width, dimensions), orthonormal columns.")],
    kinds: Annotated[str, typer.Option(help="Comma-separated.")] = "object,style",
    rounds: Annotated[int, typer.Option(help="Rounds of each kind.")] = 3,
    minimum_people: Annotated[int, typer.Option(help="Fewest people in a round; devices refuse fewer than 8.")] = 8,
    wave_size: Annotated[int | None, typer.Option(help="Ready people to wait for. [default: the fewest]")] = None,
    epsilon: Annotated[float, typer.Option(help="What a round costs each of its people, at delta 1e-6.")] = 1.0,
    deadline_seconds: Annotated[float, typer.Option(help="For the replies of one exchange.")] = 60.0,
    clip: Annotated[float, typer.Option(help="Longest displacement, in units of the embedding.")] = 4.0,
    port: Annotated[int, typer.Option(help="On loopback.")] = 8000,
) -> None:
    """Hold rounds with the SuperNodes of this machine until all are done."""
    settings = RunSettings(
        state_folder=state_folder.absolute(),
        backbone=backbone,
        public_basis=public_basis.absolute(),
        kinds=_kinds(kinds),
        rounds=rounds,
        minimum_people=minimum_people,
        wave_size=(wave_size,) if wave_size else (),
        epsilon=epsilon,
        deadline_seconds=deadline_seconds,
        clip=clip,
    )
    # As Ctrl-C does, so that the SuperLink is stopped too: a service manager stops its services with SIGTERM.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    serve_run(settings, port)


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


def _kinds(text: str) -> tuple[Kind, ...]:
    chosen = {part.strip() for part in text.split(",") if part.strip()}
    if unknown := sorted(chosen - set(KINDS)):
        message = f"there is no kind {', '.join(unknown)}: choose among {', '.join(KINDS)}"
        raise ConfigError(message)
    return tuple(kind for kind in KINDS if kind in chosen)
