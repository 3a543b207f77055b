"""Processes of a deployment killed in the middle of rounds over a real SuperLink: see `simulations.storm`."""

from __future__ import annotations

import os

import pytest

from server.service.proxy import find_proxy
from simulations.storm import storm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_proxy() is None and "CI" not in os.environ, reason="no nginx: apt install nginx-light"),
]


def test_a_killed_server_app_and_a_killed_superlink_lose_nothing_that_was_acknowledged(tmp_path):
    tally = storm(tmp_path, runs=2, seed=3, parts=("serverapp", "superlink"))
    assert tally.wrong == []
    assert tally.rounds["done"] >= 2
