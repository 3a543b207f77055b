"""A small fault run: some rounds in which server, devices and database are killed; `make soak` holds 200 and more."""

from __future__ import annotations

import os

import pytest

from simulations.postgres import postgres, programs
from simulations.soak import soak


@pytest.mark.slow
def test_a_small_fault_run_loses_nothing_and_counts_nothing_twice(tmp_path):
    if programs() is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed: .ci/run installs Debian's package postgresql")
        pytest.skip("PostgreSQL IS NOT INSTALLED, so no database was killed: apt-get install postgresql")
    with postgres() as url:
        tally = soak(tmp_path, url, rounds=12, seed=1)
    assert tally.wrong == []
    assert tally.rounds["done"] >= 8
    assert tally.versions >= 3
