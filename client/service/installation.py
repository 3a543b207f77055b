"""Puts a service file in its place, starts it, and never takes a person's own changes for its own."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from client.files import write_whole
from common.errors import ConfigError

RECORD = "service.sha256"
"""In the state folder: the digest of what was installed, by which a change by hand shows."""

Words = tuple[str, ...]
Run = Callable[[Words], tuple[int, bytes]]
"""Runs a command of the system; returns its exit code and what it printed on both streams."""

State = Literal["absent", "ours", "changed", "foreign"]
STATES: dict[State, str] = {
    "absent": "not installed",
    "ours": "installed",
    "changed": "installed, and changed by hand since",
    "foreign": "there, but not installed by this Shoal",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """How one system keeps a program running."""

    file: Path
    content: bytes
    start: tuple[Words, ...]
    """Commands that make the system read the file and start it, again if it ran."""
    stop: tuple[Words, ...]
    """Commands that end it and keep it from starting; they may fail where there is nothing to end."""
    forget: tuple[Words, ...] = ()
    """Commands after the file is gone."""
    running: Words
    """Succeeds while it runs."""
    registered: Words | None = None
    """Prints what the system itself keeps of it, where that is not the file."""
    note: str = ""
    """What the person should know."""


def run(words: Words) -> tuple[int, bytes]:
    """Run a command of the system.

    Raises:
        ConfigError: there is no such command.
    """
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)  # noqa: S603 - ours
    except OSError as error:
        raise ConfigError(
            f"{words[0]} cannot be run here ({error.strerror}): keep `shoal daemon` running by means of your own"
        ) from error
    return done.returncode, done.stdout


def state(installation: Installation, home: Path, run: Run = run) -> State:
    """Say whether the service is installed, and whether it is what was installed."""
    found = _found(installation, run)
    if found is None:
        return "absent"
    try:
        recorded = (home / RECORD).read_text().strip()
    except OSError:
        same = installation.registered is None and found == installation.content
        return "ours" if same else "foreign"
    return "ours" if _digest(found) == recorded else "changed"


def install(installation: Installation, home: Path, *, force: bool = False, run: Run = run) -> list[str]:
    """Write the file and start the service; return what was done, in words.

    Doing it twice does nothing the second time. A file that was changed by hand is replaced only by force, and kept.

    Raises:
        ConfigError: the file is not ours to replace, or cannot be written, or the system refused to start it.
    """
    runs = run(installation.running)[0] == 0  # first of all: where there is nothing to ask, nothing is written
    before = state(installation, home, run)
    told = _spare(installation, before, force=force)
    try:
        if runs and before == "ours" and installation.file.read_bytes() == installation.content:
            return ["it is installed and running already"]
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(installation.file, installation.content, replace=True)
    except OSError as error:
        raise ConfigError(
            f"{installation.file} cannot be written ({error.strerror}): mend that and try again"
        ) from error
    told.append(f"wrote {installation.file}")
    _remember(installation, home, run)  # at once and after each step: one that fails leaves what is still ours
    for words in installation.start:
        _ordered(words, run)
        _remember(installation, home, run)
    return [*told, "started it; it starts by itself from now on", *filter(None, [installation.note])]


def remove(installation: Installation, home: Path, *, force: bool = False, run: Run = run) -> list[str]:
    """End the service and delete its file; return what was done, in words.

    Raises:
        ConfigError: the file was changed by hand and there is no force, or it cannot be deleted.
    """
    before = state(installation, home, run)
    if before == "absent":
        return ["it is not installed"]
    told = _spare(installation, before, force=force)
    for words in installation.stop:
        run(words)
    try:
        installation.file.unlink(missing_ok=True)
        (home / RECORD).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{installation.file} cannot be deleted ({error.strerror}): delete it yourself") from error
    for words in installation.forget:
        run(words)
    return [*told, f"stopped it and deleted {installation.file}; concepts and settings stay"]


def _found(installation: Installation, run: Run) -> bytes | None:
    """Return all that there is of a service, or None."""
    try:
        file: bytes | None = installation.file.read_bytes()
    except FileNotFoundError:
        file = None
    except OSError as error:
        raise ConfigError(f"{installation.file} cannot be read ({error.strerror}): mend that and try again") from error
    if installation.registered is None:
        return file
    code, kept = run(installation.registered)
    kept = kept if code == 0 else b""
    return None if file is None and not kept else (file or b"") + kept


def _spare(installation: Installation, before: State, *, force: bool) -> list[str]:
    """Refuse to touch what is not ours; by force put a copy aside."""
    if before in {"absent", "ours"}:
        return []
    if not force:
        why = "was changed by hand" if before == "changed" else "was not installed by this Shoal"
        raise ConfigError(f"{installation.file} {why}: --force goes on, and keeps it as {_copy(installation).name}")
    try:
        if not installation.file.exists():
            return []
        write_whole(_copy(installation), installation.file.read_bytes(), replace=True)
    except OSError as error:
        raise ConfigError(
            f"{_copy(installation)} cannot be written ({error.strerror}): move it away yourself"
        ) from error
    return [f"kept what was there as {_copy(installation)}"]


def _copy(installation: Installation) -> Path:
    return installation.file.with_name(installation.file.name + ".old")


def _remember(installation: Installation, home: Path, run: Run) -> None:
    found = _found(installation, run)
    write_whole(home / RECORD, (_digest(found or b"") + "\n").encode(), replace=True)


def _ordered(words: Words, run: Run) -> None:
    code, said = run(words)
    if code != 0:
        reason = " ".join(said.decode(errors="replace").split())
        raise ConfigError(f"`{' '.join(words)}` failed ({reason}): the file is in its place, mend that and try again")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
