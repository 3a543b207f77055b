from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from server.control import Run
from server.service.schedule import ATTEMPTS, following, is_due, latest

NOW = datetime(2026, 5, 4, 2, 30, tzinfo=UTC)
SLOT = NOW.replace(minute=0)


def run(minutes, outcome="completed"):
    began = (SLOT + timedelta(minutes=minutes)).isoformat()
    return Run(1, "finished" if outcome else "running", outcome, began)


@pytest.mark.parametrize(
    ("hours", "runs", "due"),
    [
        ([2], [], True),
        ([], [], False),
        ([3], [], False),  # the latest was yesterday
        ([0], [], True),  # the machine was off
        ([23], [], False),  # for too long
        ([2], [run(-1440)], True),
        ([2], [run(1)], False),
        ([2], [run(1, "")], False),
        ([2], [run(-600, "")], False),  # it goes on since yesterday
        ([2], [run(1, "stopped")], False),  # by the operator
        ([2], [run(1, "failed")], True),
        ([2], [run(29.95, "failed")], False),  # a moment's pause
        ([2], [run(1, "failed"), run(5)], False),
        ([2], [run(at, "failed") for at in range(ATTEMPTS)], False),
    ],
)
def test_a_run_is_due(hours, runs, due):
    assert is_due(NOW, hours, runs) is due


def test_the_slots_before_and_after():
    assert latest(NOW, [2, 14]) == SLOT
    assert latest(SLOT, [2]) == SLOT
    assert latest(NOW, [14]) == SLOT.replace(hour=14) - timedelta(days=1)
    assert following(NOW, [2, 14]) == SLOT.replace(hour=14)
    assert following(NOW, [2]) == SLOT + timedelta(days=1)
    assert latest(NOW, []) is following(NOW, []) is None
