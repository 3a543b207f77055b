"""A server that wants one person's vector and tells every lie that might get it, to devices that run the real code.

Each lie is a whole attack, to the end: it returns whether the server came to hold the victim's vector, number for
number. With all checks on the devices refuse somewhere on the way; `LIES` names the checks that have to be switched
off, here and nowhere else, for the lie to work. So a check that stopped checking would show as a number above 0.

What is not here: naming a person both alive and dropped. A device answers by the one set that it signed, with one
share of each neighbour, so that this lie gets nothing even where it is not refused (`check_unmasking` refuses it).
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.contribution import announcement, contribute, contribution
from client.federation import answer_confirm, answer_keys, answer_shares, answer_unmask
from client.rules import Device
from client.vault import Vault
from common.errors import ShoalError
from common.privacy import decode, plan
from common.secagg import Identity, Topology, keys, masks, shares
from common.secagg.checks import check_roster
from common.secagg.gathered import KeysGathered
from common.secagg.graph import draw_graph
from common.secagg.identity import verify as verify_signature
from common.secagg.messages import (
    MASK_KEY,
    SELF_SEED,
    Advertisement,
    Confirmation,
    MaskedVector,
    Roster,
    Survivors,
    Unmasking,
    UnmaskRequest,
)
from common.secagg.transcript import digest_roster
from common.statistics import block_length
from simulations.company import Company, announce
from simulations.secagg import Cohort, Round, enrol, new_cohort
from simulations.village import BACKBONE, DIMENSIONS, public_basis, settle, teach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Lie = Callable[[frozenset[str]], bool]

PEOPLE: Final = 8
VICTIM: Final = 0
LENGTH: Final = 8
SPARSE: Final = Topology(people=24, degree=8, threshold=4, quorum=17, present=2)
"""A graph as sparse for 24 people as the real one is for 1,024, where half of a member's neighbours open a secret."""


def invent_people(off: frozenset[str]) -> bool:
    """Fill the round with people whom the operator never enrolled; all their secrets are the server's."""
    cohort, stranger = _cohort(), Ed25519PrivateKey.generate()
    invented = (enrol(stranger, os.urandom(32)) for _ in range(PEOPLE - 1))
    return _among_puppets(replace(cohort, identities=(cohort.identities[VICTIM], *invented)), off)


def stand_in_the_middle(off: frozenset[str]) -> bool:
    """Show the victim real people with the server's keys in place of theirs."""
    cohort = _cohort()
    me, *others = cohort.identities
    swapped = (Impostor(os.urandom(32), other.certificate, other.public) for other in others)
    return _among_puppets(replace(cohort, identities=(me, *swapped)), off)


def call_too_few(off: frozenset[str]) -> bool:
    """Hold the round with two enrolled accomplices instead of the eight people announced."""
    return _among_puppets(new_cohort(3, length=LENGTH, minimum_people=PEOPLE), off)


def open_two_sums(off: frozenset[str]) -> bool:
    """Open the sum, then say that the victim dropped out and open it again: the difference is the victim's vector."""
    cohort, vectors = new_cohort(PEOPLE, length=LENGTH), _vectors(PEOPLE)
    held = Round(cohort, vectors).until("masked")
    sent = held.gathered
    replies = {number: held.answer(number) for number in range(PEOPLE)}
    kept = dict(held.states)
    held.gather(replies)
    total = held.finish().total
    again = Round(cohort, vectors)
    again.exchange, again.gathered = "masked", sent
    again.states = kept if "one answer" in off else dict(held.states)
    del replies[VICTIM]
    again.gather(replies)
    rest = again.finish().total
    return np.array_equal(masks.wrap(total - rest, cohort.rules), vectors[VICTIM])


def show_two_sets(_: frozenset[str]) -> bool:
    """Tell half of the victim's neighbours that the victim is in the sum, the others that it dropped out.

    The first reveal their shares of its b, the others those of its s^SK, and nobody answers twice.
    """
    with _replaced("common.secagg.graph", "topology", lambda _: SPARSE):
        return _show_two_sets()


def _show_two_sets() -> bool:
    cohort, vectors = new_cohort(SPARSE.people, length=LENGTH), _vectors(SPARSE.people)
    held = Round(cohort, vectors).until("masked")
    replies = {number: held.answer(number) for number in held.requests}
    held.gather(replies)
    start, true = held.gathered.shared.start, Survivors.from_bytes(held.requests[VICTIM])
    victim = start.labels.index(VICTIM)
    told = {place: at % 2 == 0 for at, place in enumerate(start.neighbours[victim])}
    sets = {True: true.survivors, False: true.survivors - {victim}}
    signed: dict[bool, dict[int, bytes]] = {True: {}, False: {}}
    for place, includes in told.items():
        mine = sets[includes]
        signatures = tuple(true.signatures[at] for at in sorted(mine))
        request = Survivors(people=SPARSE.people, survivors=mine, signatures=signatures).to_bytes()
        signed[includes][place] = Confirmation.from_bytes(held.answer(start.labels[place], request)).signature
    held.exchange = "unmask"
    seeds, mask_keys = (_revealed(held, victim, sets[includes], signed[includes]) for includes in (True, False))
    sent = masks.unpack(MaskedVector.from_bytes(replies[VICTIM]).vector, cohort.rules)
    return np.array_equal(_unmasked(start, victim, sent, seeds, mask_keys), vectors[VICTIM])


def announce_no_noise(_: frozenset[str]) -> bool:
    """Announce a round without noise and fill it with accomplices, to a real device with a real vault."""
    operator, basis = Ed25519PrivateKey.generate(), public_basis()
    mechanism = plan(length=block_length(DIMENSIONS), people=16, honest=8, epsilon=float("inf"), delta=1e-6)
    call = announce(basis, mechanism, round_id="quiet", backbone=BACKBONE)
    with tempfile.TemporaryDirectory() as folder:
        device = Device(folder=settle(Path(folder), operator))
        teach(device.folder, np.random.default_rng(0))
        concept = Vault(device.folder).pending("object", BACKBONE)
        company = Company(operator, call, others=11)
        step = company.next(answer_keys(device, call))
        seed = digest_roster(company.rules, Roster.from_bytes(step.request))
        for answer in (answer_shares, contribute, answer_confirm):
            step = company.next(answer(device, step))
        total = decode(company.total(answer_unmask(device, step)), mechanism, seed=seed)
        if concept is None:
            return False
        truth = contribution(concept.displacement, announcement(device.folder, call))
    return bool(np.linalg.norm(total - truth) < 1e-3)


LIES: Final[dict[str, tuple[Lie, frozenset[str]]]] = {
    "people it invented": (invent_people, frozenset({"certificates"})),
    "its own keys under other people's names": (stand_in_the_middle, frozenset({"signatures"})),
    "three people instead of eight": (call_too_few, frozenset({"crowd"})),
    "two sums that differ by one person": (open_two_sums, frozenset({"one answer"})),
    "two sets of survivors": (show_two_sets, frozenset({"confirmation"})),
    "a round without noise": (announce_no_noise, frozenset({"noise"})),
}
"""Each lie, and the checks without which it works."""


def victims(*, switched_off: bool) -> int:
    """Count the lies that get the server its victim's vector, with every check on or with the needed ones off."""
    return sum(works(lie, off if switched_off else frozenset()) for lie, off in LIES.values())


def works(lie: Lie, off: frozenset[str]) -> bool:
    """Tell a lie with some checks switched off; a device that refuses ends it."""
    try:
        with switch_off(off):
            return lie(off)
    except ShoalError:
        return False


@contextmanager
def switch_off(names: frozenset[str]) -> Iterator[None]:
    """Break the devices of this process: each name is a check that is then not made. For attacks alone."""
    with ExitStack() as stack:
        for name in names | {"server"}:
            for module, attribute, replacement in _REPLACEMENTS.get(name, ()):
                stack.enter_context(_replaced(module, attribute, replacement))
        yield


@dataclass(frozen=True, slots=True)
class Impostor(Identity):
    """The server in another's name: that one's certificate, but not the private key."""

    name: bytes

    @property
    def public(self) -> bytes:
        """Give the name it goes by."""
        return self.name


def _cohort() -> Cohort:
    return new_cohort(PEOPLE, length=LENGTH, minimum_people=PEOPLE)


def _vectors(people: int) -> list[NDArray[np.uint32]]:
    rng = np.random.default_rng(people)
    return list(rng.integers(0, 1 << 16, (people, LENGTH), dtype=np.uint32))


def _among_puppets(cohort: Cohort, off: frozenset[str]) -> bool:
    """Hold a round in which all but the victim are the server's, contribute nothing and check nothing."""
    secret = _vectors(1)[0]
    held = Round(cohort, [secret] + [np.zeros(LENGTH, np.uint32)] * (len(cohort.identities) - 1), verify=_blind)
    victims_eyes = _blind if "signatures" in off else verify_signature
    while held.sum is None:
        replies = {n: held.answer(n, verify=victims_eyes if n == VICTIM else _blind) for n in held.requests}
        if held.exchange == "keys":
            _gather_anybody(held, replies)
        else:
            held.gather(replies)
    return np.array_equal(held.sum.total, secret)


def _gather_anybody(held: Round, replies: dict[int, bytes]) -> None:
    """Make the list U1 as `common.secagg.server.gather_keys` does, of whoever there is."""
    found = {number: Advertisement.from_bytes(reply) for number, reply in replies.items()}
    labels = tuple(sorted(found, key=lambda number: found[number].identity))
    roster = Roster(tuple(found[number] for number in labels))
    digest = digest_roster(held.cohort.rules, roster)
    graph = draw_graph(digest, roster.names)
    held.gathered = KeysGathered(
        rules=held.cohort.rules,
        roster=roster,
        labels=labels,
        digest=digest,
        graph=graph,
        neighbours=tuple(map(graph.neighbours, range(len(labels)))),
        dropped={},
    )
    held.requests, held.exchange = dict.fromkeys(labels, roster.to_bytes()), "shares"


def _revealed(held: Round, victim: int, survivors: frozenset[int], signed: dict[int, bytes]) -> dict[int, bytes]:
    """Ask those who signed a set to unmask it; give their shares of the victim's secret, by x."""
    start = held.gathered.shared.start
    people, everybody = len(start.labels), held.gathered.shared.senders
    request = UnmaskRequest(
        people=people,
        survivors=survivors,
        dropped=everybody - survivors,
        confirmers=frozenset(signed),
        signatures=tuple(signed[place] for place in sorted(signed)),
    ).to_bytes()
    closed, found = start.graph.closed_neighbourhood(victim), {}
    for place in signed:
        reply = Unmasking.from_bytes(held.answer(start.labels[place], request))
        kind, value = reply.shares[start.neighbours[place].index(victim)]
        if kind == (SELF_SEED if victim in survivors else MASK_KEY):
            found[closed.index(place) + 1] = value
    return found


def _unmasked(
    start: KeysGathered[int],
    victim: int,
    sent: NDArray[np.uint32],
    seeds: dict[int, bytes],
    mask_keys: dict[int, bytes],
) -> NDArray[np.uint32]:
    """Take both masks off one person's vector, with enough shares of b and of s^SK."""
    threshold, names = start.graph.topology.threshold, start.roster.names
    seed, secret = shares.join(seeds, threshold), shares.join(mask_keys, threshold)
    if seed is None or secret is None:
        return np.empty(0, np.uint32)
    vector = sent - masks.expand(keys.derive(keys.SELF, seed, start.digest, names[victim]), start.rules.length)
    private = keys.private_key(secret)
    for other in start.neighbours[victim]:
        agreed = keys.agree(private, start.roster.members[other].mask_key)
        # What the neighbour adds for this pair is what the victim subtracted, and the other way round.
        vector = masks.add_pair(vector, agreed, start.digest, own=names[other], other=names[victim])
    return masks.wrap(vector, start.rules)


def _blind(public: bytes, signature: bytes, message: bytes) -> bool:  # noqa: ARG001 - the form of `Verify`
    return True


def _nothing(*_: object, **__: object) -> None:
    return None


def _for_anybody(rules: Any, own: Any, roster: Any, verify: Any) -> None:  # noqa: ANN401 - as `check_roster`
    fewer = SimpleNamespace(minimum_people=1, operator=rules.operator, context=rules.context)
    check_roster(fewer, own, roster, verify)  # type: ignore[arg-type] # all of the terms that it looks at


_REPLACEMENTS: Final[dict[str, tuple[tuple[str, str, object], ...]]] = {
    "server": (("common.secagg.server", "check_quorum", _nothing),),  # a liar does not stop itself
    "certificates": (("common.secagg.transcript", "check_certificate", lambda *_, **__: True),),
    "crowd": (
        ("common.secagg.client", "check_roster", _for_anybody),
        ("common.secagg.checks", "check_members", _nothing),
    ),
    "confirmation": (("common.secagg.client", "check_unmasking", _nothing),),
    "noise": (
        ("client.federation", "admit_round", _nothing),
        ("client.contribution", "admit_round", _nothing),
    ),
}
"""What `switch_off` puts in the place of what. "signatures" and "one answer" are no functions: see their lies."""


@contextmanager
def _replaced(module: str, attribute: str, replacement: object) -> Iterator[None]:
    owner = import_module(module)
    original = getattr(owner, attribute)
    setattr(owner, attribute, replacement)
    try:
        yield
    finally:
        setattr(owner, attribute, original)
