"""The benchmark of secure sums: what it says is what was measured, and every sum is exact."""

from __future__ import annotations

import numpy as np
import pytest

from simulations.benchmarks import secagg
from simulations.benchmarks.secagg import LENGTH, Seen, hold


def test_a_round_is_measured_from_both_sides():
    cost = hold(16, np.random.default_rng(0))
    assert cost.exact == LENGTH
    assert cost.plain_sent == LENGTH * 3
    # Section 8 of docs/protocol.md: five frames, keys, 15 shares, the vector, a signature, 14 neighbours' shares.
    assert cost.sent == 5 * 14 + 256 + (66 + 15 * 158) + (68 + LENGTH * 3) + 64 + (2 + 14 * 34)
    assert all(spent > 0 for side in (cost.device, cost.server) for spent in side.values())


def test_only_good_signatures_are_remembered(monkeypatch):
    asked = []
    monkeypatch.setattr("simulations.benchmarks.secagg.verify", lambda *args: asked.append(args) or args[1] == b"good")
    seen = Seen()
    assert seen.remember(b"key", b"good", b"message")
    assert not seen.remember(b"key", b"bad", b"message")
    assert seen.recall(b"key", b"good", b"message")
    assert len(asked) == 2
    assert not seen.recall(b"key", b"bad", b"message")
    assert not seen.recall(b"other", b"bad", b"message")
    assert len(asked) == 4


@pytest.mark.slow
def test_the_small_form_keeps_its_promises():
    report = secagg.run(full=False, seed=0)
    assert all(bar.holds for bar in report.bars)
    assert [row["people"] for row in report.rows[::4]] == [16, 32, 64, 128]
