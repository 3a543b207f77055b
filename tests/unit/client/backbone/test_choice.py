"""Which engine learns, and what is said when there is none."""

from __future__ import annotations

import json

import pytest
import torch

from client.backbone.choice import open_engine
from client.backbone.compact import CompactEngine
from client.backbone.engine import TorchEngine
from common.errors import BackboneError, ConfigError


def decide(cache, cosines, by="predictions"):
    """Write verdicts as if they had been measured."""
    place = next(cache.iterdir()) / "verdicts.json"
    machine = f"on cpu, torch {torch.__version__}"
    place.write_text(
        json.dumps({f"{by} of {name} {machine}": {"cosine": c, "error": 0.1} for name, c in cosines.items()})
    )


@pytest.fixture
def cache(tiny_backbone, tmp_path):
    CompactEngine(tiny_backbone, tmp_path)
    return tmp_path


def test_the_default_is_measured_and_passes(tiny_backbone, cache):
    told = []
    engine = open_engine(tiny_backbone, cache, told=told.append)
    assert isinstance(engine, CompactEngine)
    assert len(told) == 1
    open_engine(tiny_backbone, cache, told=told.append)
    assert len(told) == 1, "measured twice"


def test_the_default_falls_back_to_what_passes(tiny_backbone, cache):
    decide(cache, {"differences": 0.94, "quanto": 0.99})
    assert isinstance(open_engine(tiny_backbone, cache), TorchEngine)
    decide(cache, {"differences": 0.94, "quanto": 0.5})
    exact = open_engine(tiny_backbone, cache)
    assert exact._unet.conv_in.weight.dtype == torch.float32


def test_an_engine_that_was_named_and_does_not_pass_is_refused(tiny_backbone, cache):
    decide(cache, {"differences": 0.94})
    with pytest.raises(BackboneError, match=r"0\.940, below 0\.95"):
        open_engine(tiny_backbone, cache, "differences")


def test_the_published_algorithm_is_judged_by_what_it_follows(tiny_backbone, cache):
    decide(cache, {"differences": 0.94, "quanto": 0.99}, by="losses")
    assert isinstance(open_engine(tiny_backbone, cache, by="losses"), TorchEngine)
    assert isinstance(open_engine(tiny_backbone, cache), CompactEngine)


def test_plain_bfloat16_has_to_be_named_and_to_pass(tiny_backbone, cache):
    decide(cache, {"bfloat16": 0.97})
    engine = open_engine(tiny_backbone, cache, "bfloat16")
    assert isinstance(engine, CompactEngine)
    assert not engine.form.differences
    decide(cache, {"bfloat16": 0.5})
    with pytest.raises(BackboneError, match="engine bfloat16"):
        open_engine(tiny_backbone, cache, "bfloat16")


@pytest.mark.parametrize(
    ("asked", "said"),
    [({"name": "onnx"}, "engine 'onnx'"), ({"device": "tpu"}, "device 'tpu'"), ({"threads": 0}, "threads")],
)
def test_what_is_not_there_is_refused_by_name(tiny_backbone, cache, asked, said):
    with pytest.raises(ConfigError, match=said):
        open_engine(tiny_backbone, cache, **asked)


def test_threads_are_an_argument(tiny_backbone, cache):
    before = torch.get_num_threads()
    try:
        open_engine(tiny_backbone, cache, "float32", threads=3)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
