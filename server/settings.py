"""What the operator sets for a run: Flower's run configuration, read once and checked."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, get_type_hints

from common.errors import ConfigError
from common.messages import ROUND_SECONDS
from common.prior import KINDS, MAXIMUM_NORM, Kind
from common.secagg.rules import MINIMUM_PEOPLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

T = TypeVar("T")
_CLIENT_KEYS: Final = frozenset({"people-folder"})
"""Keys of the same run configuration that are not for the server."""
MOST_PEOPLE: Final = 128
"""In one round: more wait for the next (design, section 5)."""
CLIPS: Final[dict[Kind, float]] = {"object": 1.0, "style": 1.25, "taste": 0.4}
"""C by kind: on Pictograms more than 19 of 20 people are shorter (docs/learning.md). Noise is as large as C, so that
too long a one hides everybody; where nearly all are longer, sums are withheld (`server.sanity`)."""
_BACKBONE: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """One run of the server app. In the run configuration names have dashes and tuples are comma-separated text."""

    state_folder: Path
    """Signing key and, unless `registry` says otherwise, the database."""
    backbone: str
    """SHA-256 of the backbone's weights, lower-case hex."""
    public_basis: Path
    """An .npy file: P, shape (width, dimensions), orthonormal columns."""
    registry: str = ""
    """SQLAlchemy URL; empty for SQLite in the state folder."""
    shard: str = ""
    """Which of several SuperLinks that share one registry this is; rounds that a crash left open belong to one shard.
    Let one server app run for each."""
    kinds: tuple[Kind, ...] = KINDS
    rounds: int = 3
    """Rounds of each kind; the run ends when all are done."""
    minimum_people: int = 8
    """Fewest people in a round, from its announcement to its sum; devices refuse fewer than 8, whatever is said here.
    A round asks for more where more are ready: see `server.rounds.TOLERANCE`."""
    epsilon: float = 1.0
    """Central ε that one round costs each of its people at most, at `delta`: the noise is planned for it. Devices
    compute their own and refuse what their budget does not allow."""
    delta: float = 1e-6
    """With this probability all bets may be off. Devices count at 1e-6, whatever is said here."""
    unprotected_simulation: bool = False
    """Leave the noise out, which only virtual people of a simulation accept; a device refuses such rounds."""
    wave_size: tuple[int, ...] = ()
    """How many must be ready for a round to start: one number for all kinds or one for each; none for the minimum."""
    clip: tuple[float, ...] = ()
    """C, in units of the embedding: a longer x = Pᵀδ is scaled down to it. One number for all kinds or one for each;
    none for `CLIPS`."""
    max_directions: int = 16
    """Most directions k of a cohort."""
    cohorts: int = 2
    """Most cohorts J."""
    poll_seconds: float = 5.0
    """At least so long between one look at who is ready and the next."""
    deadline_seconds: float = 60.0
    """For the replies of one exchange; at most a fifth of what devices give a whole round."""
    patience_seconds: float = 3600.0
    """After so long without a round, a kind's round starts with those who are ready, if they are `minimum_people`;
    if there is none to start, the run ends."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, before anybody is asked anything."""
        _check(_BACKBONE.fullmatch(self.backbone) is not None, "backbone", "64 hexadecimal digits", self.backbone)
        known = bool(self.kinds) and set(self.kinds) <= set(KINDS) and len(set(self.kinds)) == len(self.kinds)
        _check(known, "kinds", f"some of {','.join(KINDS)}", ",".join(self.kinds))
        _check(
            MINIMUM_PEOPLE <= self.minimum_people <= MOST_PEOPLE,
            "minimum-people",
            f"{MINIMUM_PEOPLE} to {MOST_PEOPLE}",
            self.minimum_people,
        )
        _check(math.isfinite(self.epsilon) and self.epsilon > 0, "epsilon", "above 0 and finite", self.epsilon)
        _check(0 < self.delta <= 1e-3, "delta", "above 0 and at most 0.001", self.delta)
        wave = len(self.wave_size) in {0, 1, len(self.kinds)} and all(n >= self.minimum_people for n in self.wave_size)
        _check(wave, "wave-size", "one number, or one for each kind, none below minimum-people", self.wave_size)
        for name in ("rounds", "max_directions", "cohorts"):
            _check(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        clips = len(self.clip) in {0, 1, len(self.kinds)} and all(0 < clip <= MAXIMUM_NORM for clip in self.clip)
        _check(clips, "clip", "one number, or one for each kind, above 0 and finite", self.clip)
        most = ROUND_SECONDS / 5
        _check(self.deadline_seconds <= most, "deadline-seconds", f"at most {most:g}", self.deadline_seconds)
        for name in ("poll_seconds", "deadline_seconds", "patience_seconds"):
            value = getattr(self, name)
            _check(math.isfinite(value) and value > 0, name, "above 0 and finite", value)

    @classmethod
    def from_run_config(cls, found: Mapping[str, object]) -> Self:
        """Read Flower's run configuration.

        Raises:
            ConfigError: a setting is missing, unknown, of another type or out of range.
        """
        types = get_type_hints(cls, include_extras=False)
        known = {item.name.replace("_", "-"): item.name for item in fields(cls)}
        unknown = sorted(set(found) - set(known) - _CLIENT_KEYS)
        _check(not unknown, "run configuration", f"only {', '.join(sorted(known))}", ", ".join(unknown))
        values = {known[key]: _read(key, types[known[key]], value) for key, value in found.items() if key in known}
        for name in ("state_folder", "backbone", "public_basis"):
            _check(values.get(name) not in {None, "", Path()}, name, "a value", "none")
        return cls(**values)  # type: ignore[arg-type] # `_read` gave each its field's type

    def to_run_config(self) -> dict[str, str | int | float]:
        """Write these settings as Flower's run configuration."""
        return {item.name.replace("_", "-"): _write(getattr(self, item.name)) for item in fields(self)}

    @property
    def registry_url(self) -> str:
        """Where the registry is."""
        return self.registry or f"sqlite:///{self.state_folder / 'registry.sqlite'}"

    def wave(self, kind: Kind) -> int:
        """Say how many must be ready for a round of this kind to start."""
        return self._of(kind, self.wave_size, self.minimum_people)

    def bound(self, kind: Kind) -> float:
        """Return C of rounds of this kind."""
        return self._of(kind, self.clip, CLIPS[kind])

    def _of(self, kind: Kind, given: tuple[T, ...], otherwise: T) -> T:
        """Return what was given for a kind, or for all."""
        return given[self.kinds.index(kind) if len(given) > 1 else 0] if given else otherwise


def _read(key: str, form: object, value: object) -> object:
    """Convert one value of the run configuration to its field's type."""
    if form is float and type(value) in {int, float}:
        return float(value)  # type: ignore[arg-type] # one of the two
    if form in {int, str, bool} and type(value) is form:
        return value
    if form is Path and isinstance(value, str):
        return Path(value)
    parts = [part.strip() for part in str(value).split(",") if part.strip()]
    if form == tuple[Kind, ...] and isinstance(value, str):
        return tuple(parts)
    if form == tuple[float, ...] and type(value) in {int, float, str}:
        try:
            return tuple(float(part) for part in parts)
        except ValueError:
            pass
    if form == tuple[int, ...] and type(value) in {int, str} and all(part.isdecimal() for part in parts):
        return tuple(int(part) for part in parts)
    message = f"{key} cannot be {value!r}: give it the type that the documentation of the run configuration states"
    raise ConfigError(message)


def _write(value: object) -> str | int | float:
    if isinstance(value, (str, int, float)):
        return value
    return ",".join(str(part) for part in value) if isinstance(value, tuple) else str(value)


def _check(holds: bool, name: str, expected: str, value: object) -> None:  # noqa: FBT001 - reads as a statement
    if not holds:
        message = f"{name.replace('_', '-')} must be {expected}, got {value}: mend the run configuration"
        raise ConfigError(message)
