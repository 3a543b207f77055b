"""When the daemon goes online and when it does not; its child is made up, and a real process."""

from __future__ import annotations

import sys
import threading
import time
from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace

import pytest

from client.control import pause, resume, set_conditions
from client.daemon import rounds as module
from client.daemon.rounds import LONGEST, SHORTEST, Rounds, is_hour
from client.database import Database
from client.sealing import seal_of
from common.errors import ConfigError

SOON = 30.0
ATTENDANT = """
import json, sys
job = json.loads(sys.stdin.readline())
print(json.dumps({"says": "online at a test"}), flush=True)
sys.stdin.read()
open(job["home"] + "/signed-off", "w").close()
"""
REFUSED = "import json; print(json.dumps({'says': 'the server cannot be reached'}), flush=True); raise SystemExit(1)"
TERMS = SimpleNamespace(name="a test", hours=(), jitter_seconds=0.0, poll_seconds=1.0)


@pytest.fixture
def rounds(home, daemon, monkeypatch):
    """Give a device that joined; its own attendant is a small program."""
    with Database(home).transaction() as rows:
        seal_of(rows)
    monkeypatch.setattr(module, "is_member", lambda _: True)
    monkeypatch.setattr(module, "read_membership", lambda _: SimpleNamespace(terms=TERMS))
    monkeypatch.setattr(module, "PROGRAM", (sys.executable, "-c", ATTENDANT))
    found = Rounds(home, daemon.machine, lambda: None, Random(1))  # noqa: S311 - spreads devices, hides nothing
    yield found
    if found._thread.is_alive():
        found.close()


def until(holds):
    end = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_it_goes_online_and_signs_off_when_it_is_paused(home, rounds):
    rounds.start()
    until(lambda: rounds.status == "online at a test")
    pause(home)
    rounds.look()
    until(lambda: rounds.status == "offline: paused")
    assert (home / "signed-off").exists()
    resume(home)
    rounds.look()
    until(lambda: rounds.status == "online at a test")
    rounds.close()
    assert not any(thread.name == "rounds" for thread in threading.enumerate())


@pytest.mark.parametrize(("harm", "told"), [({"power": False}, "on battery"), ({"by_volume": True}, "by volume")])
def test_a_condition_that_does_not_hold_keeps_it_offline(daemon, rounds, harm, told):
    for name, value in harm.items():
        setattr(daemon.machine, name, value)
    rounds.start()
    until(lambda: told in rounds.status)
    assert rounds.status.startswith("offline")


def test_a_round_needs_no_idle_computer_and_learning_no_network(home, daemon, rounds):
    set_conditions(home, idle_minutes=5)
    daemon.machine.idle = 0.0
    rounds.start()
    until(lambda: rounds.status == "online at a test")


def test_a_server_that_cannot_be_reached_is_tried_again_ever_later(rounds, monkeypatch):
    monkeypatch.setattr(module, "PROGRAM", (sys.executable, "-c", REFUSED))
    waits = []
    monkeypatch.setattr(rounds, "_backoff", lambda: waits.append(1) or 0.01)
    rounds.start()
    until(lambda: len(waits) >= 2)
    assert rounds.status in {"the server cannot be reached", "about to connect to a test"}


def test_the_waiting_doubles_to_a_limit_and_is_spread_by_chance(rounds):
    waits = [rounds._backoff() for _ in range(12)]
    for number, wait in enumerate(waits):
        full = min(LONGEST, SHORTEST * 2**number)
        assert full / 2 <= wait <= full
    assert len(set(waits[-4:])) == 4


def test_who_never_joined_hears_nothing_of_it(rounds, monkeypatch):
    monkeypatch.setattr(module, "is_member", lambda _: False)
    rounds.start()
    time.sleep(0.5)
    assert rounds.status == ""


def test_a_membership_that_cannot_be_read_is_told_of(rounds, monkeypatch):
    def damaged(_):
        raise ConfigError("membership.json is damaged: join again")

    monkeypatch.setattr(module, "read_membership", damaged)
    rounds.start()
    until(lambda: "join again" in rounds.status)


@pytest.mark.parametrize(
    ("clock", "online"),
    [
        ("02:57:59", False),
        ("02:58:00", True),
        ("03:59:59", True),
        ("04:00:00", False),
        ("23:58:00", True),
        ("00:30:00", True),
    ],
)
def test_devices_are_online_in_the_operators_hours_and_shortly_before(clock, online):
    now = datetime.fromisoformat(f"2026-11-24T{clock}").replace(tzinfo=UTC)
    assert is_hour((0, 3), 120.0, now) is online
    assert is_hour((), 120.0, now)
