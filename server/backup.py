"""`shoal-server backup`: everything of a state folder that could not be made again, in one file, while it is in use.

Databases are copied by SQLite's own backup (sqlite.org/backup.html), so that a round may go on meanwhile. What the
SuperLink keeps is left out: it is filled anew from the roster. To restore is to unpack into an empty folder.
"""

from __future__ import annotations

import io
import os
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final

import typer

from common.errors import ConfigError
from server.config import read_config
from server.service.commands import State

app = typer.Typer()

LEFT_OUT: Final = frozenset({"flower", "proxy", "log", "bundle", "inside", "bundle.fab", "bundle.sha256"})
"""What a start makes anew."""
BUSY_SECONDS: Final = 30.0
"""For one database, writers of which are waited for."""
_PASSING: Final = (".lock", ".draft", "-wal", "-shm", "-journal")


@app.command()
def backup(
    state: State,
    file: Annotated[Path, typer.Argument(help="The .tar.gz to write; it holds the keys, so nobody else can read it.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Copy what must not be lost into one file; the server may run. A PostgreSQL registry is backed up by pg_dump."""
    config = read_config(state)
    if file.exists() and not force:
        raise ConfigError(f"{file} is there already: choose another name, or --force")
    draft = file.with_name(f".{file.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            with tarfile.open(fileobj=out, mode="w:gz") as archive:
                names = sorted(path.name for path in config.state.iterdir() if is_kept(path.name))
                for name in names:
                    add(archive, config.state / name, name)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
    except OSError as error:
        raise ConfigError(f"cannot write {file} ({error.strerror}): choose another place") from error
    except sqlite3.Error as error:
        raise ConfigError(f"a database cannot be copied now ({error}): try again") from error
    finally:
        draft.unlink(missing_ok=True)
    typer.echo(f"{file}: {', '.join(names)}")
    if str(config.rounds.get("registry") or "").startswith("postgresql"):
        typer.echo("rounds and priors are in PostgreSQL: back them up with pg_dump")


def is_kept(name: str) -> bool:
    """Tell whether a file or folder at the top of a state folder belongs into a backup."""
    return name not in LEFT_OUT and not name.startswith((".", "parts")) and not name.endswith(_PASSING)


def add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """Add a file or a folder; of a database, a copy that is whole."""
    if path.suffix != ".sqlite":
        archive.add(path, name)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / name
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target, progress=_within(BUSY_SECONDS))
        data = copy.read_bytes()
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), 0o600, int(path.stat().st_mtime)
    archive.addfile(entry, io.BytesIO(data))


def _within(seconds: float) -> Callable[[int, int, int], None]:
    """Give what ends a copy that takes too long: on its own it would wait for a writer for ever."""
    end = time.monotonic() + seconds

    def check(_status: int, _remaining: int, _total: int) -> None:
        if time.monotonic() > end:
            raise sqlite3.OperationalError("another program keeps it busy")

    return check
