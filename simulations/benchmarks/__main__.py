"""``python -m simulations.benchmarks NAME [--full]``: run a benchmark, print it, write ``build/bench/NAME.json``.

The exit code is 0 even where a bar fails: a benchmark measures, tests judge. A failed bar is printed loudly.
"""

from __future__ import annotations

import inspect
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from client.quiet import silence
from common.errors import ShoalError
from simulations.benchmarks.framework import show, write

BENCHMARKS = {
    "backbone": "do pictures of the Pictograms backbone show what their captions say",
    "timesteps": "where on the noise schedule text steers the backbone",
    "bending": "how well slopes foretell a prediction elsewhere, along tokens and through the text encoder",
    "foresight": "how well what a backbone draws for words foretells what it draws for other tokens",
    "forwards": "forward passes to a set loss, with and without a prior",
    "quality": "do pictures of learned tokens look like the person's, and follow the rest of the prompt",
    "audit": "what attacks on contributions find, with the protection off and on; a least ε beside the claimed",
    "step": "processor time of one step of learning, beside the published loop's, and its slopes beside float32's",
    "memory": "resident memory of a step of ours, of others' ways to learn, and of drawing, each in a fresh process",
    "large": "memory and processor time of a step on Stable Diffusion XL's true shape",
    "link": "what one SuperLink bears: 1,000 connected devices, looks a second, a round of 128 among them",
    "taste": "how often pictures steered to a taste suit better, by pairs chosen between, with and without a prior",
    "update": "error of a prior's directions by people and ε, beside the least possible",
    "secagg": "time and bytes of a secure sum, from 16 to 1,024 devices, beside a plain one",
}

LOG_WIDTH = 200
"""Columns where there is no terminal: in a log of 80 a table's cells are cut off."""


def main(
    name: Annotated[str, typer.Argument(help="; ".join(f"{n}: {what}" for n, what in BENCHMARKS.items()))],
    full: Annotated[bool, typer.Option("--full", help="The long form, whose numbers are quoted.")] = False,  # noqa: FBT002 - typer
    seed: Annotated[int, typer.Option(help="Of every random draw.")] = 0,
    model: Annotated[Path | None, typer.Option(help="A backbone's folder; sets SHOAL_MODEL.")] = None,
    out: Annotated[Path, typer.Option(help="Where NAME.json goes.")] = Path("build/bench"),
    kind: Annotated[Literal["object", "style"] | None, typer.Option(help="Newcomers of one kind alone.")] = None,
    noise: Annotated[int | None, typer.Option(help="Draw from other noise than the seed's.")] = None,
    minutes: Annotated[float | None, typer.Option(help="No search is begun later; another run goes on.")] = None,
) -> None:
    """Run one benchmark."""
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH)
    if name not in BENCHMARKS:
        raise typer.BadParameter(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    if model is not None:
        os.environ["SHOAL_MODEL"] = str(model)
    silence()
    run = import_module(f"simulations.benchmarks.{name}").run
    given = {"kinds": kind and (kind,), "minutes": minutes, "noise": noise}
    given = {option: value for option, value in given.items() if value is not None}
    if unknown := given.keys() - inspect.signature(run).parameters.keys():
        raise typer.BadParameter(f"benchmark {name} has no {' and no '.join(sorted(unknown))}")
    try:
        report = run(full=full, seed=seed, **given)
    except ShoalError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error
    show(report, console)
    console.print(f"  written to {write(report, out)}")


if __name__ == "__main__":
    typer.run(main)
