"""A device that lies, and the server that leaves it out: the others' sum is exact, or there is none."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from common.errors import AbortedRoundError
from common.secagg import transcript
from common.secagg.client import advertisement
from common.secagg.messages import (
    NOTHING,
    SELF_SEED,
    Advertisement,
    Confirmation,
    MaskedVector,
    Shares,
    Unmasking,
)
from common.secagg.shares import CIPHERTEXT, PRIME, SHARE
from simulations.secagg import EXCHANGES, Round, enrol, new_cohort

PEOPLE = 8
"""q = 6, t = 5."""
LIAR = 2


@pytest.fixture(scope="module")
def cohort():
    return new_cohort(PEOPLE)


@pytest.fixture(scope="module")
def stopped(cohort):
    """One round, stopped before each exchange."""
    rng = np.random.default_rng(2)
    held = Round(cohort, [rng.integers(0, 1 << 16, 8, dtype=np.uint32) for _ in range(PEOPLE)])
    return {exchange: held.until(exchange).fork() for exchange in EXCHANGES}


@pytest.fixture
def at(stopped):
    """Give the round before an exchange."""
    return lambda exchange: stopped[exchange].fork()


@pytest.fixture
def held(at):
    return at("keys")


def plain_sum(held, people):
    return sum(held.vectors[number] for number in people) & 0xFFFF


def lie(held, change):
    """Hold the exchange in which one device's reply is altered."""
    replies = {number: held.answer(number) for number in held.requests}
    held.gather(replies | {LIAR: change(replies[LIAR])})


def the_others_have_their_sum(held, *, without=(LIAR,)):
    result = held.finish()
    people = [number for number in range(PEOPLE) if number not in without]
    assert sorted(result.survivors) == people
    assert result.people == len(people)
    np.testing.assert_array_equal(result.total, plain_sum(held, people))


BYTES = {
    "nothing": lambda _: b"",
    "noise": lambda data: os.urandom(len(data)),
    "cut short": lambda data: data[:-1],
    "one byte too many": lambda data: data + b"\0",
    "another version": lambda data: data[:8] + b"\2" + data[9:],
    "another type": lambda data: data[:9] + b"\2" + data[10:],
    "huge": lambda _: bytes(1 << 22),
}


@pytest.mark.parametrize("garbage", BYTES.values(), ids=BYTES)
@pytest.mark.parametrize("exchange", EXCHANGES)
def test_garbage_in_any_exchange_drops_its_sender_alone(at, exchange, garbage):
    held = at(exchange)
    lie(held, garbage)
    gathered = held.sum or held.gathered
    assert set(gathered.dropped) == {LIAR}
    early = exchange in {"keys", "shares", "masked"}
    the_others_have_their_sum(held, without=(LIAR,) if early else ())


# Keys


def advertised(held, identity=None, **changes):
    """Another advertisement of the liar, correctly signed."""

    def change(data):
        who = identity or held.cohort.identities[LIAR]
        unsigned = replace(Advertisement.from_bytes(data), identity=who.public, certificate=who.certificate, **changes)
        return replace(unsigned, signature=who.sign(transcript.on_keys(held.cohort.rules, unsigned))).to_bytes()

    return change


def test_keys_of_a_stranger(held, cohort):
    stranger = enrol(new_cohort(1).operator, os.urandom(32))
    lie(held, advertised(held, stranger))
    assert "not enrolled" in held.gathered.dropped[LIAR]
    the_others_have_their_sum(held)


def test_keys_without_a_signature(held):
    lie(held, lambda data: replace(Advertisement.from_bytes(data), signature=bytes(64)).to_bytes())
    assert "not signed" in held.gathered.dropped[LIAR]
    the_others_have_their_sum(held)


def test_somebody_elses_advertisement(held):
    replies = {number: held.answer(number) for number in range(PEOPLE)}
    held.gather(replies | {7: replies[0]})
    assert "already" in held.gathered.dropped[7]
    the_others_have_their_sum(held, without=(7,))


@pytest.mark.parametrize("what", ["cipher_key", "mask_key", "commitment"])
def test_somebody_elses_key(held, what):
    replies = {number: held.answer(number) for number in range(PEOPLE)}
    stolen = {what: getattr(Advertisement.from_bytes(replies[0]), what)}
    held.gather(replies | {LIAR: advertised(held, **stolen)(replies[LIAR])})
    assert "already" in held.gathered.dropped[LIAR]
    the_others_have_their_sum(held)


def test_one_key_for_two_purposes(held):
    lie(held, lambda data: advertised(held, mask_key=Advertisement.from_bytes(data).cipher_key)(data))
    assert "already" in held.gathered.dropped[LIAR]
    the_others_have_their_sum(held)


@pytest.mark.parametrize("point", [bytes(32), (1).to_bytes(32, "little"), (2**255 - 20).to_bytes(32, "little")])
@pytest.mark.parametrize("what", ["cipher_key", "mask_key"])
def test_a_key_of_low_order(held, what, point):
    """Were it on the list, every neighbour would refuse the round."""
    lie(held, advertised(held, **{what: point}))
    assert "low order" in held.gathered.dropped[LIAR]
    the_others_have_their_sum(held)


def test_a_full_round_takes_nobody_more(held, monkeypatch):
    monkeypatch.setattr("common.secagg.server.MAXIMUM_PEOPLE", 6)
    held.hold()
    assert len(held.gathered.labels) == 6
    assert all("6 members already" in reason for reason in held.gathered.dropped.values())
    assert len(held.gathered.dropped) == 2


# Shares


def shares_with(**changes):
    return lambda data: replace(Shares.from_bytes(data), **changes).to_bytes()


def test_shares_for_too_few_neighbours(at):
    held = at("shares")
    sent = Shares.from_bytes(held.answer(LIAR))
    fewer = replace(sent, sealed=sent.sealed[:-1], commitments=sent.commitments[:-1]).to_bytes()
    replies = {number: held.answer(number) for number in held.requests if number != LIAR}
    held.gather(replies | {LIAR: fewer})
    assert "6 shares for 7 neighbours" in held.gathered.dropped[LIAR]
    the_others_have_their_sum(held)


def test_a_signature_on_another_list(at):
    held = at("shares")
    lie(held, shares_with(signature=held.cohort.identities[LIAR].sign(transcript.on_roster(bytes(32)))))
    assert "signed another set" in held.gathered.dropped[LIAR]
    the_others_have_their_sum(held)


def spoil(sealed, count):
    return tuple(os.urandom(CIPHERTEXT) if at < count else item for at, item in enumerate(sealed))


def test_a_few_shares_that_do_not_decrypt_harm_nobody(at):
    """Two of seven neighbours hold nothing of the liar's; the five others are enough, and its vector counts."""
    held = at("shares")
    lie(held, lambda data: replace(s := Shares.from_bytes(data), sealed=spoil(s.sealed, 2)).to_bytes())
    the_others_have_their_sum(held, without=())


def test_a_few_shares_that_do_not_decrypt_when_their_sender_drops_out(at):
    held = at("shares")
    lie(held, lambda data: replace(s := Shares.from_bytes(data), sealed=spoil(s.sealed, 1)).to_bytes())
    held.hold(silent=[LIAR])
    the_others_have_their_sum(held)


def test_too_many_shares_that_do_not_decrypt_end_the_round_and_name_their_sender(at):
    """No sum rather than a wrong one; the operator knows whom to leave out of the next round."""
    held = at("shares")
    lie(held, lambda data: replace(s := Shares.from_bytes(data), sealed=spoil(s.sealed, 3)).to_bytes())
    with pytest.raises(AbortedRoundError, match="cannot be opened") as caught:
        held.finish()
    assert set(caught.value.blamed) == {LIAR}
    assert not caught.value.doubted


@pytest.mark.parametrize(("secret", "silent"), [("self_seed", []), ("mask_secret", [LIAR])])
def test_shares_of_another_secret_end_the_round_and_name_their_sender(at, secret, silent):
    """Good ciphertexts, good commitments, but they open another b or s^SK than was advertised."""
    held = at("shares")
    honest = held.states[LIAR]
    true = advertisement(honest)
    held.states[LIAR] = replace(honest, **{secret: os.urandom(32)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("common.secagg.client.advertisement", lambda _: true)
        reply = held.answer(LIAR)
    held.states[LIAR] = replace(held.states[LIAR], advertised=honest)
    held.gather({number: held.answer(number) for number in held.requests if number != LIAR} | {LIAR: reply})
    held.hold(silent=silent)
    with pytest.raises(AbortedRoundError, match="cannot be opened") as caught:
        held.finish()
    assert set(caught.value.blamed) == {LIAR}
    assert not caught.value.doubted


# Masked vectors


def test_a_vector_of_another_length(at):
    held = at("masked")
    lie(held, lambda data: replace(v := MaskedVector.from_bytes(data), vector=v.vector[:-2]).to_bytes())
    assert "a vector of 14 bytes instead of 16" in held.gathered.dropped[LIAR]
    the_others_have_their_sum(held)


def test_a_signature_on_another_set_of_senders(at):
    held = at("masked")
    lie(held, lambda data: replace(MaskedVector.from_bytes(data), signature=bytes(64)).to_bytes())
    the_others_have_their_sum(held)


def test_a_vector_that_is_dropped_leaves_no_trace_in_the_sum(at):
    """The signature is checked before the vector is added."""
    held = at("masked")
    lie(held, lambda data: replace(MaskedVector.from_bytes(data), signature=bytes(64), vector=bytes(16)).to_bytes())
    the_others_have_their_sum(held)


# Confirmation and unmasking


def test_a_confirmation_of_another_set(at):
    held = at("confirm")
    lie(held, lambda _: Confirmation(held.cohort.identities[LIAR].sign(b"another set")).to_bytes())
    assert "signed another set" in held.gathered.dropped[LIAR]
    the_others_have_their_sum(held, without=())


def revealed(change):
    return lambda data: Unmasking(tuple(map(change, Unmasking.from_bytes(data).shares))).to_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda share: (share[0], os.urandom(SHARE)),
        lambda share: (share[0], bytes(SHARE)),
        lambda share: (share[0], PRIME.to_bytes(SHARE, "little")),
        lambda share: (share[0], b"\xff" * SHARE),
        lambda _: (NOTHING, bytes(SHARE)),
    ],
    ids=["noise", "zero", "the prime", "too large", "nothing"],
)
def test_false_shares_are_known_and_left_out(at, change):
    held = at("unmask")
    lie(held, revealed(change))
    the_others_have_their_sum(held, without=())


def test_shares_of_the_other_secret_are_not_even_looked_at(at):
    """Nobody asked for them, and a server that took them would hold both."""
    held = at("unmask")
    lie(held, revealed(lambda share: (3 - share[0], share[1])))
    assert "reveals other things" in held.sum.dropped[LIAR]
    the_others_have_their_sum(held, without=())


def test_the_shares_of_another_device(at):
    held = at("unmask")
    replies = {number: held.answer(number) for number in held.requests}
    held.gather(replies | {LIAR: replies[0]})
    the_others_have_their_sum(held, without=())


def test_false_shares_are_left_out_even_when_they_come_first(at):
    """Opening uses the first t good shares: without the commitments these two would be among them."""
    held = at("unmask")
    labels = held.gathered.masked.shared.start.labels
    replies = {number: held.answer(number) for number in held.requests}
    forged = {number: revealed(lambda share: (share[0], os.urandom(SHARE)))(replies[number]) for number in labels[:2]}
    held.gather(replies | forged)
    the_others_have_their_sum(held, without=())


def test_too_many_false_shares_end_the_round(at):
    """Five of eight answer truly, so that there are four good shares of each of those five: one too few."""
    held = at("unmask")
    replies = {number: held.answer(number) for number in held.requests}
    forged = {number: revealed(lambda _: (SELF_SEED, bytes(SHARE)))(replies[number]) for number in range(3)}
    with pytest.raises(AbortedRoundError, match="cannot be opened"):
        held.gather(replies | forged)


def test_nobody_is_blamed_for_others_silence(at):
    held = at("unmask")
    replies = {number: held.answer(number) for number in range(4)}
    with pytest.raises(AbortedRoundError, match="cannot be opened") as caught:
        held.gather(replies)
    assert not caught.value.blamed
    assert not caught.value.doubted


def test_replies_of_those_who_were_not_asked_are_not_looked_at(at):
    held = at("shares")
    replies = {number: held.answer(number) for number in held.requests}
    held.gather(replies | {99: replies[0], -1: b"noise"})
    assert not held.gathered.dropped
    the_others_have_their_sum(held, without=())


def test_a_liar_is_refused_in_a_transcript_that_names_no_secret(at):
    """Reasons go into an operator's log: they are plain sentences without bytes of anybody."""
    held = at("masked")
    lie(held, lambda data: data[:-1])
    (reason,) = held.gathered.dropped.values()
    assert "\\x" not in reason
    assert reason.isprintable()
