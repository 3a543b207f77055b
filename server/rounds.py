"""Rounds: find out who is ready, take one sum, make the next prior of it, tell everybody.

    query.ready   until enough are  ->  train.contribute  ->  registry  ->  next prior  ->  query.prior

What must survive is in the registry before the next step begins: a sum before a prior is made of it, a prior before
it is announced. What a process remembers between rounds (who is ready, who holds the prior) it can ask again.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from common.errors import ConfigError, PriorError, ProtocolError
from common.messages import (
    ContributionReply,
    PriorNotice,
    PriorReply,
    ReadyQuery,
    ReadyReply,
    RoundCall,
    from_fields,
    pack_basis,
    to_fields,
    unpack_vector,
)
from common.prior import Kind, Prior, check_public_basis, decode_prior, sign_prior
from common.statistics import block_length, sensitivity
from server.exchange import Answers, Clock, exchange
from server.registry import Registry, Round
from server.update import next_prior

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from flwr.serverapp import Grid
    from numpy.typing import NDArray

    from common.messages import Fields
    from server.settings import RunSettings

MOST_PEOPLE: Final = 128
"""In one round: more wait for the next (design, section 5)."""

REST: Final = 4.0
"""After a look, rest so many times as long as it took: asking many people, or on a busy machine, must not cost those
who learn. 40 virtual people and two kinds take some 0.6 s of a core for each look."""
LONGEST_REST_SECONDS: Final = 15.0

_LOG: Final = logging.getLogger("flwr.shoal")
"""Below Flower's own logger, so that it is seen wherever Flower's is: in a terminal, in `flwr run --stream`."""

Reply = TypeVar("Reply", ReadyReply, ContributionReply, PriorReply)


@dataclass(slots=True)
class Standing:
    """What is known between two rounds of one kind."""

    rounds: int = 0
    """Finished in this run."""
    last: float = 0.0
    """When the latest ended, or the run began; seconds of the clock."""
    ready: set[int] = field(default_factory=set)
    """Nodes that said yes since then."""
    told: set[int] = field(default_factory=set)
    """Nodes that answered to the latest prior, whether they took it or not."""


class Rounds:
    """All rounds of one run, for every kind, over one grid."""

    def __init__(
        self,
        grid: Grid,
        settings: RunSettings,
        *,
        registry: Registry,
        key: Ed25519PrivateKey,
        clock: Clock,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare; nobody is asked anything yet.

        Args:
            grid: Flower's connection to the nodes.
            settings: the operator's.
            registry: where sums and priors are kept.
            key: signs priors.
            clock: seconds, for waiting.
            wall: the date and time, for the books.

        Raises:
            ConfigError: the public basis is unusable, or not the one that the registry's priors were made with.
        """
        self._grid, self._settings, self._registry, self._key = grid, settings, registry, key
        self._clock, self._wall = clock, wall
        self._basis = load_basis(settings.public_basis)
        self._standing = {kind: Standing(last=clock.now()) for kind in settings.kinds}
        for kind in settings.kinds:
            prior = self._prior(kind)
            if prior is not None and not np.array_equal(prior.public_basis, self._basis):
                message = f"{settings.public_basis} is not the basis of the {kind} prior: give the one it was made with"
                raise ConfigError(message)

    def run(self) -> None:
        """Hold rounds until each kind has had its share, or nothing happens for longer than the patience."""
        while open_kinds := [kind for kind in self._standing if self._standing[kind].rounds < self._settings.rounds]:
            began = self._clock.now()
            for kind in open_kinds:
                self.look(kind)
            took = self._clock.now() - began
            if all(self._is_over(kind) for kind in open_kinds):
                _LOG.warning("no round of %s for %g s: ending", ", ".join(open_kinds), self._settings.patience_seconds)
                return
            if any(self._standing[kind].rounds < self._settings.rounds for kind in open_kinds):
                self._clock.sleep(max(self._settings.poll_seconds, min(REST * took, LONGEST_REST_SECONDS)))

    def look(self, kind: Kind) -> None:
        """Tell newcomers the prior, see who is ready, and hold a round if they are enough."""
        standing, nodes = self._standing[kind], set(self._grid.get_node_ids())
        standing.ready &= nodes
        self.announce(kind, nodes)
        standing.ready |= self._ask(kind, nodes - standing.ready)
        needed = self._settings.minimum_people if self._is_over(kind) else self._settings.wave(kind)
        if len(standing.ready) >= needed:
            self.hold(kind, sorted(standing.ready)[:MOST_PEOPLE])
            self.announce(kind, nodes)

    def hold(self, kind: Kind, nodes: Iterable[int]) -> Prior | None:
        """Hold one round with these nodes; give the prior made of it, if there is one."""
        previous, started = self._prior(kind), self._wall()
        call = self._call(kind, previous)
        answers = self._exchange("train.contribute", to_fields(call), nodes, call.round_id)
        cohorts = len(previous.cohorts) if previous else 1
        vectors = accept(answers, length=cohorts * block_length(self._basis.shape[1]))
        enough = len(vectors) >= self._settings.minimum_people
        self._book(call, vectors if enough else [], started)
        standing = self._standing[kind]
        standing.rounds += int(enough)
        standing.last, standing.ready = self._clock.now(), set()
        _LOG.info("%s round %s: %d people, %s", kind, call.round_id, len(vectors), dict(answers.failures))
        return self._publish(kind, previous) if enough else None

    def announce(self, kind: Kind, nodes: Iterable[int]) -> None:
        """Send the latest prior to those of the nodes that have not answered to it yet."""
        signed, standing = self._registry.latest(self._settings.backbone, kind), self._standing[kind]
        if signed is None or not (missing := set(nodes) - standing.told):
            return
        notice = PriorNotice(backbone=self._settings.backbone, payload=signed.payload, signature=signed.signature)
        answers = self._exchange("query.prior", to_fields(notice), missing, f"{kind}-prior")
        standing.told |= answers.fields.keys()
        stored = sum(reply.stored for reply in _readable(PriorReply, answers).values())
        _LOG.info("%s prior: %d of %d took it, %s", kind, stored, len(missing), dict(answers.failures))

    def _ask(self, kind: Kind, nodes: Iterable[int]) -> set[int]:
        prior = self._prior(kind)
        version = prior.version if prior else 0
        query = ReadyQuery(kind=kind, backbone=self._settings.backbone, prior_version=version)
        answers = self._exchange("query.ready", to_fields(query), nodes, f"{kind}-ready")
        return {node for node, reply in _readable(ReadyReply, answers).items() if reply.ready}

    def _call(self, kind: Kind, previous: Prior | None) -> RoundCall:
        return RoundCall(
            round_id=uuid.uuid4().hex,
            kind=kind,
            backbone=self._settings.backbone,
            prior_version=previous.version if previous else 0,
            clip=self._settings.clip,
            public_basis=b"" if previous else pack_basis(self._basis),
        )

    def _book(self, call: RoundCall, vectors: Sequence[NDArray[np.float64]], started: datetime) -> None:
        """Write a round down; without vectors, as one whose sum was never opened."""
        self._registry.record_round(
            Round(
                round_id=call.round_id,
                kind=call.kind,
                backbone=call.backbone,
                public_basis=self._basis,
                state="done" if vectors else "aborted",
                people=len(vectors),
                total=np.sum(vectors, axis=0) if vectors else None,
                clip=call.clip,
                prior_version=call.prior_version,
                started=started,
                ended=self._wall(),
            )
        )

    def _publish(self, kind: Kind, previous: Prior | None) -> Prior | None:
        """Make, sign and store the next version; a fit out of bounds keeps the last good one."""
        settings = self._settings
        try:
            prior = next_prior(
                previous,
                self._registry.sums(settings.backbone, kind, self._basis),
                backbone=settings.backbone,
                kind=kind,
                public_basis=self._basis,
                minimum_people=settings.minimum_people,
                max_directions=settings.max_directions,
                cohorts=settings.cohorts,
                created=self._wall().isoformat(timespec="seconds"),
            )
        except PriorError:
            _LOG.exception("%s: no new prior, the last good one stays", kind)
            return None
        if prior is not None:
            self._registry.publish(sign_prior(prior, self._key))
            self._standing[kind].told = set()
            _LOG.info("%s prior: version %d of %d people", kind, prior.version, prior.people)
        return prior

    def _prior(self, kind: Kind) -> Prior | None:
        signed = self._registry.latest(self._settings.backbone, kind)
        return decode_prior(signed.payload) if signed else None

    def _is_over(self, kind: Kind) -> bool:
        """Tell whether this kind has waited for its wave longer than the patience."""
        return self._clock.now() - self._standing[kind].last > self._settings.patience_seconds

    def _exchange(self, action: str, question: Fields, nodes: Iterable[int], group: str) -> Answers:
        seconds = self._settings.deadline_seconds
        return exchange(self._grid, action, question, nodes, group=group, seconds=seconds, clock=self._clock)


def accept(answers: Answers, *, length: int) -> list[NDArray[np.float64]]:
    """Read the contributions of a round; what no honest device sends is dropped and counted under `refused`.

    Args:
        answers: to `train.contribute`.
        length: how many numbers a contribution has.
    """
    vectors = []
    for reply in _readable(ContributionReply, answers).values():
        try:
            vectors.append(unpack_vector(reply.contribution, length=length, bound=sensitivity()))
        except ProtocolError:
            answers.failures["refused"] += 1
    return vectors


def load_basis(path: Path) -> NDArray[np.float64]:
    """Read the public basis P, shape (width, dimensions), rounded to float32 as devices get it.

    Raises:
        ConfigError: no such array, or one whose columns are not orthonormal.
    """
    try:
        found = np.load(path, allow_pickle=False)
        basis = np.asarray(found, dtype=np.float32).astype(np.float64)
        check_public_basis(basis, width=len(basis))
    except (OSError, ValueError, TypeError, PriorError) as error:
        message = f"public-basis {path} is unusable ({error}): give an .npy file of shape (width, dimensions)"
        raise ConfigError(message) from error
    return basis


def _readable(form: type[Reply], answers: Answers) -> dict[int, Reply]:
    """Read the answers that keep to the protocol; count the others under `refused`."""
    found: dict[int, Reply] = {}
    for node, fields in answers.fields.items():
        try:
            found[node] = from_fields(form, fields)
        except ProtocolError:
            answers.failures["refused"] += 1
    return found
