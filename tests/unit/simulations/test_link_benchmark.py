from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from server.service.proxy import find_proxy
from simulations.benchmarks.link import SMALL, measure
from simulations.fleet import Phase


def test_a_phase_sums_up_its_looks():
    phase = Phase(waits=[0.002, 0.001, 0.1, 0.003], answered=7)
    found = json.loads(phase.as_json())
    assert (found["looks"], found["answered"], found["median"], found["p99"]) == (4, 7, 2.0, 3.0)
    assert json.loads(Phase().as_json())["looks"] == 0


@pytest.mark.slow
@pytest.mark.skipif(find_proxy() is None and "CI" not in os.environ, reason="no nginx: apt install nginx-light")
def test_a_round_is_held_while_others_look_on(tmp_path):
    found = measure(tmp_path, replace(SMALL, devices=40, people=9, seconds=3.0), 0)
    assert found.fast["looks a second"] > 5
    # Every device was asked once whether it is ready; those of the round answered its five exchanges as well.
    assert found.calm["answers"] >= 40 + 5 * 9
    assert 0 < found.round < found.run
    assert min(found.fast["superlink cpu s"], found.fast["superlink MB"], found.fast["devices cpu s"]) > 0
