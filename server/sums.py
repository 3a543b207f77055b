"""One secure sum over Flower: five exchanges, each as `common.secagg.server` has it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from common.errors import AbortedRoundError, ProtocolError
from common.messages import RoundStep, StepReply, from_fields, to_fields
from common.privacy import decode
from common.secagg.blame import Blame
from common.secagg.gathered import SILENT, KeysGathered
from common.secagg.messages import Advertisement
from common.secagg.server import gather_confirmations, gather_keys, gather_masked, gather_shares, open_sum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    import numpy as np
    from numpy.typing import NDArray

    from common.messages import Fields, RoundCall
    from common.secagg.rules import Rules
    from server.exchange import Answers

    Ask = Callable[[str, Mapping[int, Fields]], Answers]
    """Holds one exchange: its action, and the question to each node."""


EXCHANGES: Final = ("train.keys", "train.shares", "train.masked", "train.confirm", "train.unmask")
"""Of a secure sum, in order."""


@dataclass(slots=True)
class Progress:
    """How far a sum came."""

    exchange: str = "query.ready"
    """The latest that was asked. Nobody gave anything before `train.masked`."""
    called: int = 0
    """People on the list U1."""
    total: NDArray[np.float64] | None = None
    """The decoded sum; None unless it was opened."""
    people: int = 0
    """In the sum."""
    failures: Counter[str] = field(default_factory=Counter)
    """How many dropped out in which exchange and how; never who."""
    reason: str = ""
    """Why there is no sum."""
    blame: Blame[bytes] = field(default_factory=Blame)
    """Whose secrets or shares did not fit, by identity."""
    barred: dict[int, bytes] = field(default_factory=dict)
    """Nodes that turned out to be of excluded identities; they were left out before anybody was told the list."""

    def refuse(self, dropped: Mapping[int, str]) -> None:
        """Count those whose reply came and was no good."""
        if refused := sum(why != SILENT for why in dropped.values()):
            self.failures["refused"] += refused


def secure_sum(
    ask: Ask, call: RoundCall, rules: Rules, nodes: Iterable[int], *, excluded: AbstractSet[bytes] = frozenset()
) -> Progress:
    """Hold one secure sum with these nodes, as announced.

    Args:
        ask: holds an exchange.
        call: the announcement.
        rules: its terms, `common.messages.rules_of`.
        nodes: whom to call.
        excluded: identities whose keys are left out, whatever node they come from.
    """
    done = Progress()

    def step(action: str, dropped: Mapping[int, str], requests: Mapping[int, bytes]) -> dict[int, bytes]:
        done.refuse(dropped)
        questions = {
            node: to_fields(RoundStep(round_id=call.round_id, context=rules.context, request=request))
            for node, request in requests.items()
        }
        return _replies(ask, action, questions, done)

    try:
        keys = _replies(ask, "train.keys", dict.fromkeys(nodes, to_fields(call)), done)
        done.barred = _barred(keys, excluded)
        listed, requests = gather_keys(rules, {node: keys[node] for node in sorted(keys) if node not in done.barred})
        done.called = len(listed.labels)
        sharing, requests = gather_shares(listed, step("train.shares", listed.dropped, requests))
        masked, requests = gather_masked(sharing, step("train.masked", sharing.dropped, requests))
        confirmed, requests = gather_confirmations(masked, step("train.confirm", masked.dropped, requests))
        answers = step("train.unmask", confirmed.dropped, requests)
    except AbortedRoundError as error:
        done.reason = str(error)
        return done
    try:
        opened = open_sum(confirmed, answers)
    except AbortedRoundError as error:
        done.reason, done.blame = str(error), _by_identity(listed, error.blamed, error.doubted)
        return done
    done.refuse(opened.dropped)
    done.blame = _by_identity(listed, opened.blamed, {})
    done.total = decode(opened.total, call.mechanism(), seed=listed.digest)
    done.people = opened.people
    return done


def _barred(keys: Mapping[int, bytes], excluded: AbstractSet[bytes]) -> dict[int, bytes]:
    """Give the nodes that advertise an excluded identity, and which; what cannot be read is for others to refuse."""
    found = {}
    for node, reply in keys.items():
        try:
            identity = Advertisement.from_bytes(reply).identity
        except ProtocolError:
            continue
        if identity in excluded:
            found[node] = identity
    return found


def _by_identity(listed: KeysGathered[int], proven: Mapping[int, str], doubted: Mapping[int, str]) -> Blame[bytes]:
    """Name members by what outlives a connection."""
    names = dict(zip(listed.labels, listed.roster.names, strict=True))
    return Blame(
        proven={names[node]: why for node, why in proven.items()},
        doubted={names[node]: why for node, why in doubted.items()},
    )


def _replies(ask: Ask, action: str, questions: Mapping[int, Fields], done: Progress) -> dict[int, bytes]:
    """Hold an exchange; give the replies that are in form, and count the others."""
    done.exchange = action
    answers = ask(action, questions)
    found: dict[int, bytes] = {}
    for node, fields in answers.fields.items():
        try:
            found[node] = from_fields(StepReply, fields).reply
        except ProtocolError:
            answers.failures["refused"] += 1
    done.failures.update({f"{action} {why}": count for why, count in answers.failures.items()})
    return found
