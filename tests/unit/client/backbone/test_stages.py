"""Stages of denoising: they cover all timesteps, each once, the noisiest first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.backbone.stages import stage_at, stages_of


@given(low=st.integers(0, 800), size=st.integers(10, 200), count=st.integers(1, 10))
def test_every_timestep_belongs_to_exactly_one_stage(low, size, count):
    stages = stages_of((low, low + size), count)
    covered = [step for lower, upper in reversed(stages) for step in range(lower, upper)]
    assert covered == list(range(low, low + size))
    for number, (lower, upper) in enumerate(stages):
        assert {stage_at(step, (low, low + size), count) for step in range(lower, upper)} == {number}


@pytest.mark.parametrize(("timestep", "stage"), [(999, 0), (901.5, 0), (850, 1), (700, 2), (699.9, 3), (1, 3)])
def test_the_outer_stages_hold_on_beyond_the_range(timestep, stage):
    assert stage_at(timestep, (600, 1000), 4) == stage
