"""What the person tells the daemon, from the command line or the page: pause, resume, watch, when to work.

All of it lies in files of the state folder that the daemon watches, so that a word is heard whether or not it runs,
and holds after a restart. The child process that learns looks at `is_paused` before every step.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from client.files import write_whole
from client.settings import Conditions, Settings, Watched, change_settings, read_settings, with_conditions
from common.errors import ConfigError, VaultError

PAUSED: Final = "paused"
"""The file that is there while the daemon is to do nothing."""


def pause(home: Path) -> None:
    """Have the daemon do nothing from now on: no learning, no rounds; what was under way is kept.

    Raises:
        VaultError: the state folder cannot be written.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(home / PAUSED, b"", replace=True, mode=0o600)
    except OSError as error:
        raise VaultError(f"cannot write to {home} ({error.strerror}): make room or choose another --home") from error


def resume(home: Path) -> None:
    """Have the daemon go on.

    Raises:
        VaultError: the state folder cannot be written.
    """
    try:
        (home / PAUSED).unlink(missing_ok=True)
    except OSError as error:
        raise VaultError(f"cannot delete {home / PAUSED} ({error.strerror}): delete it yourself") from error


def is_paused(home: Path) -> bool:
    """Tell whether the person paused the daemon."""
    return (home / PAUSED).exists()


def watched(home: Path) -> tuple[Watched, ...]:
    """Return the folders that are watched.

    Raises:
        ConfigError: shoal.toml cannot be read.
    """
    return read_settings(home).watched


def watch(home: Path, one: Watched) -> None:
    """Have the daemon learn the photos of a folder, and again when they change; one of the same name is replaced.

    Raises:
        ConfigError: there is no such folder, it lies in or around the state folder, or shoal.toml cannot be changed.
    """
    if not one.folder.is_dir():
        raise ConfigError(f"{one.folder} is no folder: make it, or name the one with the photos")
    state, folder = home.resolve(), one.folder.resolve()
    if state == folder or state in folder.parents or folder in state.parents:
        raise ConfigError(f"{one.folder} holds Shoal's own state, or lies in it: keep photos in a folder of their own")

    def add(settings: Settings) -> Settings:
        others = tuple(other for other in settings.watched if other.name != one.name)
        return replace(settings, watched=(*others, one))

    change_settings(home, add)


def unwatch(home: Path, name: str) -> bool:
    """Watch a folder no longer; return whether one of that name was watched. What was learned of it stays.

    Raises:
        ConfigError: shoal.toml cannot be changed.
    """
    if all(one.name != name for one in watched(home)):
        return False

    def remove(settings: Settings) -> Settings:
        return replace(settings, watched=tuple(one for one in settings.watched if one.name != name))

    change_settings(home, remove)
    return True


def conditions(home: Path) -> Conditions:
    """Return when the daemon may work.

    Raises:
        ConfigError: shoal.toml cannot be read.
    """
    return read_settings(home).conditions


def set_conditions(home: Path, **changes: object) -> Conditions:
    """Change some of the conditions, by the names of `client.settings.Conditions`; return all of them.

    Raises:
        ConfigError: a name is not known, a value means nothing, or shoal.toml cannot be changed.
    """
    return change_settings(home, lambda settings: with_conditions(settings, **changes)).conditions
