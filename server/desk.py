"""Where an operator's commands and page work: the registry of one state folder, its settings, and its key."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from common.errors import ConfigError
from common.prior import KINDS, Kind, Prior, decode_prior
from server.config import read_config
from server.keys import signing_key
from server.publication import Fit, Publisher, latest
from server.registry import Registry
from server.rounds import load_basis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from server.settings import RunSettings


@dataclass(frozen=True, slots=True)
class Desk:
    """An open registry, and how its priors are made."""

    registry: Registry
    settings: RunSettings

    def publisher(self) -> Publisher:
        """Give what makes versions, with the settings of now."""
        settings = self.settings
        return Publisher(
            self.registry,
            signing_key(settings.state_folder),
            backbone=settings.backbone,
            public_basis=load_basis(settings.public_basis),
            fit=Fit(
                minimum_people=settings.minimum_people,
                max_directions=settings.max_directions,
                cohorts=settings.cohorts,
            ),
        )

    def versions(self, kind: Kind) -> list[Prior]:
        """Give all versions of a kind, the first one first."""
        return [decode_prior(signed.payload) for signed in self.registry.versions(self.settings.backbone, kind)]

    def version(self, kind: Kind, number: int | None = None) -> Prior:
        """Give one version, or the latest.

        Raises:
            ConfigError: there is none of this number.
        """
        if number is None:
            prior = latest(self.registry, self.settings.backbone, kind)
        else:
            prior = next((one for one in self.versions(kind) if one.version == number), None)
        if prior is None:
            raise ConfigError(f"there is no {kind} prior{'' if number is None else f' {number}'}: see `priors list`")
        return prior

    def accept(self, round_id: str) -> Prior | None:
        """Let a withheld round count, and make the version that it allows."""
        kind = self.kind_of(round_id)
        self.registry.accept_round(round_id)
        return self.publisher().advance(kind, now())

    def reject(self, round_id: str, reason: str) -> None:
        """Keep a round out of all fits."""
        self.kind_of(round_id)
        self.registry.reject_round(round_id, reason)

    def kind_of(self, round_id: str) -> Kind:
        """Find a round's kind.

        Raises:
            ConfigError: there is no such round.
        """
        for entry in self.registry.rounds():
            if entry.round_id == round_id:
                return entry.kind
        raise ConfigError(f"there is no round {round_id}: see `rounds list`")


@contextmanager
def desk(state: Path) -> Iterator[Desk]:
    """Open the registry of a state folder, as its configuration says.

    Raises:
        ConfigError: there is no usable configuration.
    """
    settings = read_config(state).run_settings()
    with Registry(settings.registry_url) as registry:
        yield Desk(registry, settings)


def one_kind(text: str) -> Kind:
    """Read a kind.

    Raises:
        ConfigError: there is no such kind.
    """
    for kind in KINDS:
        if kind == text:
            return kind
    raise ConfigError(f"there is no kind {text!r}: choose among {', '.join(KINDS)}")


def now() -> str:
    """The time, as priors have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
