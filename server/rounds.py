"""Rounds: find out who is ready, take one secure sum, make the next prior of it, tell everybody.

    query.ready   until enough are  ->  `server.sums`  ->  registry  ->  next prior  ->  query.prior

What must survive is in the registry before the next step begins: a round before it is announced, each reply before the
next exchange is built on it (`server.journal`), a sum before a prior is made of it, a prior before it is announced.
What a process remembers between rounds (who is ready, who holds the prior) it can ask again. After a crash the next
process goes on with the round; whoever's answer was on its way has dropped out, and if too many have, the round ends.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from common.crowd import colluders
from common.errors import AbortedRoundError, ConfigError, PriorError, ProtocolError
from common.messages import (
    PriorNotice,
    PriorReply,
    ReadyQuery,
    ReadyReply,
    RoundCall,
    from_fields,
    pack_basis,
    rules_of,
    to_fields,
    unpack_basis,
)
from common.prior import Kind, Prior, check_public_basis, decode_prior
from common.privacy import Mechanism, noise_variance, plan
from common.statistics import block_length
from server.books import Round
from server.exchange import Answers, Clock, exchange
from server.log import events
from server.publication import Fit, Publisher, latest
from server.registry import Registry
from server.settings import MOST_PEOPLE
from server.succession import signed_now, succession
from server.sums import EXCHANGES, secure_sum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from flwr.serverapp import Grid
    from numpy.typing import NDArray

    from common.messages import Fields
    from common.secagg.rules import Rules
    from server.journal import Journal
    from server.settings import RunSettings
    from server.sums import Progress

TOLERANCE: Final = 0.25
"""Of those who were ready, so many may be lost before their vectors are in the sum. The others' noise makes up for
theirs, so that more tolerance costs more noise; a quarter is what a round of a dozen people on a bad day loses."""

REST: Final = 4.0
"""After a look, rest so many times as long as it took: asking many people, or on a busy machine, must not cost those
who learn. 40 virtual people and two kinds take some 0.6 s of a core for each look."""
LONGEST_REST_SECONDS: Final = 15.0

MOST_ASKED: Final = 256
"""In one exchange outside of rounds: a question and its answer are a dozen requests, and a SuperLink answers some 200 a
second. Of a thousand connected devices most have nothing to give; to ask all again and again would leave no room."""

_LOG: Final = events("flwr.shoal")
"""Below Flower's own logger, so that it is seen wherever Flower's is: in a terminal, in `flwr run --stream`."""

Reply = TypeVar("Reply", ReadyReply, PriorReply)


@dataclass(slots=True)
class Standing:
    """What is known between two rounds of one kind."""

    rounds: int = 0
    """Finished in this run."""
    last: float = 0.0
    """When the latest ended, or the run began; seconds of the clock."""
    again: float = 0.0
    """Not before this another is called: after one that failed, whoever failed needs a moment."""
    ready: set[int] = field(default_factory=set)
    """Nodes that said yes since then."""
    asked: dict[int, float] = field(default_factory=dict)
    """When each node was last asked whether it is ready; seconds of the clock."""
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
        revoked: Callable[[datetime], frozenset[bytes]] = lambda _moment: frozenset(),
    ) -> None:
        """Prepare; nobody is asked anything yet.

        Args:
            grid: Flower's connection to the nodes.
            settings: the operator's.
            registry: where sums and priors are kept.
            key: signs priors.
            clock: seconds, for waiting.
            wall: the date and time, for the books.
            revoked: identities whose certificates the operator had withdrawn at a moment.

        Raises:
            ConfigError: the public basis is unusable, or not the one that the registry's priors were made with.
        """
        self._grid, self._settings, self._registry, self._key = grid, settings, registry, key
        self._clock, self._wall, self._revoked = clock, wall, revoked
        self._basis = load_basis(settings.public_basis)
        self._publisher = Publisher(
            registry,
            key,
            backbone=settings.backbone,
            public_basis=self._basis,
            fit=Fit(
                minimum_people=settings.minimum_people,
                max_directions=settings.max_directions,
                cohorts=settings.cohorts,
            ),
        )
        self._barred: dict[int, bytes] = {}
        """Nodes that turned out to be of excluded identities."""
        self._standing = {kind: Standing(last=clock.now()) for kind in settings.kinds}
        for kind in settings.kinds:
            prior = self._prior(kind)
            if prior is not None and not np.array_equal(prior.public_basis, self._basis):
                message = f"{settings.public_basis} is not the basis of the {kind} prior: give the one it was made with"
                raise ConfigError(message)

    def run(self) -> None:
        """Hold rounds until each kind has had its share, or nothing happens for longer than the patience."""
        if self._settings.unprotected_simulation:
            _LOG.warning("UNPROTECTED SIMULATION: sums carry no noise, so this run protects nobody")
        for journal in self._registry.take_up(self._settings.shard):
            self.go_on(journal)
        for kind in self._standing:  # sums that were booked just before an earlier process ended
            self._publish(kind)
        while open_kinds := [kind for kind in self._standing if self._standing[kind].rounds < self._settings.rounds]:
            began = self._clock.now()
            for kind in open_kinds:
                self.look(kind)
            took = self._clock.now() - began
            if all(self._is_over(kind) for kind in open_kinds):
                seconds = self._settings.patience_seconds
                _LOG.warning("no round for so long: ending", kinds=open_kinds, seconds=seconds)
                return
            if any(self._standing[kind].rounds < self._settings.rounds for kind in open_kinds):
                self._clock.sleep(max(self._settings.poll_seconds, min(REST * took, LONGEST_REST_SECONDS)))

    def look(self, kind: Kind) -> None:
        """Tell newcomers the prior, see who is ready, and hold a round if they are enough."""
        standing, nodes = self._standing[kind], set(self._grid.get_node_ids())
        standing.ready &= nodes
        standing.asked = {node: at for node, at in standing.asked.items() if node in nodes}
        longest = sorted(nodes - standing.ready, key=lambda node: standing.asked.get(node, -math.inf))[:MOST_ASKED]
        standing.asked |= dict.fromkeys(longest, self._clock.now())
        self.announce(kind, longest)
        standing.ready |= self._ask(kind, longest)
        out = self._left_out(self._wall())
        standing.ready -= {node for node, identity in self._barred.items() if identity in out}
        needed = self._settings.minimum_people if self._is_over(kind) else self._settings.wave(kind)
        if len(standing.ready) >= needed and self._clock.now() >= standing.again:
            self.hold(kind, sorted(standing.ready)[:MOST_PEOPLE])
            self.announce(kind, nodes)

    def hold(self, kind: Kind, nodes: Iterable[int]) -> Prior | None:
        """Hold one round with these nodes; give the prior made of it, if there is one."""
        called, started = list(nodes), self._wall()
        call = self._call(kind, len(called))
        deadline = started + timedelta(seconds=len(EXCHANGES) * self._settings.deadline_seconds)
        journal = self._registry.open_round(
            call, called, started=started, deadline=deadline, shard=self._settings.shard
        )
        return self._conduct(journal)

    def go_on(self, journal: Journal) -> Prior | None:
        """Go on with a round that an earlier process left, or end it where its time is over or its terms changed."""
        _LOG.info("a round goes on after an interruption", kind=journal.call.kind, round=journal.call.round_id)
        return self._conduct(journal)

    def _conduct(self, journal: Journal) -> Prior | None:
        """Hold what is left of a round, book it, and make the next version."""
        call = journal.call
        out = self._left_out(journal.started)  # the same, should another process go on with this round
        done = secure_sum(partial(self._ask_in, journal), call, self._rules(call), journal.nodes, excluded=out)
        self._exclude(call, done)
        self._book(journal, done)
        opened = done.total is not None
        if standing := self._standing.get(call.kind):
            standing.ready = set()
            if opened:
                standing.rounds, standing.last = standing.rounds + 1, self._clock.now()
            elif not (done.blame.proven or done.blame.doubted):  # without those there is nothing to wait for
                standing.again = self._clock.now() + self._settings.deadline_seconds
        told = {"people": done.people} if opened else {"why": done.reason}
        what = "a sum" if opened else "no sum"
        _LOG.info(what, kind=call.kind, round=call.round_id, dropouts=dict(done.failures), **told)
        return self._publish(call.kind) if opened else None

    def _left_out(self, moment: datetime) -> frozenset[bytes]:
        """Give the identities that take no part at that moment."""
        return self._revoked(moment) | {one.identity for one in self._registry.exclusions(moment)}

    def _exclude(self, call: RoundCall, done: Progress) -> None:
        """Keep whoever is to blame for what happened in a round out of the next ones, before it is booked."""
        self._barred |= done.barred
        if count := len(done.blame.proven) + len(done.blame.doubted):
            self._registry.exclude(done.blame, call.round_id, self._wall())
            told = "devices are left out of rounds from here on, see `shoal-server excluded`"
            _LOG.warning(told, kind=call.kind, round=call.round_id, devices=count)

    def _rules(self, call: RoundCall) -> Rules:
        return rules_of(call, self._key.public_key().public_bytes_raw())

    def _ask_in(self, journal: Journal, action: str, questions: Mapping[int, Fields]) -> Answers:
        """Hold an exchange of a round, or what is left of it; an exchange that is over is only read again."""
        kept, failures = journal.replies(action), journal.failures(action)
        if failures is not None:
            return Answers(fields={node: kept[node] for node in questions if node in kept}, failures=failures)
        left = (journal.deadline - self._wall()).total_seconds()
        if left <= 0 or journal.call.backbone != self._settings.backbone:
            why = "its deadline passed" if left <= 0 else "the server has another backbone now"
            raise AbortedRoundError(f"{why} before {action} was over: call another round")
        asked = {node: fields for node, fields in questions.items() if node not in kept}
        seconds = min(self._settings.deadline_seconds, left)
        answers = exchange(
            self._grid,
            action,
            asked,
            group=journal.call.round_id,
            seconds=seconds,
            clock=self._clock,
            keep=partial(journal.keep, action),
        )
        answers.fields.update({node: kept[node] for node in questions if node in kept})
        journal.finish(action, answers.failures)
        return answers

    def announce(self, kind: Kind, nodes: Iterable[int]) -> None:
        """Send the latest prior to those of the nodes that have not answered to it yet."""
        signed, standing = self._registry.latest(self._settings.backbone, kind), self._standing[kind]
        if signed is None or not (missing := sorted(set(nodes) - standing.told)):
            return
        try:
            signed = signed_now(signed, self._key, succession(self._settings.state_folder))
        except PriorError as error:
            _LOG.error("a prior is not announced", kind=kind, why=str(error))
            return
        notice = PriorNotice(backbone=self._settings.backbone, payload=signed.payload, signature=signed.signature)
        for first in range(0, len(missing), MOST_ASKED):
            some = missing[first : first + MOST_ASKED]
            answers = self._exchange("query.prior", dict.fromkeys(some, to_fields(notice)), f"{kind}-prior")
            standing.told |= answers.fields.keys()
            stored = sum(reply.stored for reply in _readable(PriorReply, answers).values())
            told = {"kind": kind, "took": stored, "asked": len(some), "dropouts": dict(answers.failures)}
            _LOG.info("a prior was announced", **told)

    def _ask(self, kind: Kind, nodes: Iterable[int]) -> set[int]:
        prior = self._prior(kind)
        version = prior.version if prior else 0
        query = ReadyQuery(kind=kind, backbone=self._settings.backbone, prior_version=version)
        answers = self._exchange("query.ready", dict.fromkeys(nodes, to_fields(query)), f"{kind}-ready")
        return {node for node, reply in _readable(ReadyReply, answers).items() if reply.ready}

    def _call(self, kind: Kind, people: int) -> RoundCall:
        """Announce a round of so many people at most."""
        settings, signed = self._settings, self._registry.latest(self._settings.backbone, kind)
        previous = decode_prior(signed.payload) if signed else None
        basis = pack_basis(self._basis)
        cohorts = len(previous.cohorts) if previous else 1
        fewest = max(settings.minimum_people, math.ceil((1 - TOLERANCE) * people))
        mechanism = planned(
            length=cohorts * block_length(self._basis.shape[1]),
            people=people,
            honest=fewest - colluders(people),
            epsilon=math.inf if settings.unprotected_simulation else settings.epsilon,
            delta=settings.delta,
        )
        return RoundCall(
            round_id=uuid.uuid4().hex,
            kind=kind,
            backbone=settings.backbone,
            prior_version=previous.version if previous else 0,
            prior_digest=hashlib.sha256(signed.payload).digest() if signed else b"",
            public_basis=b"" if previous else basis,
            basis_digest=hashlib.sha256(basis).digest(),
            clip=settings.bound(kind),
            minimum_people=fewest,
            length=mechanism.length,
            scale=mechanism.scale,
            share_variance=mechanism.share_variance,
            modulus_bits=mechanism.modulus_bits,
        )

    def _book(self, journal: Journal, done: Progress) -> None:
        """Write a round down, also one whose sum was never opened; with that its state is gone."""
        call, mechanism = journal.call, journal.call.mechanism()
        basis = unpack_basis(call.public_basis, width=len(self._basis)) if call.public_basis else self._basis
        journal.close(
            Round(
                round_id=call.round_id,
                kind=call.kind,
                backbone=call.backbone,
                public_basis=basis,
                state="aborted" if done.total is None else "done",
                exchange=done.exchange,
                called=done.called,
                people=done.people,
                total=done.total,
                clip=call.clip,
                mechanism=mechanism,
                noise_variance=noise_variance(mechanism, done.people),
                prior_version=call.prior_version,
                started=journal.started,
                ended=self._wall(),
                shard=journal.shard,
                reason=done.reason,
                dropouts=done.failures,
            )
        )

    def _publish(self, kind: Kind) -> Prior | None:
        """Make, sign and store the next version, if the sums that no version has yet allow it."""
        prior = self._publisher.advance(kind, self._wall().isoformat(timespec="seconds"))
        if prior is not None:
            self._standing[kind].told = set()
            _LOG.info("a prior was published", kind=kind, version=prior.version, people=prior.people)
        return prior

    def _prior(self, kind: Kind) -> Prior | None:
        return latest(self._registry, self._settings.backbone, kind)

    def _is_over(self, kind: Kind) -> bool:
        """Tell whether this kind has waited for its wave longer than the patience."""
        return self._clock.now() - self._standing[kind].last > self._settings.patience_seconds

    def _exchange(self, action: str, questions: Mapping[int, Fields], group: str) -> Answers:
        seconds = self._settings.deadline_seconds
        return exchange(self._grid, action, questions, group=group, seconds=seconds, clock=self._clock)


@lru_cache(maxsize=64)
def planned(*, length: int, people: int, honest: int, epsilon: float, delta: float) -> Mechanism:
    """Give `common.privacy.plan`, which takes half a second, for sizes that come again and again."""
    return plan(length=length, people=people, honest=honest, epsilon=epsilon, delta=delta)


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
