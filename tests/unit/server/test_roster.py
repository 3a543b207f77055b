from __future__ import annotations

from datetime import UTC, datetime

import pytest

from common.errors import ConfigError
from server.door import Failures
from server.roster import Roster, revoked_by

A, B = "aa" * 32, "bb" * 32


@pytest.fixture
def clock():
    return [1_000_000.0]


@pytest.fixture
def roster(tmp_path, clock):
    with Roster(tmp_path, now=lambda: clock[0]) as roster:
        yield roster


def test_a_code_is_spent_once_and_its_device_may_come_again(roster):
    secret = roster.invite("rex", 60)
    assert roster.open_codes() == 1
    assert roster.redeem(secret, A) == "rex"
    assert roster.redeem(secret, A) == "rex"
    assert roster.redeem(secret, B) is None
    assert roster.open_codes() == 0


def test_a_code_expires(roster, clock):
    secret = roster.invite("", 60)
    clock[0] += 61
    assert roster.redeem(secret, A) is None
    assert roster.open_codes() == 0


def test_a_wrong_code_is_none(roster):
    roster.invite("", 60)
    assert roster.redeem(b"0123456789", A) is None
    assert roster.redeem(b"", A) is None


def test_no_secret_is_in_the_database(roster, tmp_path):
    secrets = [roster.invite("", 60) for _ in range(20)]
    data = (tmp_path / "roster.sqlite").read_bytes()
    assert not any(secret in data or secret.hex().encode() in data for secret in secrets)


def test_a_device_is_admitted_once_and_keeps_its_keys(roster):
    first = roster.admit(A, "key a", "rex")
    assert roster.admit(A, "key a", "other") == first
    for identity, key in ((A, "key b"), (B, "key a")):
        with pytest.raises(ConfigError, match="two keys"):
            roster.admit(identity, key, "")
    assert len(roster.devices()) == 1


def test_a_revoked_device_stays_revoked(roster, clock):
    roster.admit(A, "key a", "rex")
    roster.number(A, 2**64 - 1)
    roster.revoke(A)
    at = clock[0]
    clock[0] += 5
    roster.revoke(A)
    roster.admit(A, "key a", "rex")
    found = roster.device(A)
    assert (found.revoked, found.node) == (at, 2**64 - 1)
    assert roster.revoked(at) == {bytes.fromhex(A)}
    assert roster.revoked(at - 1) == frozenset()


def test_rounds_read_the_roster_as_it_is_when_they_begin(roster, tmp_path, clock):
    ask, moment = revoked_by(tmp_path), datetime.fromtimestamp(clock[0], UTC)
    roster.admit(A, "key a", "rex")
    assert ask(moment) == frozenset()
    roster.revoke(A)
    assert ask(moment) == {bytes.fromhex(A)}
    assert revoked_by(tmp_path / "elsewhere")(moment) == frozenset()
    assert not (tmp_path / "elsewhere").exists()


def test_a_device_is_found_by_its_label_or_the_beginning_of_its_identity(roster):
    roster.admit(A, "key a", "rex")
    roster.admit(B, "key b", "rex")
    assert roster.find("aaaa").identity == A
    for text in ("rex", "cc", ""):
        with pytest.raises(ConfigError, match="devices are"):
            roster.find(text)


def test_too_many_wrong_codes_in_a_minute_are_noticed_and_forgotten():
    now = [0.0]
    failures = Failures(most=3, now=lambda: now[0])
    for _ in range(3):
        assert not failures.too_many
        failures.count()
    assert failures.too_many
    now[0] = 61.0
    assert not failures.too_many
