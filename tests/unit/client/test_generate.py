from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from client.backbone.engine import fingerprint
from client.backbone.schedulers import schedulers, use_scheduler
from client.generate import Request, add_concepts, description, generate, load_pipeline, write_picture
from client.placeholder import mentioned
from client.taught import Taught
from client.version import version
from common.errors import BackboneError, ConfigError


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
    for scheduler in ("DDIMScheduler", "HeunDiscreteScheduler", "PNDMScheduler"):
        use_scheduler(pipeline, scheduler)
        told = []
        list(generate(pipeline, request(count=3, batch=2, steps=5), told.append))
        assert sum(told) == pytest.approx(3 * 5)


def test_a_wish_to_stop_gives_the_finished_pictures_and_no_other(pipeline):
    told = []
    pictures = list(generate(pipeline, request(count=6, batch=2, steps=3), told.append, lambda: len(told) == 7))
    assert len(pictures) == 4
    assert len(told) == 7
    assert [np.asarray(p).tolist() for p in pictures] == [p.tolist() for p in drawn(pipeline, count=4, steps=3)]


def test_two_concepts_stand_in_one_prompt_each_for_itself(pipeline, tiny_backbone):
    own, rng = fingerprint(tiny_backbone), np.random.default_rng(1)
    tokens = rng.normal(size=(3, 32)).astype(np.float32)
    add_concepts(pipeline, tiny_backbone, [Taught("my-dog", own, tokens[0]), Taught("my-style", own, tokens[1:])])
    both = drawn(pipeline, prompt="<my-dog> in <my-style>")[0]
    for less in ("<my-dog> in", "in <my-style>", "<my-style> in <my-dog>"):
        assert (drawn(pipeline, prompt=less)[0] != both).any()
    assert (drawn(pipeline, negative="<my-style>")[0] != drawn(pipeline)[0]).any()


def test_several_vectors_stand_one_after_the_other(pipeline, tiny_backbone):
    rows = np.random.default_rng(3).normal(size=(2, 32)).astype(np.float32)
    add_concepts(pipeline, tiny_backbone, [Taught("both", fingerprint(tiny_backbone), rows.reshape(-1))])
    prompt = pipeline.maybe_convert_prompt("a <both>", pipeline.tokenizer)
    ids = pipeline.tokenizer(prompt, add_special_tokens=False).input_ids[1:]
    table = pipeline.text_encoder.get_input_embeddings().weight.detach().numpy()
    np.testing.assert_array_equal(table[ids], rows)


def test_too_few_steps_for_a_scheduler_are_refused(pipeline):
    use_scheduler(pipeline, "PNDMScheduler")
    with pytest.raises(ConfigError, match="PNDMScheduler cannot draw in 3 steps"):
        drawn(pipeline, steps=3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_scheduler_draws_and_the_seed_alone_decides(pipeline):
    for name in schedulers(pipeline):
        use_scheduler(pipeline, name)
        alone, together = drawn(pipeline, steps=4, seed=8)[0], drawn(pipeline, count=2, steps=4)[1]
        assert np.abs(alone.astype(int) - together).max() <= 2, name
        assert (drawn(pipeline, steps=4, seed=8)[0] == alone).all(), name


def test_mentions_are_found_once_and_in_order():
    assert mentioned("a <my-dog> and <cat> beside <my-dog>, 1 < 2 > 0", "<fog>") == ["my-dog", "cat", "fog"]


@pytest.mark.parametrize(
    "bad",
    [
        {"count": 0}, {"steps": 0}, {"steps": 1001}, {"batch": 0}, {"seed": -1}, {"seed": 2**63},
        {"guidance": float("nan")}, {"guidance": float("inf")}, {"guidance": -1.0},
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_drawn_is_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        request(**bad)


def test_a_folder_without_a_pipeline_is_named(tmp_path):
    with pytest.raises(BackboneError, match="--model"):
        load_pipeline(tmp_path)


WHITE = Image.new("RGB", (4, 4), "white")


def test_pictures_never_replace_a_file(tmp_path):
    files = [write_picture(WHITE, seed, tmp_path / "out", {}) for seed in (5, 6, 5)]
    assert [f.name for f in files] == ["shoal-5.png", "shoal-6.png", "shoal-5-2.png"]
    assert sorted((tmp_path / "out").iterdir()) == sorted(files)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="--out"):
        write_picture(WHITE, 5, tmp_path / "file", {})


def test_a_picture_says_how_it_was_made_without_the_prompt(tmp_path, pipeline):
    use_scheduler(pipeline, "EulerDiscreteScheduler")
    asked = request(prompt="<my-dog> under the moon", negative="rain")
    with Image.open(write_picture(WHITE, 8, tmp_path, description(pipeline, asked, 8, "abc"))) as picture:
        picture.load()
        assert picture.info == {
            "Software": f"Shoal {version()}",
            "Concepts": "my-dog",
            "Model": "abc",
            "Seed": "8",
            "Scheduler": "EulerDiscreteScheduler",
            "Steps": "2",
            "Guidance": "2.0",
        }
    content = next(tmp_path.iterdir()).read_bytes()
    assert content.count(b"tEXt") == 7
    assert b"moon" not in content
    assert b"rain" not in content
    assert str(tmp_path).encode() not in content
