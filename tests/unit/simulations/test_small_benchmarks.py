"""The small forms of the benchmarks run and say what they promise to say."""

from __future__ import annotations

import pytest

from simulations.benchmarks import forwards, timesteps


@pytest.mark.slow
def test_forwards_in_small_puts_all_searches_side_by_side():
    report = forwards.run(full=False, seed=0)
    searches = [row["search"] for row in report.rows if row["kind"] == "object"]
    assert searches[0] == forwards.REFERENCE
    assert searches[-2:] == [forwards.ALONE, "ours, prior of 8"]
    assert len(report.rows) == 2 * len(searches)
    assert all(row["of"] == forwards.SMALL.newcomers for row in report.rows)
    assert len(report.bars) == 4


@pytest.mark.slow
def test_text_steers_pictograms_where_its_folder_says():
    report = timesteps.run(full=False, seed=0)
    signal = {row["timesteps"]: float(row["signal, antithetic"]) for row in report.rows}
    assert signal["900 to 1000"] > 2 * signal["500 to 600"] > 8 * signal["0 to 200"]
