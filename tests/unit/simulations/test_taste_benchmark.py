from __future__ import annotations

import json

import pytest

from simulations.benchmarks import taste
from simulations.benchmarks.framework import write


def test_bars_compare_half_the_pairs_with_the_prior():
    rates = {(str(taste.WAYS[0]), "token", 0): 0.7, (str(taste.WAYS[0]), "token", 4): 0.8}
    rates |= {(str(taste.WAYS[1]), "token", 8): 0.9, (str(taste.WAYS[0]), "both", 4): 0.75}
    bars = taste._bars(rates)
    assert [(bar.value, bar.holds) for bar in bars] == [(0.8, True), (pytest.approx(-0.1), False)]


def test_telling_pairs_are_compared_with_chance():
    rates = {(str(way), "token", 4): won for way, won in zip(taste.WAYS, (0.8, 0.6, 0.4, 0.5), strict=True)}
    assert taste._ratios(rates) == {
        "4 pairs, with prior: telling / by chance": 2.0,
        "4 pairs, no prior: telling / by chance": 1.2,
    }


@pytest.mark.slow
def test_the_small_form_runs_and_shows_pairs_and_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(taste, "OUT", tmp_path)
    report = taste.run(full=False, seed=0)
    assert {row["pairs"] for row in report.rows} == {0, 2}
    assert all(0 <= float(row["won"]) <= 1 for row in report.rows)
    json.loads(write(report, tmp_path).read_text())
    page = (tmp_path / "taste.html").read_text()
    assert page.count("<img") > 10
    assert "chosen, then not" in page
    assert "http" not in page
