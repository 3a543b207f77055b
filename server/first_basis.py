"""`shoal-server bootstrap`: the first public basis from a folder of public pictures.

The server has no model library; the learning is `shoal-sim bootstrap`, of the same distribution with the extra
`simulation`, here or on any other machine.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from common.errors import ConfigError
from server.config import FILE, read_config
from server.service.commands import Json, State
from server.state import BASIS

app = typer.Typer()


@app.command()
def bootstrap(
    state: State,
    images: Annotated[Path, typer.Argument(help="Public pictures: a subfolder for each concept, named by its class.")],
    *,
    model: Annotated[Path | None, typer.Option(help="Folder of the backbone. [default: the one that ships]")] = None,
    dimensions: Annotated[int | None, typer.Option(help="Of the basis. [default: 64]")] = None,
    machine: Json = False,
) -> None:
    """Learn public pictures, keep the better basis, and set it and the backbone in the configuration."""
    config = read_config(state)
    if config.rounds.get("backbone") and (state / BASIS).exists():
        raise ConfigError(f"{state} has a basis: its priors would be lost: move {BASIS} away first")
    program = Path(sys.executable).with_name("shoal-sim")
    if not program.exists():
        raise ConfigError("shoal-sim is not here: pip install 'shoal[simulation]', or run it elsewhere and copy")
    words = [str(program), "bootstrap", str(images), str(state / BASIS), "--json"]
    words += ["--model", str(model)] if model else []
    words += ["--dimensions", str(dimensions)] if dimensions else []
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise ConfigError("no basis was made: what is wrong stands above")
    found = json.loads(done.stdout)
    set_backbone(state, found["backbone"])
    if machine:
        typer.echo(json.dumps(found))
        return
    typer.echo(f"the basis is by the {found['chosen']}; next: shoal-server serve {state}")


def set_backbone(state: Path, backbone: str) -> None:
    """Write the backbone into the configuration, everything else in it left as it is."""
    path = state / FILE
    text = path.read_text(encoding="utf-8")
    changed = re.sub(r"^backbone = .*$", f'backbone = "{backbone}"', text, count=1, flags=re.MULTILINE)
    path.write_text(changed, encoding="utf-8")
    if read_config(state).rounds.get("backbone") != backbone:
        raise ConfigError(f"set rounds.backbone in {path} to {backbone}: the line was not found")
