"""Exclusions are kept, end by themselves, and can be ended early."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from common.secagg.blame import Blame
from server.exclusions import DOUBTED, PROVEN
from server.registry import Registry

NOON = datetime(2025, 1, 31, 12, tzinfo=UTC)
LIAR, DOUBTFUL = b"\1" * 32, b"\2" * 32
BLAME = Blame(proven={LIAR: "it lied"}, doubted={DOUBTFUL: "it or another lied"})


@pytest.fixture
def url(database_url):
    return database_url


@pytest.fixture
def registry(url):
    with Registry(url) as registry:
        registry.exclude(BLAME, "r1", NOON)
        yield registry


def out(registry, moment):
    return {one.identity for one in registry.exclusions(moment)}


def test_another_process_sees_who_is_left_out_and_why(registry, url):
    with Registry(url) as other:
        [liar, doubtful] = other.exclusions()
    assert (liar.identity, liar.round_id, liar.reason) == (LIAR, "r1", "it lied")
    assert (liar.since, liar.until - liar.since) == (NOON, PROVEN)
    assert (doubtful.identity, doubtful.until - doubtful.since) == (DOUBTFUL, DOUBTED)


def test_an_exclusion_ends_by_itself_and_stays_on_record(registry):
    assert out(registry, NOON) == {LIAR, DOUBTFUL}
    assert out(registry, NOON + DOUBTED) == {LIAR}
    assert out(registry, NOON + PROVEN) == set()
    assert len(registry.exclusions()) == 2


def test_what_was_known_at_a_moment_does_not_depend_on_what_came_later(registry):
    """A round that goes on after a crash leaves out those it left out at its start."""
    later = NOON + timedelta(hours=1)
    registry.exclude(Blame(proven={b"\3" * 32: "it lied"}), "r2", later)
    assert out(registry, NOON) == {LIAR, DOUBTFUL}
    assert out(registry, later) == {LIAR, DOUBTFUL, b"\3" * 32}


def test_the_same_round_counts_once(registry):
    registry.exclude(BLAME, "r1", NOON + timedelta(hours=1))
    assert {one.until for one in registry.exclusions()} == {NOON + PROVEN, NOON + DOUBTED}


def test_a_device_can_be_readmitted_early(registry):
    registry.exclude(Blame(proven={LIAR: "it lied again"}), "r2", NOON)
    hour = NOON + timedelta(hours=1)
    assert registry.readmit(LIAR, hour) == 2
    assert out(registry, hour) == {DOUBTFUL}
    assert registry.readmit(LIAR, hour) == 0
    assert len(registry.exclusions()) == 3


def test_a_moment_is_the_same_in_every_time_zone(registry, url):
    from datetime import timezone

    east = timezone(timedelta(hours=9))
    registry.exclude(Blame(proven={b"\3" * 32: "it lied"}), "r2", NOON.astimezone(east))
    assert out(registry, NOON.astimezone(east)) == {LIAR, DOUBTFUL, b"\3" * 32}
