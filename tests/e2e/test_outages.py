"""Processes of a deployment killed in the middle of rounds over a real SuperLink: see `simulations.storm`."""

from __future__ import annotations

import os

import pytest

from server.service.proxy import find_proxy
from simulations.postgres import programs
from simulations.storm import PARTS, STATES, plan, storm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_proxy() is None and "CI" not in os.environ, reason="no nginx: apt install nginx-light"),
]


def test_a_plan_has_each_part_at_each_state_once():
    kills = [kill for run in plan(18, 0) for kill in run]
    assert len(set(kills)) == len(kills) == len(PARTS) * len(STATES)
    assert plan(18, 0) != plan(18, 1)
    assert {kill.part for run in plan(3, 3) for kill in run} == set(PARTS)


def test_each_part_is_killed_and_nothing_is_lost_that_was_acknowledged(tmp_path):
    """In three runs, two in each; `python -m simulations.storm` has each part at each state."""
    parts = PARTS
    if programs() is None:
        assert "CI" not in os.environ, "PostgreSQL is not installed: .ci/run installs Debian's package postgresql"
        parts = PARTS[:-1]
    tally = storm(tmp_path, runs=3, seed=3, parts=parts)
    assert tally.wrong == []
    assert tally.rounds["done"] >= 3
    assert {name.split(":")[0] for name in tally.kills} == set(parts)
