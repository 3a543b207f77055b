"""`shoal rate`: pairs of pictures at a terminal, the better one of each, and the taste that is learned from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from client.options import Home, Json, Model, Threads
from client.quiet import quiet


def command(
    *,
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", "-p", help="What to draw pairs of; may be given several times.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="Pairs to judge.")] = 8,
    pool: Annotated[int, typer.Option(help="Pictures drawn, of which the two that tell most are shown.")] = 4,
    learn_every: Annotated[int, typer.Option(help="Learn anew after so many answers; 0: only at the end.")] = 4,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the pictures, which stay. [default: one that goes]")
    ] = None,
    forwards: Annotated[int | None, typer.Option(help="Forward passes to spend at most on a learning.")] = None,
    model: Model = None,
    threads: Threads = None,
    machine: Json = False,
    home: Home,
) -> None:
    """Choose the better of two pictures, again and again; your taste is learned from it. Ctrl-C loses nothing."""
    quiet()
    from client.taste.sitting import Rating, rate  # noqa: PLC0415 - what other commands need not load

    rating = Rating(
        prompts=tuple(prompt or ()), count=count, pool=pool, learn_every=learn_every, out=out, forwards=forwards,
        threads=threads,
    )  # fmt: skip
    done = rate(rating, model, home, Console(stderr=machine))
    if machine:
        typer.echo(json.dumps(done.as_json()))
    if done.stopped:
        raise typer.Exit(130)
