"""The audit in its small form: every attack works on what is not protected, and none on what is."""

from __future__ import annotations

import json

import pytest

from simulations.benchmarks import audit
from simulations.benchmarks.framework import write


@pytest.mark.slow
def test_attacks_work_without_the_protection_and_fail_with_it(tmp_path):
    """Bars on protected things fail by chance with probability 10⁻⁶ each; unprotected ones were never near theirs."""
    report = audit.run(full=False, seed=0)
    assert [bar.what for bar in report.bars if not bar.holds] == []
    attacks = {str(row["attack"]) for row in report.rows}
    assert attacks == {"matching", "membership", "unmasking", "least ε, by canaries"}
    assert len(report.bars) >= 2 * len(report.rows) - 4  # on and off, but where nothing so low is promised
    json.loads(write(report, tmp_path).read_text())


def test_naming_people_is_held_to_what_the_noise_promises():
    """(ε, δ) lets a guess among N be right with e^ε/N + δ: at ε = 1 and 75 candidates, 3.6 % of 150 people."""
    found = audit.Found(matched=0.5, detected=0.5, candidates=75, victims=150)
    tried = audit._matching(audit.View("a sum", "noise", found, found, 1.0))
    assert 150 * 0.036 < 150 * tried.most < 150 * 0.036 + 6 * (150 * 0.036) ** 0.5 + 2
    (works, stops) = audit._bars(tried)
    assert works.holds
    assert not stops.holds


def test_what_promises_nothing_has_no_bar():
    found = audit.Found(matched=0.5, detected=0.5, candidates=75, victims=150)
    assert len(audit._bars(audit._membership(audit.View("alone", "noise", found, found, float("inf"))))) == 1
