"""What a person sees on the terminal while something takes long, and how Ctrl-C pauses it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

from client.learn.settings import Progress as Learning
from client.sparkline import sparkline

BAR: Final = 8
"""Columns of a learning's bar, so that 80 have room for what is beside it."""
CURVE: Final = 8
"""The same of its losses."""


@contextmanager
def pausing() -> Iterator[Callable[[], bool]]:
    """Give a question "was a pause asked for?" while Ctrl-C and SIGTERM ask for one.

    The first signal only asks; a second one interrupts at once, as if nobody listened.
    """
    asked = False

    def ask(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, ask)
    try:
        yield lambda: asked
    finally:
        restore()


@contextmanager
def learning_bar(console: Console, label: str) -> Iterator[Callable[[Learning], None]]:
    """Show a bar of forward passes with the losses as a curve, and the time left; where it began if there is room."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(BAR),
        MofNCompleteColumn(),
        TextColumn("forwards · loss {task.fields[loss]} {task.fields[curve]}", markup=False),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[message]}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task(label, total=None, loss="-", curve="", message="getting ready")

        def show(learning: Learning) -> None:
            bar.update(
                task,
                curve=sparkline(learning.losses, CURVE),
                completed=learning.forwards,
                total=learning.total_forwards,
                loss=f"{learning.losses[-1]:.4f}" if learning.losses else "-",
                message=learning.message,
            )

        yield show


@contextmanager
def drawing_bar(console: Console, total: int) -> Iterator[Callable[[float], None]]:
    """Show a bar of denoising steps."""
    with Progress(SpinnerColumn(), BarColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("drawing", total=total)
        yield lambda steps: bar.update(task, advance=steps)
