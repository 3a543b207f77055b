from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from client.backbone.engine import fingerprint
from client.generate import Request, add_concepts, generate, load_pipeline, mentioned, write_pictures
from common.errors import BackboneError, ConfigError


@dataclass
class Taught:
    name: str
    backbone: str
    token: np.ndarray


def request(**changes):
    return Request(**{"prompt": "a dog", "steps": 2, "guidance": 2.0, "seed": 7, **changes})


def drawn(pipeline, **changes):
    return [np.asarray(picture) for picture in generate(pipeline, request(**changes), lambda _: None)]


@pytest.fixture
def pipeline(tiny_backbone):
    return load_pipeline(tiny_backbone)


def test_a_seed_decides_its_picture_whatever_the_batch(pipeline):
    alone = drawn(pipeline, count=3, batch=1)
    together = drawn(pipeline, count=3, batch=2)
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(alone, together, strict=True))
    assert (drawn(pipeline, seed=8)[0] == alone[1]).all()
    assert (alone[0] != alone[1]).any()


def test_a_concept_changes_pictures_of_prompts_that_mention_it(pipeline, tiny_backbone):
    before, plain = drawn(pipeline, prompt="a <my-dog>")[0], drawn(pipeline)[0]
    token = np.random.default_rng(0).normal(size=32).astype(np.float32)
    add_concepts(pipeline, tiny_backbone, [Taught("my-dog", fingerprint(tiny_backbone), token)])
    assert (drawn(pipeline, prompt="a <my-dog>")[0] != before).any()
    assert (drawn(pipeline)[0] == plain).all()


def test_a_concept_of_another_backbone_is_refused(pipeline, tiny_backbone):
    with pytest.raises(BackboneError, match="learned on model 000000000000"):
        add_concepts(pipeline, tiny_backbone, [Taught("my-dog", "0" * 64, np.zeros(32, np.float32))])


def test_a_negative_prompt_changes_the_picture(pipeline):
    assert (drawn(pipeline)[0] != drawn(pipeline, negative="red")[0]).any()


def test_progress_counts_every_step_of_every_picture(pipeline):
    told = []
    generate(pipeline, request(count=3, batch=2), told.append)
    assert sum(told) == 3 * 2


def test_mentions_are_found_once_and_in_order():
    assert mentioned("a <my-dog> and <cat> beside <my-dog>, 1 < 2 > 0") == ["my-dog", "cat"]


@pytest.mark.parametrize("bad", [{"count": 0}, {"steps": 0}, {"batch": 0}, {"seed": -1}, {"guidance": float("nan")}])
def test_a_request_that_cannot_be_drawn_is_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        request(**bad)


def test_a_folder_without_a_pipeline_is_named(tmp_path):
    with pytest.raises(BackboneError, match="--model"):
        load_pipeline(tmp_path)


def test_pictures_never_replace_a_file(tmp_path):
    white = Image.new("RGB", (4, 4), "white")
    first = write_pictures([white, white], [5, 6], tmp_path / "out")
    again = write_pictures([white], [5], tmp_path / "out")
    assert [f.name for f in [*first, *again]] == ["shoal-5.png", "shoal-6.png", "shoal-5-2.png"]
