"""The small forms of `step` and `memory` run, and count what they say they count."""

from __future__ import annotations

import pytest

from simulations.benchmarks import large, memory, step
from simulations.benchmarks.loops import inversion_step, our_step
from simulations.benchmarks.shapes import write_shape


@pytest.mark.slow
def test_a_step_of_ours_stands_beside_the_published_loop(capsys):
    report = step.run(full=False, seed=0)
    assert capsys.readouterr().err.count("round 2 of 2: ") == len(report.rows)
    found = {(row["backbone"], row["loop"], row["engine"]): row for row in report.rows}
    assert len(found) == 10
    assert all(float(row["seconds"]) > 0 for row in report.rows)
    assert all(bar.holds for bar in report.bars), "an engine's slopes left float32's"
    # The published loop does three forwards one by one and a VAE encode besides: ours is never slower, busy or not.
    assert float(found["Pictograms", "ours", "differences"]["times faster"]) > 1


@pytest.mark.slow
def test_memory_is_measured_in_processes_of_their_own(capsys):
    report = memory.run(full=False, seed=0)
    assert capsys.readouterr().err.count("8 x 8: ") == len(memory.WAYS)
    assert [row["way"] for row in report.rows] == list(memory.WAYS)
    libraries = float(report.rows[0]["running MB"])
    assert 100 < libraries < 2000
    assert all(float(row["running MB"]) >= libraries - 100 for row in report.rows)


def test_the_peak_is_what_was_held(tmp_path):
    folder = write_shape("tiny", tmp_path / "tiny")
    memory.WAYS["hold 300 MB"] = lambda _: lambda: bytearray(300_000_000).clear()
    try:
        order = memory.Order(way="hold 300 MB", folder=str(folder), cache=str(tmp_path), side=8, seed=0)
        row = memory.carry_out(order)
    finally:
        del memory.WAYS["hold 300 MB"]
    assert float(row["running MB"]) - float(row["private MB"]) > 250


def test_gradient_steps_move_what_they_should(tmp_path):
    folder = write_shape("tiny", tmp_path / "tiny")
    for checkpointing in (False, True):
        inversion_step(folder, 8, 0, checkpointing=checkpointing)()


def test_a_step_of_ours_costs_one_call(tiny_backbone, tmp_path, monkeypatch):
    from client.backbone.compact import CompactEngine

    engine, calls = CompactEngine(tiny_backbone, tmp_path), []
    scored = engine._scored
    monkeypatch.setattr(engine, "_scored", lambda *given: calls.append(len(given[0])) or scored(*given))
    our_step(engine, 8, 0)()
    assert calls == [3]


@pytest.mark.slow
def test_a_step_of_the_large_model_is_measured_in_processes_of_their_own():
    report = large.run(full=False, seed=0)
    assert [(row["way"], row["latents"]) for row in report.rows] == [("ours, first time", 8), ("ours", 8)]
    assert all(float(row["seconds"]) > 0 and float(row["running MB"]) > 100 for row in report.rows)
