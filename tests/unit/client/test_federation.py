"""One device through a round, in the company of bare state machines; then every lie of their server.

A lie is refused, and the ledger has nothing more in it than before.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.budget import cost
from client.contribution import contribute
from client.database import Database
from client.federation import answer_confirm, answer_keys, answer_shares, answer_unmask, is_ready
from client.ledger import Contribution, Limits, Opening, Simulation, Withdrawal, append, read, writing
from client.rules import Device, booking
from client.vault import Vault
from common.errors import BudgetExhaustedError, ProtocolError, StaleRoundError, VaultError
from common.messages import ReadyQuery
from common.privacy import Mechanism
from common.secagg.messages import Delivery, Roster, Survivors, UnmaskRequest
from simulations.company import Company, announce
from simulations.village import BACKBONE, public_basis, settle, teach

OPERATOR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
MECHANISM = Mechanism(length=15, scale=64.0, share_variance=42_000, modulus_bits=24)
OTHERS = 11
GONE = {"shares": {0}, "masked": {1}, "confirm": {2}}
STEPS = {"shares": answer_shares, "masked": contribute, "confirm": answer_confirm, "unmask": answer_unmask}


@pytest.fixture(scope="session")
def settled(tmp_path_factory):
    folder = settle(tmp_path_factory.mktemp("settled"), OPERATOR)
    teach(folder, np.random.default_rng(7), name="my-dog")
    return folder


@pytest.fixture
def device(settled, tmp_path):
    shutil.copytree(settled, tmp_path / "home")
    return Device(folder=tmp_path / "home")


def call(round_id="r1", **changes):
    return replace(announce(public_basis(), MECHANISM, round_id=round_id, backbone=BACKBONE), **changes)


def company(round_id="r1", *, gone=None, others=OTHERS, **changes):
    return Company(OPERATOR, call(round_id, **changes), others=others, gone=gone or {})


def until(device, others, exchange):
    """Take the device honestly up to an exchange; give what it is asked there."""
    step = others.next(answer_keys(device, others.call))
    for name, answer in STEPS.items():
        if name == exchange:
            return step
        step = others.next(answer(device, step))
    raise AssertionError(exchange)


@pytest.fixture(scope="session")
def stages(settled, tmp_path_factory):
    """One honest round with a dropout in each exchange, kept as it was before each answer of the device."""
    home = tmp_path_factory.mktemp("stages")
    shutil.copytree(settled, home / "now")
    device, others, kept = Device(folder=home / "now"), company(gone=GONE), {}
    step = others.next(answer_keys(device, others.call))
    for name, answer in STEPS.items():
        shutil.copytree(home / "now", home / name)
        kept[name] = (home / name, others.copy(), step)
        reply = answer(device, step)
        if name != "unmask":
            step = others.next(reply)
    return kept


@pytest.fixture
def stage(stages, tmp_path):
    """Give the device, its company and its request as they were before an exchange."""

    def before(exchange):
        folder, others, step = stages[exchange]
        shutil.copytree(folder, tmp_path / "stage")
        return Device(folder=tmp_path / "stage"), others.copy(), step

    return before


def lines(device):
    with Database(device.folder).transaction("DEFERRED") as rows:
        return [entry.event for entry in read(rows, device.folder)]


def write(device, event):
    with writing(Database(device.folder)) as rows:
        append(rows, device.folder, event)


def pending(device):
    return Vault(device.folder).pending("object", BACKBONE) is not None


def secrets(device):
    """Give what is kept of rounds in the file itself."""
    with Database(device.folder).transaction("DEFERRED") as rows:
        return rows.execute("SELECT state, call FROM rounds WHERE state IS NOT NULL OR call <> ''").fetchall()


@pytest.fixture
def integers(monkeypatch):
    """Record what is masked, inside this process."""
    import client.contribution

    seen, protect = [], client.contribution.protect

    def record(*arguments):
        seen.append(protect(*arguments))
        return seen[-1]

    monkeypatch.setattr("client.contribution.protect", record)
    return seen


def test_a_whole_round_gives_the_sum_and_books_it_before_and_after(device, integers):
    others = company(gone=GONE)
    assert is_ready(device, ReadyQuery(kind="object", backbone=BACKBONE, prior_version=0))
    step = until(device, others, "masked")
    assert lines(device) == []
    reply = contribute(device, step)
    (booked,) = lines(device)
    assert isinstance(booked, Contribution)
    assert (booked.round_id, booked.called, booked.fewest, booked.colluders) == ("r1", 12, 9, 3)
    assert booked.context == others.rules.context.hex()
    assert booked.share_variance == MECHANISM.share_variance
    assert not pending(device)
    step = others.next(reply)
    step = others.next(answer_confirm(device, step))
    np.testing.assert_array_equal(others.total(answer_unmask(device, step)), integers[0])
    assert lines(device) == [booked, Opening(round_id="r1", people=10)]
    assert secrets(device) == []
    assert not is_ready(device, ReadyQuery(kind="object", backbone=BACKBONE, prior_version=0))


def test_what_leaves_is_not_what_was_masked(stage, integers):
    device, _, step = stage("masked")
    reply = contribute(device, step)
    packed = integers[0].astype("<u4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    assert packed not in reply
    assert len(integers) == 1


def test_the_noise_is_there(stage, monkeypatch):
    drawn = []
    import client.contribution

    real = client.contribution.draw_share
    monkeypatch.setattr("client.contribution.draw_share", lambda *given: drawn.append(real(*given)) or drawn[-1])
    device, _, step = stage("masked")
    contribute(device, step)
    assert len(drawn) == 1
    assert drawn[0].std() > 100  # of a variance of 42,000


ANNOUNCEMENTS = {
    "no noise": {"share_variance": 0},
    "too few people": {"minimum_people": 7},
    "as few as the protocol allows": {"minimum_people": 3},
    "a vector too short": {"length": 14},
    "a vector too long": {"length": 30},
    "another basis than it says": {"basis_digest": bytes(32)},
    "a tiny clip": {"clip": 1e-300},
    "another backbone": {"backbone": "cd" * 32},
    "a later prior": {"prior_version": 1, "prior_digest": bytes(32), "public_basis": b""},
}


@pytest.mark.parametrize("why", ANNOUNCEMENTS)
def test_a_round_that_breaks_a_rule_gets_no_keys_and_nothing_is_booked(device, why):
    with pytest.raises(ProtocolError):
        answer_keys(device, call(**ANNOUNCEMENTS[why]))
    assert lines(device) == []
    assert secrets(device) == []
    assert pending(device)


@pytest.mark.parametrize("changes", [{"share_variance": 1}, {"share_variance": 420}, {"scale": 6400.0}])
def test_a_round_with_too_little_noise_for_the_budget_is_refused(device, changes):
    with pytest.raises(BudgetExhaustedError):
        answer_keys(device, call(**changes))
    assert lines(device) == []
    assert secrets(device) == []


def test_a_budget_that_is_spent_is_noticed_in_the_last_moment_too(stage):
    device, _, step = stage("masked")
    write(device, Limits(central=0.01, local=100.0))  # the person changes their mind while the round runs
    before = lines(device)
    with pytest.raises(BudgetExhaustedError, match="central"):
        contribute(device, step)
    assert lines(device) == before
    assert pending(device)


def test_the_cost_is_that_of_the_people_on_the_list_not_of_those_hoped_for(device):
    others = company(others=10)
    # Of 8 people 8 must stay and 2 may collude, of 11 still 8 and 3.
    costs = [cost([booking(others.rules, others.call, people=n, concept=0)]).central for n in (8, 11)]
    assert costs[0] < costs[1]
    write(device, Limits(central=sum(costs) / 2, local=100.0))
    step = others.next(answer_keys(device, others.call))
    with pytest.raises(BudgetExhaustedError, match="central"):
        answer_shares(device, step)
    few = company("r2", others=7)
    answer_shares(device, few.next(answer_keys(device, few.call)))


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": 2.0**-10},
        {"scale": 2.0**24},
        {"scale": 2.0**24, "share_variance": 2**62, "modulus_bits": 32},
        {"share_variance": 2**16, "modulus_bits": 8},
        {"clip": 1e-6},
        {"clip": 1e3},
    ],
)
def test_at_the_bounds_of_the_protocol_a_device_still_gives_what_it_accounts_for(device, integers, changes):
    """A server may choose any of them; what it costs is for the budget, which allows it all here."""
    write(device, Limits(central=1e300, local=1e300))
    others = company(**changes)
    reply = contribute(device, until(device, others, "masked"))
    step = others.next(answer_confirm(device, others.next(reply)))
    np.testing.assert_array_equal(others.total(answer_unmask(device, step)), integers[0])
    (booked,) = [event for event in lines(device) if isinstance(event, Contribution)]
    assert booked.scale == others.call.scale
    assert booked.share_variance == others.call.share_variance
    assert 0 < cost([booked]).central <= cost([booked]).local


def test_who_withdrew_is_not_ready_and_takes_no_part(device):
    write(device, Withdrawal())
    assert not is_ready(device, ReadyQuery(kind="object", backbone=BACKBONE, prior_version=0))
    with pytest.raises(BudgetExhaustedError, match="withdrawn"):
        answer_keys(device, call())


def test_nothing_leaves_before_enrolment(tmp_path):
    teach(tmp_path, np.random.default_rng(7))
    stranger = Device(folder=tmp_path)
    assert not is_ready(stranger, ReadyQuery(kind="object", backbone=BACKBONE, prior_version=0))
    with pytest.raises(VaultError, match="never joined"):
        answer_keys(stranger, call())
    assert lines(stranger) == []


def tampered_roster(others, change):
    def lie(step):
        members = list(Roster.from_bytes(step.request).members)
        change(others, members)
        return replace(step, request=Roster(tuple(sorted(members, key=lambda one: one.identity))).to_bytes())

    return lie


def swap_keys(others, members):
    other = next(at for at, one in enumerate(members) if one.identity == others.round.cohort.identities[0].public)
    members[other] = replace(members[other], mask_key=bytes(range(32)))


def unsign(others, members):
    other = next(at for at, one in enumerate(members) if one.identity == others.round.cohort.identities[0].public)
    members[other] = replace(members[other], signature=bytes(64))


def smuggle(others, members):
    """Put in somebody whom another operator enrolled."""
    foreign = Company(STRANGER, others.call, others=9)
    foreign.next(None)
    members.append(foreign.round.gathered.roster.members[0])


def shrink(_others, members):
    del members[7:]


def leave_out(others, members):
    strangers = {one.public for one in others.round.cohort.identities}
    members[:] = [one for one in members if one.identity in strangers]


LISTS = {"swapped keys": swap_keys, "unsigned keys": unsign, "a stranger": smuggle, "few": shrink, "not me": leave_out}


@pytest.mark.parametrize("why", LISTS)
def test_a_list_of_people_that_is_not_right_gets_no_shares(stage, why):
    device, others, step = stage("shares")
    with pytest.raises(ProtocolError):
        answer_shares(device, tampered_roster(others, LISTS[why])(step))
    assert lines(device) == []
    # What was refused is as if it had never come: the honest list is still answered.
    answer_shares(device, step)


def another_list(_others, step):
    """Signatures on another list than this device saw."""
    delivery = Delivery.from_bytes(step.request)
    return replace(step, request=replace(delivery, signatures=delivery.signatures[::-1]).to_bytes())


def too_few_senders(_others, step):
    delivery = Delivery.from_bytes(step.request)
    few = sorted(delivery.senders)[:4]
    signatures = delivery.signatures[:4]
    return replace(step, request=replace(delivery, senders=frozenset(few), signatures=signatures).to_bytes())


def other_terms(_others, step):
    return replace(step, context=bytes(32))


def garbage(_others, step):
    return replace(step, request=b"\xff" * 100)


def nothing(_others, step):
    return replace(step, request=b"")


def another_round(_others, step):
    return replace(step, round_id="r9")


EVERYWHERE = (other_terms, garbage, nothing, another_round)


@pytest.mark.parametrize("lie", [another_list, too_few_senders, *EVERYWHERE], ids=lambda lie: lie.__name__)
def test_a_lie_before_the_vector_costs_nothing(stage, lie):
    device, others, step = stage("masked")
    with pytest.raises(ProtocolError):
        contribute(device, lie(others, step))
    assert lines(device) == []
    assert pending(device)
    contribute(device, step)
    assert len(lines(device)) == 1


def not_a_sender(others, step):
    """Somebody survives who never sent shares: their sets differ."""
    asked = Survivors.from_bytes(step.request)
    missing = next(iter(set(range(asked.people)) - asked.survivors))
    more = frozenset({*asked.survivors, missing})
    return replace(step, request=replace(asked, survivors=more, signatures=(*asked.signatures, bytes(64))).to_bytes())


def few_survivors(_others, step):
    asked = Survivors.from_bytes(step.request)
    few = frozenset(sorted(asked.survivors)[:5])
    return replace(step, request=replace(asked, survivors=few, signatures=asked.signatures[:5]).to_bytes())


@pytest.mark.parametrize("lie", [not_a_sender, few_survivors, *EVERYWHERE], ids=lambda lie: lie.__name__)
def test_a_lie_about_the_survivors_gets_no_signature(stage, lie):
    device, others, step = stage("confirm")
    before = lines(device)
    with pytest.raises(ProtocolError):
        answer_confirm(device, lie(others, step))
    assert lines(device) == before
    answer_confirm(device, step)


def alive_and_dropped(_others, step):
    asked = UnmaskRequest.from_bytes(step.request)
    both = frozenset({*asked.dropped, min(asked.survivors)})
    return replace(step, request=replace(asked, dropped=both).to_bytes())


def another_sum(_others, step):
    """Move somebody whose vector arrived to the dropouts, whose masks are opened."""
    asked = UnmaskRequest.from_bytes(step.request)
    gone = min(asked.survivors - asked.confirmers or asked.survivors)
    asked = replace(asked, survivors=asked.survivors - {gone}, dropped=asked.dropped | {gone})
    return replace(step, request=asked.to_bytes())


def few_confirmations(_others, step):
    asked = UnmaskRequest.from_bytes(step.request)
    few = frozenset(sorted(asked.confirmers)[:5])
    return replace(step, request=replace(asked, confirmers=few, signatures=asked.signatures[:5]).to_bytes())


@pytest.mark.parametrize(
    "lie", [alive_and_dropped, another_sum, few_confirmations, *EVERYWHERE], ids=lambda lie: lie.__name__
)
def test_a_lie_about_the_confirmations_opens_nothing(stage, lie):
    device, others, step = stage("unmask")
    before = lines(device)
    with pytest.raises(ProtocolError):
        answer_unmask(device, lie(others, step))
    assert lines(device) == before
    answer_unmask(device, step)


@pytest.mark.parametrize("exchange", STEPS)
def test_no_exchange_is_answered_twice(stage, exchange):
    device, _, step = stage(exchange)
    STEPS[exchange](device, step)
    before = lines(device)
    with pytest.raises(StaleRoundError):
        STEPS[exchange](device, step)
    assert lines(device) == before


@pytest.mark.parametrize("minutes", [16, 60 * 24 * 30, -16])
@pytest.mark.parametrize("exchange", STEPS)
def test_what_is_kept_of_a_round_is_of_no_use_later(stage, exchange, minutes, monkeypatch):
    """A backup put back while it ran would answer under masks that were used before."""
    device, _, step = stage(exchange)
    before, later = lines(device), datetime.now(UTC) + timedelta(minutes=minutes)
    with monkeypatch.context() as patched:
        patched.setattr("client.participation.now", lambda: later.isoformat(timespec="seconds"))
        with pytest.raises(StaleRoundError, match="long ago"):
            STEPS[exchange](device, step)
    assert lines(device) == before
    STEPS[exchange](device, step)


@pytest.mark.parametrize("exchange", STEPS)
def test_secrets_of_a_round_that_was_never_ended_are_deleted_when_it_is_over(stage, exchange, monkeypatch):
    device, _, step = stage(exchange)
    query = ReadyQuery(kind="object", backbone=BACKBONE, prior_version=0)
    is_ready(device, query)
    assert secrets(device)
    later = datetime.now(UTC) + timedelta(minutes=16)
    with monkeypatch.context() as patched:
        patched.setattr("client.participation.now", lambda: later.isoformat(timespec="seconds"))
        is_ready(device, query)
    assert not secrets(device)
    with pytest.raises(StaleRoundError):
        STEPS[exchange](device, step)


def test_a_round_never_comes_twice_under_its_name_whatever_is_announced(device):
    answer_keys(device, call())
    for again in (call(), call(clip=1.0)):
        with pytest.raises(StaleRoundError):
            answer_keys(device, again)
    assert lines(device) == []


def test_a_round_that_is_over_is_not_gone_back_to(stage):
    device, _, step = stage("masked")
    new = company("r2", others=7)
    other = until(device, new, "masked")
    with pytest.raises(StaleRoundError):
        contribute(device, step)
    assert lines(device) == []
    contribute(device, other)
    assert [line.round_id for line in lines(device)] == ["r2"]
    assert len(secrets(device)) == 1  # those of the old round are deleted


def test_one_concept_makes_one_contribution(stage):
    device, _, step = stage("masked")
    contribute(device, step)
    again = company("r2", others=7)
    with pytest.raises(StaleRoundError, match="pending"):
        contribute(device, until(device, again, "masked"))
    assert len(lines(device)) == 1
    teach(device.folder, np.random.default_rng(9), name="my-cat")
    contribute(device, until(device, company("r3", others=7), "masked"))
    assert [line.concept for line in lines(device)] == [1, 2]


def test_a_damaged_ledger_blocks_every_round(stage):
    device, _, step = stage("masked")
    write(device, Limits(central=2.0, local=50.0))
    with Database(device.folder).transaction() as rows:
        rows.execute("DROP TRIGGER ledger_is_not_changed")
        rows.execute("UPDATE ledger SET event = CAST(replace(CAST(event AS TEXT), '50.0', '99.0') AS BLOB)")
    with pytest.raises(VaultError, match="ledger was changed"):
        contribute(device, step)
    with pytest.raises(VaultError, match="ledger was changed"):
        answer_keys(device, call("r2"))
    assert pending(device)


def test_noise_may_be_off_only_where_the_place_and_the_ledger_both_say_simulation(device):
    announced = call(share_variance=0, minimum_people=3)
    virtual = Device(folder=device.folder, simulated=True)
    with pytest.raises(ProtocolError):
        answer_keys(virtual, announced)
    write(device, Simulation())
    with pytest.raises(ProtocolError):
        answer_keys(device, announced)
    others = Company(OPERATOR, announced, others=3)
    contribute(virtual, until(virtual, others, "masked"))
    assert [getattr(line, "share_variance", None) for line in lines(device)] == [None, 0]


def test_the_rest_of_the_company_is_honest():
    """If the others could not hold a round themselves, refusals above would prove nothing."""
    others = company(gone={**GONE, "keys": {3}, "unmask": {4}}, others=14)
    for _ in range(4):
        assert others.next(None).request == b""
    assert not others.total(None).any()
