"""Signs of life, and lost answers; the requests themselves are held by tests/e2e/test_survival.py."""

from __future__ import annotations

from types import SimpleNamespace

import httpx
import pytest

from client.link import BEAT_AFTER, BEAT_SECONDS, Link

LONGEST_POLL = 30.0
"""Between two looks, by the server's configuration."""


@pytest.fixture
def asked(monkeypatch):
    return Clock(monkeypatch)


class Clock:
    def __init__(self, monkeypatch):
        self.now, self.beats, self.looks = 0.0, [], 0
        monkeypatch.setattr("client.link.time.monotonic", lambda: self.now)

    def SendNodeHeartbeat(self, request):  # noqa: N802 - Flower's name
        assert request.heartbeat_interval == BEAT_SECONDS
        self.beats.append(self.now)

    def PullMessages(self, _request):  # noqa: N802 - as above
        self.looks += 1
        return SimpleNamespace(messages_list=[])


@pytest.mark.parametrize("poll", [0.2, 5.0, 20.0, LONGEST_POLL])
def test_a_device_is_never_taken_for_gone_and_says_little(asked, poll):
    link = Link(1, asked, 0.0)
    for _ in range(int(600 / poll)):
        asked.now += poll
        link.receive()
    gaps = [later - earlier for earlier, later in zip([0.0, *asked.beats], asked.beats, strict=False)]
    assert max(gaps) + poll < 2 * BEAT_SECONDS  # a look may be late by as much again
    assert min(gaps) > BEAT_AFTER or poll >= BEAT_AFTER
    assert len(asked.beats) <= 600 / BEAT_AFTER


class Forgetful:
    """A SuperLink that takes an object once, as Flower's does, and whose first answer is lost."""

    def __init__(self):
        self.stored, self.asked = [], 0

    def PushObject(self, request):  # noqa: N802 - as above
        self.asked += 1
        fresh = request.object_id not in self.stored
        self.stored += [request.object_id] * fresh
        if self.asked == 1:
            raise httpx.ReadError("the connection was closed")
        return SimpleNamespace(stored=fresh)


def test_an_object_that_arrived_although_the_answer_was_lost_is_no_failure(monkeypatch):
    monkeypatch.setattr("client.link.time.sleep", lambda _: None)
    server = Forgetful()
    Link(1, server).push(7, "session", "object", b"content")
    assert (server.stored, server.asked) == (["object"], 2)
