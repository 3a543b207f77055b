from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open

from client.backbone.exports import FILE_NAME, placeholder, write_a1111, write_embedding
from common.errors import ConfigError

WIDTH = 32
VECTORS = np.random.default_rng(1).normal(size=(1, WIDTH)).astype(np.float32)


@pytest.fixture
def pipeline(tiny_backbone):
    found = StableDiffusionPipeline.from_pretrained(tiny_backbone, safety_checker=None)
    found.set_progress_bar_config(disable=True)
    return found


def draw(pipeline, prompt):
    generator = torch.Generator("cpu").manual_seed(3)
    return pipeline(prompt, num_inference_steps=2, generator=generator, output_type="np").images[0]


def test_the_file_has_exactly_one_key_and_tells_where_it_comes_from(tmp_path):
    write_embedding(tmp_path / "sub" / FILE_NAME, "<my-dog>", VECTORS, {"backbone": "abc", "kind": "object"})
    with safe_open(tmp_path / "sub" / FILE_NAME, framework="np") as file:
        assert list(file.keys()) == ["<my-dog>"]
        assert (file.get_tensor("<my-dog>") == VECTORS).all()
        assert file.metadata() == {"format": "pt", "backbone": "abc", "kind": "object"}


def test_stock_diffusers_loads_the_folder_and_the_picture_changes(tmp_path, pipeline):
    before, plain = draw(pipeline, "a photo of a <my-dog>"), draw(pipeline, "a photo of a dog")
    write_embedding(tmp_path / FILE_NAME, "<my-dog>", VECTORS, {})
    pipeline.load_textual_inversion(str(tmp_path))
    row = pipeline.tokenizer.convert_tokens_to_ids("<my-dog>")
    learned = pipeline.text_encoder.get_input_embeddings().weight[row].detach().numpy()
    assert (learned == VECTORS[0]).all()
    assert np.abs(draw(pipeline, "a photo of a <my-dog>") - before).max() > 1e-3
    assert (draw(pipeline, "a photo of a dog") == plain).all()


def test_several_vectors_are_one_key(tmp_path, pipeline):
    several = np.concatenate([VECTORS, -VECTORS])
    write_embedding(tmp_path / FILE_NAME, "<my-dog>", several, {})
    pipeline.load_textual_inversion(str(tmp_path))
    assert pipeline.maybe_convert_prompt("a <my-dog>", pipeline.tokenizer) == "a <my-dog> <my-dog>_1"


def test_the_other_layout_holds_plain_tensors_and_loads_too(tmp_path, pipeline):
    write_a1111(tmp_path / "my-dog.pt", "<my-dog>", VECTORS, steps=70)
    content = torch.load(tmp_path / "my-dog.pt", weights_only=True)
    assert set(content) == {
        "string_to_token", "string_to_param", "name", "step", "sd_checkpoint", "sd_checkpoint_name",
    }  # fmt: skip
    assert torch.equal(content["string_to_param"]["*"], torch.from_numpy(VECTORS))
    pipeline.load_textual_inversion(str(tmp_path / "my-dog.pt"))
    assert "<my-dog>" in pipeline.tokenizer.get_vocab()


@pytest.mark.parametrize(
    "vectors", [VECTORS[:0], VECTORS[0], np.full((1, WIDTH), np.nan, np.float32), np.full((2, 2), np.inf, np.float32)]
)
@pytest.mark.parametrize(
    "write", [lambda p, v: write_embedding(p, "<a>", v, {}), lambda p, v: write_a1111(p, "<a>", v, steps=1)]
)
def test_what_cannot_be_a_token_is_refused_and_nothing_written(tmp_path, vectors, write):
    with pytest.raises(ConfigError, match="learn it again"):
        write(tmp_path / FILE_NAME, vectors)
    assert list(tmp_path.iterdir()) == []


def test_an_export_replaces_the_old_file_whole(tmp_path):
    for value in (1.0, 2.0):
        write_embedding(tmp_path / FILE_NAME, "<a>", np.full((1, 4), value, np.float32), {})
    with safe_open(tmp_path / FILE_NAME, framework="np") as file:
        assert (file.get_tensor("<a>") == 2).all()
    assert [f.name for f in tmp_path.iterdir()] == [FILE_NAME]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="choose another place"):
        write_embedding(tmp_path / "file" / FILE_NAME, "<a>", VECTORS, {})


@pytest.mark.parametrize("name", ["my-dog", "a", "r2-d2", "x" * 40])
def test_a_good_name(name):
    assert placeholder(name) == f"<{name}>"


@pytest.mark.parametrize("name", ["", "My-Dog", "a b", "-a", "a-", "a--b", "2a", "a>b", "../a", "x" * 41, "ü", "a\n"])
def test_a_bad_name_is_refused(name):
    with pytest.raises(ConfigError, match="as in my-dog"):
        placeholder(name)
