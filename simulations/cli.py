"""`shoal-sim`: what a researcher does."""

# ruff: noqa: E402 - model libraries speak up when they are imported, so they are told before
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from client.quiet import quiet, silence

silence()

from client.backbone.engine import TorchEngine
from client.backbone.lexicon import FILE, write_lexicon
from client.backbone.probing import make_lexicon
from simulations import bootstrap, demo
from simulations.basis import public_basis
from simulations.benchmarks import __main__ as benchmarks

app = typer.Typer(help="Many clients on one machine.", no_args_is_help=True, add_completion=False)
app.command("demo")(demo.main)
app.command("bench")(benchmarks.main)
app.command("bootstrap")(bootstrap.command)


@app.command()
def basis(
    out: Annotated[Path, typer.Argument(help="The .npy file to write.")],
    model: Annotated[Path, typer.Option(help="Folder of the backbone.")] = demo.MODEL,
) -> None:
    """Write a backbone's public basis and print its fingerprint: what `shoal-server serve` asks for."""
    quiet()
    engine = TorchEngine(model)
    np.save(out, public_basis(engine))
    typer.echo(engine.fingerprint)


@app.command()
def lexicon(
    model: Annotated[Path, typer.Argument(help="Folder of the backbone; the lexicon is written into it.")] = demo.MODEL,
) -> None:
    """Find out what a backbone's own words draw, so that searches on it begin further on: 8,900 forward passes."""
    quiet()
    engine = TorchEngine(model, int8=False)
    write_lexicon(make_lexicon(engine), engine.fingerprint, model / FILE)
    typer.echo(f"wrote {model / FILE}")


def main() -> None:
    """Run the command line."""
    app()
