from __future__ import annotations

import json
from dataclasses import replace

import pytest

from simulations.benchmarks.link import SMALL, measure
from simulations.fleet import Phase


def test_a_phase_sums_up_its_looks():
    phase = Phase(waits=[0.002, 0.001, 0.1, 0.003], answered=7)
    found = json.loads(phase.as_json())
    assert (found["looks"], found["answered"], found["median"], found["p99"]) == (4, 7, 2.0, 3.0)
    assert json.loads(Phase().as_json())["looks"] == 0


@pytest.mark.slow
@pytest.mark.skip(reason="UNRESOLVED: a round is held among 20 devices, but not within minutes among 40, when busy")
def test_a_round_is_held_while_others_look_on(tmp_path):
    form = replace(SMALL, devices=40, people=9, seconds=3.0)
    fast, calm, memory, held, whole = measure(tmp_path, form, 0)
    assert fast["looks a second"] > 5
    # Every device was asked once whether it is ready; those of the round answered its five exchanges as well.
    assert calm["answers"] >= 40 + 5 * 9
    assert 0 < held < whole < 300
    assert memory[0] > 0
