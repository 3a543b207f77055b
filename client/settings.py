"""What the person chose: `shoal.toml` in the state folder, the folders that are watched and when there may be work.

The file is the person's to edit too; a name that is not known is refused rather than overlooked. A program that
changes it (`shoal watch`, the page) writes it whole and anew, so that comments in it are lost.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import tomli_w
from filelock import FileLock, Timeout

from client.files import write_whole
from client.placeholder import placeholder
from common.errors import ConfigError

FILE: Final = "shoal.toml"
HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
_WAIT: Final = 10.0
"""Seconds for which another program's change is waited for; one takes milliseconds."""
_HEAD: Final = b"# Shoal's settings. Programs that change them write this file anew.\n"
_Part = TypeVar("_Part", "Watched", "Conditions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One folder of photos of one thing: `[[watch]]` in shoal.toml."""

    folder: Path
    """Absolute; read, never written."""
    name: str
    """What the concept is called."""
    kind: Literal["object", "style"] = "object"
    class_word: str = ""
    """What it is one of, "dog"; empty for a style."""

    def __post_init__(self) -> None:
        """Refuse what could not be learned."""
        placeholder(self.name)
        if not self.folder.is_absolute():
            raise ConfigError(f"watch.folder must be absolute, got {self.folder}: write it out from the root")
        if self.kind not in {"object", "style"}:
            raise ConfigError(f"watch.kind must be object or style, got {self.kind!r}")
        if self.kind == "object" and not self.class_word:
            raise ConfigError(f"<{self.name}> is an object and needs a class, the common word for it, as in dog")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """When the daemon may work: `[conditions]` in shoal.toml. All of them must hold."""

    idle_minutes: float = 5.0
    """Learn only when nobody touched the computer for so long; 0: also while somebody works."""
    on_power: bool = True
    """Learn only with the charger connected; a computer without a battery always is."""
    hottest: float = 85.0
    """Learn only while no part is hotter, in °C; 0: at any temperature."""
    unmetered: bool = True
    """Take part in rounds only where the network costs nothing by volume."""
    hours: str = ""
    """Work only between these hours by the clock here, "22:00-07:00"; empty: at any hour."""

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        for name, most in (("idle_minutes", 24 * 60), ("hottest", 150)):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= most):
                raise ConfigError(f"conditions.{name} must be 0 to {most}, got {value}")
        if self.hours and not HOURS.fullmatch(self.hours):
            raise ConfigError(f'conditions.hours must be as "22:00-07:00", or empty, got {self.hours!r}')

    def span(self) -> tuple[int, int] | None:
        """Return first and last minute of the allowed hours, counted from midnight; None for any hour."""
        found = HOURS.fullmatch(self.hours)
        if found is None:
            return None
        first, first_minute, last, last_minute = map(int, found.groups())
        return 60 * first + first_minute, 60 * last + last_minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of shoal.toml."""

    watched: tuple[Watched, ...] = ()
    conditions: Conditions = field(default_factory=Conditions)

    def __post_init__(self) -> None:
        """Refuse two folders of one name: which of them would the concept be?"""
        names = [one.name for one in self.watched]
        double = {name for name in names if names.count(name) > 1}
        if double:
            raise ConfigError(f"two watched folders are called {min(double)}: give one of them another name")


def read_settings(home: Path) -> Settings:
    """Return the settings; the defaults where there is no file.

    Raises:
        ConfigError: the file cannot be read, or something in it is not known or means nothing.
    """
    file = home / FILE
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read ({error}): mend it, or delete it for the defaults") from error
    try:
        return _settings(found)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error


def change_settings(home: Path, change: Callable[[Settings], Settings]) -> Settings:
    """Change the settings, one program at a time; return what they are now.

    Raises:
        ConfigError: they cannot be read or written, or the change means nothing; they stay as they were.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(home / f".{FILE}.lock", timeout=_WAIT, mode=0o600):
            changed = change(read_settings(home))
            write_whole(home / FILE, _HEAD + tomli_w.dumps(_values(changed)).encode(), replace=True, mode=0o600)
            return changed
    except Timeout as error:
        raise ConfigError(f"another program is changing {home / FILE}: try again") from error
    except OSError as error:
        raise ConfigError(
            f"cannot write {home / FILE} ({error.strerror}): make room or choose another --home"
        ) from error


def with_conditions(settings: Settings, **changes: object) -> Settings:
    """Return the settings with some conditions changed, checked as if they stood in the file.

    Raises:
        ConfigError: a condition is not known, or its value means nothing.
    """
    return replace(settings, conditions=_part(Conditions, asdict(settings.conditions) | changes, "conditions"))


def _settings(found: Mapping[str, Any]) -> Settings:
    _known(found, {"watch", "conditions"}, "")
    watched, conditions = found.get("watch", []), found.get("conditions", {})
    if not isinstance(watched, list) or not isinstance(conditions, dict):
        raise ConfigError("watched folders stand as [[watch]], conditions as [conditions]")
    return Settings(
        watched=tuple(_watched(one) for one in watched),
        conditions=_part(Conditions, conditions, "conditions"),
    )


def _watched(found: object) -> Watched:
    if not isinstance(found, dict):
        raise ConfigError("each watched folder stands as a [[watch]] of its own")
    renamed = {("class_word" if key == "class" else key): value for key, value in found.items()}
    if not isinstance(renamed.get("folder"), str) or "name" not in renamed:
        raise ConfigError("each [[watch]] needs a folder and a name")
    return _part(Watched, renamed | {"folder": Path(renamed["folder"])}, "watch")


def _part(form: type[_Part], found: Mapping[str, Any], name: str) -> _Part:
    """Make one part of the settings; its default tells what type a value must have."""
    _known(found, {one.name for one in fields(form)}, f"{name}.")
    wanted: dict[str, type | tuple[type, ...]] = {
        "folder": Path, "on_power": bool, "unmetered": bool, "idle_minutes": (int, float), "hottest": (int, float),
    }  # fmt: skip
    for key, value in found.items():
        expected = wanted.get(key, str)
        if not isinstance(value, expected) or (expected == (int, float) and isinstance(value, bool)):
            kind = {bool: "true or false", (int, float): "a number"}.get(expected, "a text in quotes")
            raise ConfigError(f"{name}.{key} must be {kind}, got {value!r}")
    return form(**found)


def _known(found: Mapping[str, Any], names: set[str], before: str) -> None:
    for key in found:
        if key not in names and not (before == "watch." and key == "class"):
            raise ConfigError(f"{before}{key} is not known: expected {', '.join(sorted(names))}")


def _values(settings: Settings) -> dict[str, Any]:
    watched = [
        {"folder": str(one.folder), "name": one.name, "kind": one.kind}
        | ({"class": one.class_word} if one.class_word else {})
        for one in settings.watched
    ]
    return {"conditions": asdict(settings.conditions)} | ({"watch": watched} if watched else {})
