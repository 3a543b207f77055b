"""The small forms of the benchmarks run and say what they promise to say."""

from __future__ import annotations

import pytest

from simulations.benchmarks import forwards, timesteps


@pytest.mark.slow
def test_forwards_in_small_puts_three_searches_side_by_side():
    report = forwards.run(full=False, seed=0)
    assert [row["search"] for row in report.rows] == ["zoodip_reference", "without_prior", "with_prior"]
    assert all(row["of"] == forwards.SMALL.newcomers for row in report.rows)
    assert len(report.bars) == 1


@pytest.mark.slow
def test_text_steers_pictograms_where_its_folder_says():
    report = timesteps.run(full=False, seed=0)
    signal = {row["timesteps"]: float(row["signal, antithetic"]) for row in report.rows}
    assert signal["900 to 1000"] > 2 * signal["500 to 600"] > 8 * signal["0 to 200"]
