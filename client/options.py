"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from platformdirs import user_data_path

Home = Annotated[
    Path,
    typer.Option(envvar="SHOAL_HOME", help="Where concepts are kept.", default_factory=lambda: user_data_path("shoal")),
]
Model = Annotated[
    str | None, typer.Option("--model", help="Folder or hub name of a Stable Diffusion model, else SHOAL_MODEL.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda or mps.")]
Threads = Annotated[int | None, typer.Option(help="Processor threads. [default: PyTorch's choice]")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
