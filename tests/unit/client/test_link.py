"""Signs of life; the requests themselves are held by tests/e2e/test_edge.py."""

from __future__ import annotations

from types import SimpleNamespace

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
