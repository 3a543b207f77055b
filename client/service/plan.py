"""What a service runs: the same command on every system."""

from __future__ import annotations

import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigError

NAME = "shoal"
UNWRITABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories: control characters, bytes that are no text, ends of lines."""
DESCRIPTION = "Shoal: teaches an image model what is yours, on your own device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One person's daemon."""

    program: tuple[str, ...]
    """What starts `shoal`, with absolute path."""
    home: Path
    """The state folder, the only place where it writes; absolute."""
    model: str | None = None
    """Which backbone, where it is not the default one."""

    def __post_init__(self) -> None:
        """Refuse what no service file can hold."""
        for part in self.command:
            if any(unicodedata.category(character) in UNWRITABLE for character in part):
                shown = part.encode("unicode_escape").decode("ascii")
                raise ConfigError(f"{shown} cannot stand in a service file: choose a path without control characters")

    @property
    def command(self) -> tuple[str, ...]:
        """The whole command, word by word."""
        chosen = () if self.model is None else ("--model", self.model)
        return (*self.program, "daemon", "--home", str(self.home), *chosen)


def this_program(python: Path = Path(sys.executable), platform: str = sys.platform) -> tuple[str, ...]:
    """Return what starts the Shoal that is running now: the `shoal` beside its Python, else that Python itself.

    On Windows it is the Python without a window, because the other one would open a terminal at each log-on.
    `-P` keeps a folder called "client" in the working directory from being taken for ours.
    """
    if platform == "win32":
        quiet = python.with_name("pythonw.exe")
        return (str(quiet if quiet.is_file() else python), "-P", "-m", "client")
    script = python.with_name(NAME)
    return (str(script),) if script.is_file() else (str(python), "-P", "-m", "client")
