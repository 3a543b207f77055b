"""A server that lies, and the honest device that refuses: every lie of design.md, section 4, and more.

Each test takes a true round, changes one thing as a server could, and sees the device refuse for that reason. The
untouched request is answered in the same place, so that no test passes for a wrong reason.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import ProtocolError
from common.secagg import Topology, client, digest_parameters, transcript
from common.secagg.client import advertisement
from common.secagg.messages import MASK_KEY, SELF_SEED, Delivery, Roster, Survivors, Unmasking, UnmaskRequest
from common.secagg.wire import frame, pack_number
from simulations.secagg import EXCHANGES, Round, enrol, new_cohort

PEOPLE = 8
"""q = 6, t = 5."""
ME = 3


@pytest.fixture(scope="module")
def cohort():
    return new_cohort(PEOPLE, minimum_people=4)


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(1)
    return [rng.integers(0, 1 << 16, 8, dtype=np.uint32) for _ in range(PEOPLE)]


@pytest.fixture(scope="module")
def stopped(cohort, vectors):
    """One round, stopped before each exchange."""
    held = Round(cohort, vectors)
    return {exchange: held.until(exchange).fork() for exchange in EXCHANGES}


@pytest.fixture
def new_round(stopped):
    return lambda exchange: stopped[exchange].fork()


def refuses(held, request, because):
    """The device refuses the request, keeps its state, and would still answer the true one."""
    before = held.states[ME]
    with pytest.raises(ProtocolError, match=because):
        held.answer(ME, request)
    assert held.states[ME] is before
    held.answer(ME)


def place_of(held, number):
    return (
        held.gathered.labels.index(number) if held.exchange == "shares" else _start(held.gathered).labels.index(number)
    )


def _start(gathered):
    while not hasattr(gathered, "roster"):
        gathered = next(getattr(gathered, name) for name in ("start", "shared", "masked") if hasattr(gathered, name))
    return gathered


def altered_roster(held, change):
    """The list U1 with `change` made to its members, in order again."""
    members = list(Roster.from_bytes(held.requests[ME]).members)
    changed = change(members, _start(held.gathered).labels.index(ME))
    return Roster(tuple(sorted(changed, key=lambda member: member.identity))).to_bytes()


# The list U1


def test_too_few_participants(new_round):
    held = new_round("shares")
    few = altered_roster(held, lambda members, me: [members[me], *(m for m in members if m is not members[me])][:3])
    refuses(held, few, "3 people, announced 4 or more")


def test_own_keys_are_missing(new_round):
    held = new_round("shares")
    refuses(held, altered_roster(held, lambda members, me: members[:me] + members[me + 1 :]), "missing from the list")


@pytest.mark.parametrize("what", ["cipher_key", "mask_key", "commitment", "certificate", "signature"])
def test_own_keys_are_altered(new_round, what):
    def change(members, me):
        other = getattr(members[(me + 1) % PEOPLE], what)
        return [replace(member, **{what: other}) if at == me else member for at, member in enumerate(members)]

    held = new_round("shares")
    refuses(held, altered_roster(held, change), "missing from the list or altered")


@pytest.mark.parametrize("what", ["cipher_key", "mask_key", "commitment"])
def test_keys_of_another_are_swapped_for_the_servers_own(new_round, what):
    """The server in the middle: it would read the shares, or take the masks off."""

    def change(members, me):
        at = (me + 1) % PEOPLE
        members[at] = replace(members[at], **{what: os.urandom(32)})
        return members

    held = new_round("shares")
    refuses(held, altered_roster(held, change), "not signed by its identity")


def test_keys_are_not_signed(new_round):
    def change(members, me):
        at = (me + 1) % PEOPLE
        members[at] = replace(members[at], signature=bytes(64))
        return members

    held = new_round("shares")
    refuses(held, altered_roster(held, change), "not signed by its identity")


def test_two_members_keys_are_exchanged(new_round):
    def change(members, me):
        one, two = (at for at in range(3) if at != me) if me < 3 else (0, 1)
        first, second = members[one], members[two]
        members[one] = replace(second, identity=first.identity, certificate=first.certificate)
        members[two] = replace(first, identity=second.identity, certificate=second.certificate)
        return members

    held = new_round("shares")
    refuses(held, altered_roster(held, change), "not signed by its identity")


def test_a_member_was_never_enrolled(new_round, cohort):
    """The server invents people: nothing but the operator's certificate makes a member."""
    stranger = enrol(Ed25519PrivateKey.generate(), os.urandom(32))
    invented = advertisement(client.advertise(cohort.rules, stranger, os.urandom)[0])
    held = new_round("shares")
    refuses(held, altered_roster(held, lambda members, _: [*members, invented]), "not enrolled by this operator")


def test_a_member_is_there_twice(new_round):
    held = new_round("shares")
    roster = Roster.from_bytes(held.requests[ME])
    double = b"".join(member.body for member in (*roster.members, roster.members[-1]))
    refuses(held, frame(Roster.kind, pack_number(PEOPLE + 1, 2), double), "names one twice")


def test_the_list_is_out_of_order(new_round):
    """One order only, so that there is one digest and one graph."""
    held = new_round("shares")
    roster = Roster.from_bytes(held.requests[ME])
    turned = b"".join(member.body for member in reversed(roster.members))
    refuses(held, frame(Roster.kind, pack_number(PEOPLE, 2), turned), "out of order")


@pytest.mark.parametrize("what", ["cipher_key", "mask_key", "commitment"])
def test_an_enrolled_accomplice_takes_anothers_key_for_its_own(new_round, cohort, what):
    """Signed correctly: but nobody may have what another has."""
    accomplice = enrol(cohort.operator, os.urandom(32))
    state, _ = client.advertise(cohort.rules, accomplice, os.urandom)

    def change(members, me):
        stolen = replace(advertisement(state), **{what: getattr(members[(me + 1) % PEOPLE], what)})
        signature = accomplice.sign(transcript.on_keys(cohort.rules, stolen))
        return [*members, replace(stolen, signature=signature)]

    held = new_round("shares")
    refuses(held, altered_roster(held, change), "stands on the list twice")


LOW_ORDER = [bytes(32), (1).to_bytes(32, "little"), (2**255 - 20).to_bytes(32, "little")]


@pytest.mark.parametrize("point", LOW_ORDER, ids=["0", "1", "p-1"])
@pytest.mark.parametrize(("what", "exchange"), [("cipher_key", "shares"), ("mask_key", "masked")])
def test_an_accomplices_key_is_a_point_of_low_order(cohort, vectors, monkeypatch, what, exchange, point):
    """Everybody knows what such a key agrees on. The server lets it pass; the device does not."""
    monkeypatch.setattr("common.secagg.server.keys.agree", lambda *_: b"")
    held = Round(cohort, vectors)
    accomplice = (ME + 1) % PEOPLE
    replies = {number: held.answer(number) for number in range(PEOPLE)}
    state = held.states[accomplice]
    weak = replace(advertisement(state), **{what: point})
    weak = replace(weak, signature=state.identity.sign(transcript.on_keys(cohort.rules, weak)))
    held.gather(replies | {accomplice: weak.to_bytes()})
    monkeypatch.undo()
    if exchange == "masked":
        replies = {number: held.answer(number) for number in range(PEOPLE) if number != accomplice}
        own = client.Roster.from_bytes(held.requests[accomplice])
        signature = state.identity.sign(transcript.on_roster(transcript.digest_roster(cohort.rules, own)))
        other = client.Shares.from_bytes(replies[ME])
        held.gather(replies | {accomplice: replace(other, signature=signature).to_bytes()})
    with pytest.raises(ProtocolError, match="low order"):
        held.answer(ME)


# Terms and replays


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": digest_parameters(b"another prior, clip or mechanism")},
        {"minimum_people": 3},
        {"length": 9},
        {"modulus_bits": 24},
    ],
    ids=lambda change: next(iter(change)),
)
def test_parameters_are_changed_for_the_others(new_round, cohort, vectors, change):
    """Were one device told other terms than the rest, nobody's signature would be good for both."""
    others = replace(cohort, rules=replace(cohort.rules, **change))
    held = Round(cohort, vectors)
    mine = held.answer(ME)
    elsewhere = Round(others, vectors)
    replies = {number: elsewhere.answer(number) for number in range(PEOPLE)}
    roster = [client.Advertisement.from_bytes(reply) for reply in (replies | {ME: mine}).values()]
    request = Roster(tuple(sorted(roster, key=lambda member: member.identity))).to_bytes()
    held.exchange = "shares"
    with pytest.raises(ProtocolError, match="not signed by its identity for this round"):
        held.answer(ME, request)


def test_a_round_is_replayed(new_round, cohort, vectors):
    """Everything a server has from an earlier round of the same terms is worthless: keys are made for one round."""
    earlier = Round(cohort, vectors).until("shares")
    refuses(new_round("shares"), earlier.requests[ME], "missing from the list or altered")
    for exchange in EXCHANGES[2:]:
        earlier.hold()
        refuses(new_round(exchange), earlier.requests[ME], "did not sign what this device sees")


# The set U2


def deliver(held, **changes):
    return replace(Delivery.from_bytes(held.requests[ME]), **changes).to_bytes()


def test_the_list_differs_between_clients(cohort, vectors):
    """One device got a list U1 with an accomplice more: the others' signatures do not cover it."""
    held, accomplice = Round(cohort, vectors), enrol(cohort.operator, os.urandom(32))
    held.hold()
    other = advertisement(client.advertise(cohort.rules, accomplice, os.urandom)[0])
    longer = altered_roster(held, lambda members, _: [*members, other])
    mine = held.answer(ME, longer)
    replies = {number: held.answer(number) for number in range(PEOPLE) if number != ME}
    shares = client.Shares.from_bytes(mine)
    names = Roster.from_bytes(longer).names
    me = held.cohort.identities[ME].public
    signatures = {cohort.identities[n].public: client.Shares.from_bytes(r).signature for n, r in replies.items()}
    signatures[me] = shares.signature
    senders = frozenset(place for place, name in enumerate(names) if name in signatures)
    request = Delivery(
        people=PEOPLE + 1,
        senders=senders,
        signatures=tuple(signatures[names[place]] for place in sorted(senders)),
        sealed=shares.sealed[: len(senders) - 1],
    )
    held.exchange = "masked"
    with pytest.raises(ProtocolError, match="did not sign what this device sees"):
        held.answer(ME, request.to_bytes())


def test_too_few_sent_shares(new_round):
    held = new_round("masked")
    me = place_of(held, ME)
    few = frozenset([me, *(at for at in range(PEOPLE) if at != me)][:5])
    refuses(held, deliver(held, senders=few, signatures=(bytes(64),) * 5), "5 members are left, needed 6")


def test_the_device_is_left_out_of_u2(new_round):
    held = new_round("masked")
    rest = frozenset(range(PEOPLE)) - {place_of(held, ME)}
    refuses(held, deliver(held, senders=rest, signatures=(bytes(64),) * 7), "said to have dropped out")


def test_a_sender_did_not_sign_the_list(new_round):
    held = new_round("masked")
    signatures = list(Delivery.from_bytes(held.requests[ME]).signatures)
    signatures[0], signatures[1] = signatures[1], signatures[0]
    refuses(held, deliver(held, signatures=tuple(signatures)), "did not sign")


def test_shares_are_held_back(new_round):
    held = new_round("masked")
    sealed = Delivery.from_bytes(held.requests[ME]).sealed
    refuses(held, deliver(held, sealed=sealed[:-1]), "shares of 6 neighbours instead of 7")
    refuses(new_round("masked"), deliver(held, sealed=(*sealed, sealed[0])), "count|number of ciphertexts|shares of 8")


def test_another_number_of_members(new_round):
    held = new_round("masked")
    refuses(held, deliver(held, people=PEOPLE + 1), "a list of 9 members, this device knows 8")


# The set U3


def survive(held, **changes):
    return replace(Survivors.from_bytes(held.requests[ME]), **changes).to_bytes()


def test_too_few_survivors(new_round):
    held = new_round("confirm")
    me = place_of(held, ME)
    few = frozenset([me, *(at for at in range(PEOPLE) if at != me)][:5])
    refuses(held, survive(held, survivors=few, signatures=(bytes(64),) * 5), "5 members are left, needed 6")


def test_fewer_survivors_than_announced(vectors):
    """q = 6 of 8 would do, but 7 were promised."""
    members = new_cohort(PEOPLE, minimum_people=7)
    held = Round(members, vectors).until("confirm")
    true = Survivors.from_bytes(held.requests[ME])
    me = place_of(held, ME)
    rest = frozenset([me, *(at for at in range(PEOPLE) if at != me)][:6])
    signatures = tuple(true.signatures[at] for at in sorted(rest))
    refuses(held, survive(held, survivors=rest, signatures=signatures), "6 members are left, needed 7")


def test_the_device_is_said_to_have_dropped_out(new_round):
    """Its vector is with the server: it would learn the device's s^SK from the others, and b from nobody."""
    held = new_round("confirm")
    me, true = place_of(held, ME), Survivors.from_bytes(held.requests[ME])
    rest = true.survivors - {me}
    signatures = tuple(true.signatures[at] for at in sorted(rest))
    refuses(held, survive(held, survivors=rest, signatures=signatures), "said to have dropped out")


def test_a_survivor_had_dropped_out_before(cohort, vectors):
    held = Round(cohort, vectors).until("shares")
    held.hold(silent=[0])
    held.hold()
    true, gone = Survivors.from_bytes(held.requests[ME]), place_of(held, 0)
    signatures = dict(zip(sorted(true.survivors), true.signatures, strict=True)) | {gone: bytes(64)}
    more = survive(
        held, survivors=true.survivors | {gone}, signatures=tuple(signatures[at] for at in sorted(signatures))
    )
    refuses(held, more, "not among those who sent shares")


def test_a_set_u2_that_differs_between_clients(cohort, vectors):
    """One device was told that somebody dropped out of U2, the others were not."""
    held = Round(cohort, vectors).until("masked")
    gone = place_of(held, 0)
    true = Delivery.from_bytes(held.requests[ME])
    neighbours = held.gathered.start.neighbours[place_of(held, ME)]
    told = deliver(
        held,
        senders=true.senders - {gone},
        signatures=tuple(true.signatures[at] for at in sorted(true.senders - {gone})),
        sealed=tuple(sealed for at, sealed in zip(neighbours, true.sealed, strict=True) if at != gone),
    )
    held.answer(ME, told)
    signatures = {}
    for number in range(PEOPLE):
        if number != ME:
            signatures[place_of(held, number)] = client.MaskedVector.from_bytes(held.answer(number)).signature
    mine = held.states[ME]
    signatures[place_of(held, ME)] = mine.identity.sign(transcript.on_senders(mine.transcript, PEOPLE, mine.senders))
    del signatures[gone]
    held.exchange = "confirm"
    survivors = frozenset(signatures)
    request = Survivors(
        people=PEOPLE, survivors=survivors, signatures=tuple(signatures[at] for at in sorted(survivors))
    )
    with pytest.raises(ProtocolError, match="did not sign what this device sees"):
        held.answer(ME, request.to_bytes())


def test_a_second_set_of_survivors(new_round):
    """Signed once, so that no two sets U3 gather a quorum."""
    held = new_round("confirm")
    request = held.requests[ME]
    held.answer(ME)
    with pytest.raises(ProtocolError, match="a request after Confirmed that belongs after Masked"):
        held.answer(ME, request)


# Unmasking


def unmasking(held, **changes):
    return replace(UnmaskRequest.from_bytes(held.requests[ME]), **changes).to_bytes()


@pytest.fixture
def with_dropout(cohort, vectors):
    """A round before its last exchange; device 0 sent shares but no vector."""
    held = Round(cohort, vectors).until("masked")
    held.hold(silent=[0])
    held.hold()
    return held


def test_a_participant_in_both_lists(with_dropout):
    """Shares of both secrets of one person would take both masks off that person's vector."""
    true = UnmaskRequest.from_bytes(with_dropout.requests[ME])
    victim = next(iter(true.survivors))
    refuses(with_dropout, unmasking(with_dropout, dropped=true.dropped | {victim}), "both alive and dropped")


def test_a_survivor_is_called_dropped(with_dropout):
    true = UnmaskRequest.from_bytes(with_dropout.requests[ME])
    victim = next(at for at in true.survivors if at != place_of(with_dropout, ME))
    moved = unmasking(with_dropout, survivors=true.survivors - {victim}, dropped=true.dropped | {victim})
    refuses(with_dropout, moved, "not those this device signed")


def test_a_dropout_is_called_alive(with_dropout):
    true = UnmaskRequest.from_bytes(with_dropout.requests[ME])
    moved = unmasking(with_dropout, survivors=true.survivors | true.dropped, dropped=frozenset())
    refuses(with_dropout, moved, "not those this device signed")


def test_a_dropout_is_kept_quiet(with_dropout):
    refuses(with_dropout, unmasking(with_dropout, dropped=frozenset()), "the dropped are not those")


def test_no_reply_reveals_both_secrets_of_anybody(with_dropout):
    true = UnmaskRequest.from_bytes(with_dropout.requests[ME])
    neighbours = with_dropout.gathered.masked.shared.start.neighbours[place_of(with_dropout, ME)]
    revealed = Unmasking.from_bytes(with_dropout.answer(ME)).shares
    expected = [SELF_SEED if at in true.survivors else MASK_KEY for at in neighbours]
    assert [kind for kind, _ in revealed] == expected
    assert MASK_KEY in expected


def test_a_second_unmasking_request(new_round):
    held = new_round("unmask")
    request = held.requests[ME]
    held.answer(ME)
    for again in (request, unmasking(held, dropped=frozenset())):
        with pytest.raises(ProtocolError, match="a request after Done that belongs after Confirmed"):
            held.answer(ME, again)


def test_too_few_confirmations(new_round):
    held = new_round("unmask")
    true = UnmaskRequest.from_bytes(held.requests[ME])
    few = frozenset(sorted(true.confirmers)[:5])
    refuses(held, unmasking(held, confirmers=few, signatures=true.signatures[:5]), "5 confirmations, needed 6")


def test_a_confirmation_is_forged(new_round):
    held = new_round("unmask")
    true = UnmaskRequest.from_bytes(held.requests[ME])
    refuses(held, unmasking(held, signatures=(bytes(64), *true.signatures[1:])), "did not sign")
    refuses(new_round("unmask"), unmasking(held, signatures=true.signatures[::-1]), "did not sign|not those")


def test_a_confirmation_is_by_somebody_who_is_not_in_the_sum(with_dropout):
    true = UnmaskRequest.from_bytes(with_dropout.requests[ME])
    more = true.confirmers | true.dropped
    signatures = (*true.signatures, bytes(64))
    refuses(with_dropout, unmasking(with_dropout, confirmers=more, signatures=signatures), "not in the sum")


def test_a_set_u3_that_differs_between_clients(cohort, vectors):
    """The server shows half of the devices one set and half another: neither gathers a quorum."""
    held = Round(cohort, vectors).until("confirm")
    true = Survivors.from_bytes(held.requests[ME])
    sets = [true.survivors - {place_of(held, 0)}, true.survivors - {place_of(held, 1)}]
    signed = {}
    for number in range(2, PEOPLE):
        mine = sets[number % 2]
        signatures = tuple(true.signatures[at] for at in sorted(mine))
        reply = held.answer(number, survive(held, survivors=mine, signatures=signatures))
        signed[number] = client.Confirmation.from_bytes(reply).signature
    held.exchange = "unmask"
    mine = sets[ME % 2]
    confirmers = frozenset(place_of(held, number) for number in signed)
    by_place = {place_of(held, number): signature for number, signature in signed.items()}
    request = UnmaskRequest(
        people=PEOPLE,
        survivors=mine,
        dropped=frozenset(range(PEOPLE)) - mine,
        confirmers=confirmers,
        signatures=tuple(by_place[at] for at in sorted(confirmers)),
    )
    with pytest.raises(ProtocolError, match="did not sign what this device sees"):
        held.answer(ME, request.to_bytes())
    honest = frozenset(at for at, number in ((place_of(held, n), n) for n in signed) if number % 2 == ME % 2)
    request = replace(request, confirmers=honest, signatures=tuple(by_place[at] for at in sorted(honest)))
    with pytest.raises(ProtocolError, match="3 confirmations, needed 6"):
        held.answer(ME, request.to_bytes())


def test_signatures_over_one_set_are_worth_nothing_over_another(new_round):
    """A signature on U1, U2 or U3 is none on the two others, whatever its bytes."""
    held = new_round("unmask")
    state = held.states[ME]
    masked = state.masked
    on = {
        transcript.on_roster(masked.transcript),
        transcript.on_senders(masked.transcript, PEOPLE, masked.senders),
        transcript.on_survivors(masked.transcript, PEOPLE, masked.senders, state.survivors),
        transcript.on_keys(masked.rules, advertisement(new_round("shares").states[ME])),
    }
    assert len({message.split(b"\0")[0] for message in on}) == 4
    confirmed = UnmaskRequest.from_bytes(held.requests[ME])
    masked_signatures = tuple(
        held.cohort.identities[number].sign(transcript.on_senders(masked.transcript, PEOPLE, masked.senders))
        for number in sorted(range(PEOPLE), key=lambda number: place_of(held, number))
    )
    refuses(held, unmasking(held, signatures=masked_signatures[: len(confirmed.confirmers)]), "did not sign")


# Out of turn, in every combination


@pytest.mark.parametrize("exchange", EXCHANGES[1:])
def test_a_request_out_of_turn(new_round, exchange):
    """In each state only one exchange is answered, and it is answered once."""
    held = new_round(exchange)
    request = held.requests[ME]
    steps = {
        "shares": lambda state: client.share(state, request, os.urandom),
        "masked": lambda state: client.mask(state, request, held.vectors[ME]),
        "confirm": lambda state: client.confirm(state, request),
        "unmask": lambda state: client.unmask(state, request),
    }
    for name, step in steps.items():
        if name != exchange:
            with pytest.raises(ProtocolError, match="that belongs after"):
                step(held.states[ME])
    held.answer(ME)
    with pytest.raises(ProtocolError, match="that belongs after"):
        steps[exchange](held.states[ME])


@pytest.mark.parametrize("exchange", EXCHANGES[1:])
def test_a_request_of_another_exchange(new_round, exchange):
    for other in EXCHANGES[1:]:
        if other != exchange:
            refuses(new_round(exchange), new_round(other).requests[ME], "a message of type")


# The graph


def test_nobody_is_its_own_neighbour_and_the_server_chooses_none(new_round):
    """The graph is no message: each device derives it from U1, and another list gives another graph."""
    held = new_round("confirm")
    graph = held.states[ME].graph
    assert all(at not in graph.neighbours(at) for at in range(PEOPLE))
    assert graph == held.gathered.shared.start.graph


@pytest.fixture
def sparse(monkeypatch):
    """A graph as sparse for 24 people as the real one is for 1,024."""
    numbers = Topology(people=24, degree=8, threshold=5, quorum=17, present=2)
    monkeypatch.setattr("common.secagg.graph.topology", lambda _: numbers)
    return numbers


def test_dropouts_that_cut_the_graph_in_pieces(sparse):
    """The server says that whole stretches of the circle dropped out: it would learn the sum of each piece."""
    members = new_cohort(24)
    held = Round(members, [np.zeros(8, np.uint32)] * 24).until("confirm")
    state, true = held.states[ME], Survivors.from_bytes(held.requests[ME])
    circle = state.graph.circle
    half = sparse.degree // 2
    gap = half - sparse.present + 1
    at = circle.index(state.own)
    gone = frozenset(circle[(at + 1 + step) % 24] for step in range(gap))
    rest = true.survivors - gone
    assert len(rest) >= sparse.quorum
    signatures = tuple(true.signatures[place] for place in sorted(rest))
    refuses(held, survive(held, survivors=rest, signatures=signatures), "fall apart into groups")
