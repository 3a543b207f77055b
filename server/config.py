"""`shoal-server.toml`: what the operator sets, read once and checked; every key is explained in `server.template`."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_type_hints

from common.errors import ConfigError
from server.settings import RunSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

FILE: Final = "shoal-server.toml"
_HOST: Final = re.compile(r"[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?")
_NOT_IN_ROUNDS: Final = frozenset({"state-folder", "rounds", "unprotected-simulation", "people-folder"})
"""Keys of a run that come from elsewhere, or that no operator may set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """`[federation]`: how people see it, and where devices connect."""

    name: str = "a Shoal federation"
    host: str = "localhost"
    """Name or address under which devices reach this machine."""
    port: int = 8443
    listen: str = "0.0.0.0"  # noqa: S104 - the proxy is what is reachable from outside
    """Address that the proxy binds."""

    def __post_init__(self) -> None:
        """Refuse what no device could connect to."""
        _check(0 < len(self.name) <= 80 and self.name.isprintable(), "federation.name", "1 to 80 characters", self.name)
        _check(_is_host(self.host), "federation.host", "a host's name or address", self.host)
        _check(_is_address(self.listen), "federation.listen", "an address of this machine", self.listen)
        _check_port("federation.port", self.port)

    @property
    def address(self) -> str:
        """Host and port, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """`[tls]`: the operator's own certificate; all empty for the one that `init` made."""

    certificate: str = ""
    key: str = ""
    authority: str = ""

    def __post_init__(self) -> None:
        """Refuse halves."""
        _check(bool(self.certificate) == bool(self.key), "tls", "certificate and key together, or neither", "one")
        _check(bool(self.certificate) or not self.authority, "tls.authority", "for an own certificate", self.authority)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """`[inside]`: ports on loopback, for the parts among themselves."""

    superlink: int = 18443
    enrolment: int = 18444
    page: int = 18445

    def __post_init__(self) -> None:
        """Refuse ports that are none, or twice the same."""
        ports = [self.superlink, self.enrolment, self.page]
        for item in fields(self):
            _check_port(f"inside.{item.name}", getattr(self, item.name))
        _check(len(set(ports)) == len(ports), "inside", "a port of its own for each part", ports)


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """`[devices]`: what is announced to devices, and how they are let in."""

    poll_seconds: float = 5.0
    jitter_seconds: float = 60.0
    code_hours: float = 72.0
    from_one_address: int = 100
    """How many the proxy expects behind one address; more requests a second from there wait, or are refused."""

    def __post_init__(self) -> None:
        """Refuse what the terms could not carry."""
        _check(0.2 <= self.poll_seconds <= 30, "devices.poll-seconds", "0.2 to 30: silence of 60 s is a dropout", self)
        _check(0 <= self.jitter_seconds <= 86_400, "devices.jitter-seconds", "0 to 86400", self.jitter_seconds)
        _check(0 < self.code_hours <= 8_760, "devices.code-hours", "above 0, at most 8760", self.code_hours)
        most = self.from_one_address
        _check(1 <= most <= 100_000, "devices.from-one-address", "1 to 100000", most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`[schedule]`: when rounds are held."""

    hours: tuple[int, ...] = (2,)
    rounds: int = 1

    def __post_init__(self) -> None:
        """Refuse hours that no day has."""
        hours = self.hours
        known = len(set(hours)) == len(hours) and all(0 <= hour <= 23 for hour in hours)
        _check(known, "schedule.hours", "different hours, 0 to 23", hours)
        _check(1 <= self.rounds <= 100, "schedule.rounds", "1 to 100", self.rounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole file."""

    state: Path
    """The state folder, absolute: the file is in it."""
    federation: Federation = field(default_factory=Federation)
    tls: Tls = field(default_factory=Tls)
    inside: Inside = field(default_factory=Inside)
    devices: Devices = field(default_factory=Devices)
    schedule: Schedule = field(default_factory=Schedule)
    rounds: Mapping[str, object] = field(default_factory=dict)
    """As in the file; `run_settings` checks it."""

    @classmethod
    def from_toml(cls, text: str, state: Path) -> Self:
        """Read the file's text.

        Raises:
            ConfigError: it is no TOML, or a key is unknown, of another type or out of range.
        """
        try:
            found = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{FILE} is no TOML ({error}): mend it") from error
        sections = {"federation": Federation, "tls": Tls, "inside": Inside, "devices": Devices, "schedule": Schedule}
        _refuse_unknown("section", found, {*sections, "rounds"})
        for name, section in found.items():
            _check(isinstance(section, dict), name, f"a section, [{name}]", section)
        _refuse_unknown("key in [rounds]", found.get("rounds", {}), rounds_keys())
        read = {name: _section(name, form, found.get(name, {})) for name, form in sections.items()}
        return cls(state=state.absolute(), rounds=found.get("rounds", {}), **read)  # type: ignore[arg-type] # of its form

    @property
    def rounds_a_month(self) -> int:
        """At most so many of each kind in 31 days."""
        return 31 * len(self.schedule.hours) * self.schedule.rounds

    def run_settings(self, rounds: int | None = None) -> RunSettings:
        """Give the settings of a run of so many rounds of each kind; as scheduled if nothing is said.

        Raises:
            ConfigError: what [rounds] says cannot work, or lacks something.
        """
        basis = Path(str(self.rounds.get("public-basis") or "basis.npy"))
        return RunSettings.from_run_config(
            {
                **self.rounds,
                "public-basis": str(basis if basis.is_absolute() else self.state / basis),
                "state-folder": str(self.state),
                "rounds": self.schedule.rounds if rounds is None else rounds,
            }
        )


def read_config(state: Path) -> Config:
    """Read the configuration in a state folder.

    Raises:
        ConfigError: there is none, or it cannot be used.
    """
    path = state / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: `shoal-server init {state}` makes it") from error
    return Config.from_toml(text, state)


def rounds_keys() -> frozenset[str]:
    """Name the keys that `[rounds]` may have: those of a run, but for a few."""
    return frozenset(item.name.replace("_", "-") for item in fields(RunSettings)) - _NOT_IN_ROUNDS


def _section(name: str, form: type, found: Mapping[str, object]) -> object:
    types = get_type_hints(form)
    known = {key.replace("_", "-"): key for key in types}
    _refuse_unknown(f"key in [{name}]", found, known)
    values = {known[key]: _value(f"{name}.{key}", types[known[key]], value) for key, value in found.items()}
    return form(**values)


def _value(name: str, form: object, value: object) -> object:
    if form is float and type(value) in {int, float}:
        return float(value)  # type: ignore[arg-type] # one of the two
    if form in {int, str} and type(value) is form:
        return value
    if form == tuple[int, ...] and isinstance(value, list) and all(type(one) is int for one in value):
        return tuple(value)
    raise ConfigError(f"{name} cannot be {value!r} in {FILE}: the comment above it says what it can be")


def _refuse_unknown(what: str, found: Mapping[str, object], known: object) -> None:
    unknown = sorted(set(found) - set(known))  # type: ignore[call-overload] # an iterable of names
    if unknown:
        raise ConfigError(f"there is no {what} {', '.join(unknown)} in {FILE}: mend it; known are {sorted(known)}")  # type: ignore[call-overload]


def _is_host(text: str) -> bool:
    return _is_address(text) or (len(text) <= 253 and _HOST.fullmatch(text) is not None)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _check_port(name: str, value: int) -> None:
    _check(0 < value < 65536, name, "1 to 65535", value)


def _check(holds: bool, name: str, expected: str, value: object) -> None:  # noqa: FBT001 - reads as a statement
    if not holds:
        raise ConfigError(f"{name} must be {expected}, got {value}: mend {FILE}")
