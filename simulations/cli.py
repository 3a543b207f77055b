"""`shoal-sim`: what a researcher does."""

from __future__ import annotations

import typer

from simulations import demo
from simulations.benchmarks import __main__ as benchmarks

app = typer.Typer(help="Many clients on one machine.", no_args_is_help=True, add_completion=False)
app.command("demo")(demo.main)
app.command("bench")(benchmarks.main)


def main() -> None:
    """Run the command line."""
    app()
