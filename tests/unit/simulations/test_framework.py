import io
import json
import math

import pytest
from rich.console import Console
from typer.testing import CliRunner

from common.errors import ConfigError
from simulations.benchmarks.framework import Bar, Report, cell, machine, show, versions, write


def report(**changes):
    content = {
        "name": "speed",
        "seed": 3,
        "rows": [{"what": "ours", "seconds": 1.0}, {"what": "theirs", "seconds": math.nan}],
        "ratios": {"ours_over_theirs": 0.5},
        "bars": [Bar("seconds", 1.0, 2.0, "at most")],
    }
    return Report(**(content | changes))


@pytest.mark.parametrize(
    ("value", "direction", "holds"),
    [
        (0.5, "at least", True),
        (0.49, "at least", False),
        (0.5, "at most", True),
        (0.51, "at most", False),
        (0.5, "below", False),
        (0.49, "below", True),
        (math.nan, "at least", False),
        (math.nan, "at most", False),
        (math.nan, "below", False),
    ],
)
def test_a_bar_holds_on_its_own_side_only(value, direction, holds):
    assert Bar("x", value, 0.5, direction).holds is holds


def test_the_file_has_the_promised_keys_and_strict_json(tmp_path):
    path = write(report(), tmp_path / "bench")
    assert path.name == "speed.json"
    text = path.read_text()
    content = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert {"name", "machine", "versions", "seed", "rows", "ratios", "bars"} <= set(content)
    assert content["rows"][1]["seconds"] is None
    assert [set(bar) for bar in content["bars"]] == [{"what", "value", "bound", "holds"}]


def test_a_bar_says_how_far_its_value_is_known():
    known = Bar("seconds", 1.0, 2.0, "at most", (0.5, 2.5))
    assert known.holds  # by the value itself
    assert {"low": 0.5, "high": 2.5}.items() <= known.as_dict().items()
    out = io.StringIO()
    show(report(bars=[known]), Console(file=out, width=120))
    assert "1 (0.5 to 2.5), at most 2" in out.getvalue()


def test_a_failed_bar_is_loud():
    out = io.StringIO()
    show(report(bars=[Bar("seconds", 3.0, 2.0, "at most")]), Console(file=out, width=120))
    assert "DOES NOT HOLD" in out.getvalue()
    out = io.StringIO()
    show(report(), Console(file=out, width=120))
    assert "DOES NOT HOLD" not in out.getvalue()


def test_rows_with_different_columns_are_refused():
    with pytest.raises(ConfigError, match="share their columns"):
        report(rows=[{"a": 1}, {"b": 1}])


def test_the_machine_is_described_without_its_name():
    import platform

    assert set(machine()) == {"processor", "matrix_units", "system", "cores", "memory_gb"}
    assert platform.node() not in machine().values()
    assert versions()["numpy"]


def test_cells_are_short():
    assert [cell(v) for v in (None, 0.12345, 12345.6, 1200, "x", True)] == [
        "-",
        "0.123",
        "12,346",
        "1,200",
        "x",
        "True",
    ]


@pytest.fixture
def bench(monkeypatch):
    """Run the command with the arguments; without a terminal's width, which would break lines."""
    import typer

    from simulations.benchmarks.__main__ import main

    program = typer.Typer()
    program.command()(main)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(program, list(arguments))


def test_an_unknown_benchmark_names_those_there_are(bench):
    result = bench("sped")
    assert result.exit_code == 2
    assert "backbone" in result.output


def test_newcomers_of_one_kind_alone_are_the_benchmarks_own_affair(bench, monkeypatch, tmp_path):
    from simulations.benchmarks import forwards

    asked = []

    def run(*, full, seed, kinds=("object", "style"), minutes=None):
        asked.append((full, seed, kinds, minutes))
        return Report(name="forwards", seed=seed, rows=[])

    monkeypatch.setattr(forwards, "run", run)
    for more in ([], ["--kind", "object", "--minutes", "2"]):
        assert bench("forwards", "--seed", "3", "--out", str(tmp_path), *more).exit_code == 0
    assert asked == [(False, 3, ("object", "style"), None), (False, 3, ("object",), 2.0)]


def test_what_a_benchmark_does_not_know_is_refused(bench):
    result = bench("timesteps", "--kind", "object", "--minutes", "2")
    assert result.exit_code == 2
    assert "benchmark timesteps has no kinds and no minutes" in result.output
