"""From the sums on record to the next signed version: screen, fit, sign and publish; or withhold and say why.

Everything here is a function of what is in the registry, so that it can be done again after a crash, by any process,
and anyone with the registry can make every version again and compare (`remake`).
"""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

import common.denoising
import common.mixture
import common.statistics
import server.update
from common.errors import ConfigError, PriorError
from common.mixture import total
from common.prior import Kind, Prior, decode_prior, sign_prior
from server.log import events
from server.sanity import suspicions
from server.update import next_prior, pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from numpy.typing import NDArray

    from server.registry import Registry
    from server.update import RoundSum

_LOG: Final = events("flwr.shoal")
_ATTEMPTS: Final = 5
"""Times to fit anew because another shard published in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The settings that a version is made with; with its sums they determine its numbers."""

    minimum_people: int
    max_directions: int
    cohorts: int


class Publisher:
    """Makes the versions of priors for one backbone and public basis."""

    def __init__(
        self, registry: Registry, key: Ed25519PrivateKey, *, backbone: str, public_basis: NDArray[np.float64], fit: Fit
    ) -> None:
        """Say for what, and with what settings.

        Args:
            registry: where the sums are, and versions go.
            key: signs.
            backbone: SHA-256 of the weights.
            public_basis: P, shape (width, dimensions).
            fit: settings.
        """
        self._registry, self._key, self._backbone, self._basis, self._fit = registry, key, backbone, public_basis, fit

    def advance(self, kind: Kind, created: str) -> Prior | None:
        """Take the sums that no version has yet into a new one; None where nothing new can be published.

        A sum that does not look like people is withheld. One with which no prior can be fitted is rejected.

        Args:
            kind: of concept.
            created: the time now, ISO 8601.

        Raises:
            PriorError: other processes kept publishing in between.
        """
        for _ in range(_ATTEMPTS):
            previous = latest(self._registry, self._backbone, kind)
            if not self._screen(kind, previous):
                return None
            prior = self._fitted(kind, previous, created)
            if prior is None or self._publish(prior):
                return prior
        raise PriorError(f"{kind}: other shards published {_ATTEMPTS} times in between: try again")

    def candidate(self, kind: Kind, created: str, *, also: Sequence[str] = ()) -> Prior | None:
        """Fit the version that would come next if these rounds counted too; publish nothing."""
        counted = self._registry.sums(self._backbone, kind, self._basis)
        ids = {item.round_id for item in counted} | set(also)
        previous = latest(self._registry, self._backbone, kind)
        return self._fit_to(self._registry.sums_of(ids), kind, previous, created)

    def roll_back(self, kind: Kind, version: int, created: str) -> Prior:
        """Publish an earlier version's numbers as the next version; rounds since then are rejected.

        Devices never go back to a lower number, so what was published stays published.

        Raises:
            ConfigError: there is no such earlier version.
        """
        current = latest(self._registry, self._backbone, kind)
        if current is None or not 1 <= version < current.version:
            last = current.version - 1 if current else 0
            raise ConfigError(f"{kind} has no earlier version {version}: choose one from 1 to {last}")
        found = self._registry.versions(self._backbone, kind)[version - 1]
        wanted = decode_prior(found.payload)
        for item in self._registry.sums(self._backbone, kind, self._basis):
            if item.round_id not in wanted.rounds:
                self._registry.reject_round(item.round_id, f"rolled back to version {version}")
        again = replace(wanted, version=current.version + 1, created=created)
        fit = self._registry.fit_of(self._backbone, kind, version)
        self._registry.publish(sign_prior(again, self._key), {**fit, "rolled_back_to": version})
        return again

    def _screen(self, kind: Kind, previous: Prior | None) -> bool:
        """Withhold those new sums that do not look like people; tell whether any other is new."""
        known = set(previous.rounds) if previous else set()
        sums = self._registry.sums(self._backbone, kind, self._basis)
        vetted = {entry.round_id for entry in self._registry.rounds(kind=kind) if entry.state == "accepted"}
        old = [item for item in sums if item.round_id in known]
        dimensions = self._basis.shape[1]
        earlier = total(pool(old, dimensions=dimensions)) if old else None
        fresh = [item for item in sums if item.round_id not in known]
        good = 0
        for item in fresh:
            found = [] if item.round_id in vetted else suspicions(item, previous, earlier, dimensions=dimensions)
            if found:
                self._registry.withhold_round(item.round_id, "; ".join(found))
                _LOG.warning("a round is withheld", kind=kind, round=item.round_id, why="; ".join(found))
            else:
                good += 1
        return good > 0

    def _fitted(self, kind: Kind, previous: Prior | None, created: str) -> Prior | None:
        """Fit to all sums that count; while that is impossible, reject the newest."""
        sums = self._registry.sums(self._backbone, kind, self._basis)
        fresh = [item for item in sums if previous is None or item.round_id not in previous.rounds]
        while fresh:
            try:
                return self._fit_to(sums, kind, previous, created)
            except PriorError as error:
                newest = fresh[-1].round_id
                sums.remove(fresh.pop())
                _LOG.warning("a round is rejected: no prior with it", kind=kind, round=newest, why=str(error))
                self._registry.reject_round(newest, str(error))
        return None

    def _fit_to(self, sums: Sequence[RoundSum], kind: Kind, previous: Prior | None, created: str) -> Prior | None:
        return next_prior(
            previous,
            sums,
            backbone=self._backbone,
            kind=kind,
            public_basis=self._basis,
            minimum_people=self._fit.minimum_people,
            max_directions=self._fit.max_directions,
            cohorts=self._fit.cohorts,
            created=created,
        )

    def _publish(self, prior: Prior) -> bool:
        """Sign and store; False where another process was faster."""
        try:
            self._registry.publish(sign_prior(prior, self._key), {**asdict(self._fit), "software": software()})
        except PriorError:
            newest = latest(self._registry, prior.backbone, prior.kind)
            if newest is None or newest.version < prior.version:
                raise
            return False
        return True


def latest(registry: Registry, backbone: str, kind: Kind) -> Prior | None:
    """Read the newest version of a prior."""
    signed = registry.latest(backbone, kind)
    return decode_prior(signed.payload) if signed else None


def remake(registry: Registry, prior: Prior) -> Prior | None:
    """Make a published version again, from the sums on record and the settings noted with it.

    Raises:
        ConfigError: the settings were not noted, or a sum is missing.
    """
    fit = registry.fit_of(prior.backbone, prior.kind, prior.version)
    if not {"minimum_people", "max_directions", "cohorts"} <= fit.keys():
        raise ConfigError(f"{prior.kind} version {prior.version} was published without its settings, by an older Shoal")
    sums = registry.sums_of(prior.rounds)
    if missing := set(prior.rounds) - {item.round_id for item in sums}:
        raise ConfigError(f"the sums of rounds {', '.join(sorted(missing))} are not in this registry: restore a backup")
    return next_prior(
        replace(prior, version=prior.version - 1) if prior.version > 1 else None,
        sums,
        backbone=prior.backbone,
        kind=prior.kind,
        public_basis=prior.public_basis,
        minimum_people=int(fit["minimum_people"]),
        max_directions=int(fit["max_directions"]),
        cohorts=int(fit["cohorts"]),
        created=prior.created,
    )


def software() -> str:
    """Name the mathematics of a fit: SHA-256 (hex) of the source of the modules that have it."""
    modules = (server.update, common.mixture, common.denoising, common.statistics)
    return hashlib.sha256("\0".join(inspect.getsource(module) for module in modules).encode()).hexdigest()
