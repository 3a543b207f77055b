from __future__ import annotations

import io
import pickle
import re
import zipfile
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from client.backbone.exports import FILE_NAME, SDXL_WIDTHS, export_concept, usage, write_a1111, write_embedding
from client.placeholder import placeholder
from client.vault import Concept
from client.version import version
from common.errors import ConfigError

WIDTH = 32
VECTORS = np.random.default_rng(1).normal(size=(1, WIDTH)).astype(np.float32)
FACTS = {"kind": "object", "backbone": "abc"}


@pytest.fixture
def pipeline(tiny_backbone):
    found = StableDiffusionPipeline.from_pretrained(tiny_backbone, safety_checker=None)
    found.set_progress_bar_config(disable=True)
    return found


def concept(width=WIDTH):
    token = np.random.default_rng(2).normal(size=width).astype(np.float32)
    return Concept(
        name="my-dog",
        kind="object",
        class_word="dachshund",
        backbone="ab" * 32,
        anchor=np.zeros(width, np.float32),
        token=token,
        loss=0.25,
        forwards=120,
    )


def draw(pipeline, prompt):
    generator = torch.Generator("cpu").manual_seed(3)
    return pipeline(prompt, num_inference_steps=2, generator=generator, output_type="np").images[0]


def as_comfyui_reads(file, width, key="clip_l"):
    """Restate ComfyUI's rules (comfy/sd1_clip.py, `load_embed`, read in 2026): which tensor a text encoder gets."""
    if file.suffix == ".safetensors":
        content = load_file(file)
    else:
        content = torch.load(file, weights_only=True, map_location="cpu")
    if "string_to_param" in content:
        found = next(iter(content["string_to_param"].values()))
    elif key in content:
        found = content[key]
    else:
        assert not any(name.startswith("bundle_emb.") for name in content)
        found = next(iter(content.values()))
    assert found.shape[-1] == width, "it would be left out with a warning of a shape mismatch"
    return found


def as_a1111_reads(file):
    """Restate AUTOMATIC1111's rules (1.10, modules/textual_inversion/textual_inversion.py): the vectors of a file."""
    read = load_file if file.suffix == ".safetensors" else partial(torch.load, map_location="cpu", weights_only=True)
    content = read(file)
    if "string_to_param" in content:
        assert len(content["string_to_param"]) == 1
        return next(iter(content["string_to_param"].values()))
    if "clip_g" in content and "clip_l" in content:
        return content
    assert len(content) == 1
    return next(iter(content.values()))


class HarmlessOnly(pickle.Unpickler):
    """AUTOMATIC1111 1.10 unpickles a file with a list of harmless names before torch may (modules/safe.py)."""

    def persistent_load(self, saved):
        assert saved[0] == "storage"
        return torch.storage.TypedStorage(_internal=True)

    def find_class(self, module, name):
        storages = {"FloatStorage", "HalfStorage", "LongStorage", "DoubleStorage", "ByteStorage", "BFloat16Storage"}
        allowed = {
            ("collections", "OrderedDict"),
            ("torch._utils", "_rebuild_tensor_v2"),
            ("torch._utils", "_rebuild_parameter"),
            *(("torch", storage) for storage in storages),
        }
        assert (module, name) in allowed, f"{module}.{name} is forbidden"
        return super().find_class(module, name)


def a1111_finds_harmless(data):
    """Restate the check itself: known members of a zip, or else five pickles in a row."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            known = re.compile(r"[^/]+/(data/[0-9]+|version|byteorder|\.data/serialization_id|data\.pkl)")
            return all(known.fullmatch(name) for name in archive.namelist())
    except zipfile.BadZipFile:
        file = io.BytesIO(data)
        for _ in range(5):
            HarmlessOnly(file).load()
        return True


def test_the_file_has_exactly_one_key_and_tells_where_it_comes_from(tmp_path):
    write_embedding(tmp_path / "sub" / FILE_NAME, {"<my-dog>": VECTORS}, FACTS)
    with safe_open(tmp_path / "sub" / FILE_NAME, framework="np") as file:
        assert list(file.keys()) == ["<my-dog>"]
        assert (file.get_tensor("<my-dog>") == VECTORS).all()
        assert file.metadata() == {"format": "pt", **FACTS}


def test_stock_diffusers_loads_the_folder_and_the_picture_changes(tmp_path, pipeline):
    before, plain = draw(pipeline, "a photo of a <my-dog>"), draw(pipeline, "a photo of a dog")
    write_embedding(tmp_path / FILE_NAME, {"<my-dog>": VECTORS}, {})
    pipeline.load_textual_inversion(str(tmp_path))
    row = pipeline.tokenizer.convert_tokens_to_ids("<my-dog>")
    learned = pipeline.text_encoder.get_input_embeddings().weight[row].detach().numpy()
    assert (learned == VECTORS[0]).all()
    assert np.abs(draw(pipeline, "a photo of a <my-dog>") - before).max() > 1e-3
    assert (draw(pipeline, "a photo of a dog") == plain).all()


def test_several_vectors_are_one_key(tmp_path, pipeline):
    several = np.concatenate([VECTORS, -VECTORS])
    write_embedding(tmp_path / FILE_NAME, {"<my-dog>": several}, {})
    pipeline.load_textual_inversion(str(tmp_path))
    assert pipeline.maybe_convert_prompt("a <my-dog>", pipeline.tokenizer) == "a <my-dog> <my-dog>_1"
    assert as_comfyui_reads(tmp_path / FILE_NAME, WIDTH).shape == (2, WIDTH)


def test_the_layout_of_automatic1111_is_as_documented_and_loads_in_diffusers_too(tmp_path, pipeline):
    write_a1111(tmp_path / "my-dog.pt", "<my-dog>", VECTORS, FACTS, steps=70)
    content = torch.load(tmp_path / "my-dog.pt", weights_only=True)
    vectors = content["string_to_param"].pop("*")
    assert torch.equal(vectors, torch.from_numpy(VECTORS))
    assert vectors.dtype == torch.float32
    assert content == {
        "string_to_token": {"*": 265},
        "string_to_param": {},
        "name": "<my-dog>",
        "step": 70,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
        "provenance": FACTS,
    }
    pipeline.load_textual_inversion(str(tmp_path / "my-dog.pt"))
    assert "<my-dog>" in pipeline.tokenizer.get_vocab()


def test_automatic1111_finds_the_file_harmless(tmp_path):
    write_a1111(tmp_path / "a.pt", "<a>", VECTORS, FACTS, steps=1)
    assert a1111_finds_harmless((tmp_path / "a.pt").read_bytes())


def test_the_check_has_teeth():
    """What torch writes by default is refused: the reason for the old way of pickling."""
    zipped, code = io.BytesIO(), io.BytesIO()
    torch.save({"*": torch.zeros(3)}, zipped)
    assert not a1111_finds_harmless(zipped.getvalue())
    torch.save({"*": torch.nn.Linear(1, 1)}, code, _use_new_zipfile_serialization=False)
    with pytest.raises(AssertionError, match="forbidden"):
        a1111_finds_harmless(code.getvalue())


@pytest.mark.parametrize("layout", ["diffusers", "comfyui", "a1111"])
def test_every_export_is_read_by_comfyui_and_automatic1111(tmp_path, layout):
    taught = concept()
    (file,) = export_concept(taught, tmp_path, layout)
    wanted = torch.from_numpy(taught.token[None])
    assert torch.equal(as_comfyui_reads(file, WIDTH), wanted)
    assert torch.equal(as_a1111_reads(file), wanted)


def test_comfyui_and_automatic1111_find_the_word_in_the_name_of_the_file(tmp_path):
    assert export_concept(concept(), tmp_path, "comfyui")[0].name == "my-dog.safetensors"
    assert export_concept(concept(), tmp_path, "a1111")[0].name == "my-dog.pt"


@pytest.mark.parametrize("layout", ["diffusers", "comfyui"])
def test_a_concept_of_sdxl_is_a_pair(tmp_path, layout):
    taught = concept(sum(SDXL_WIDTHS.values()))
    (file,) = export_concept(taught, tmp_path, layout)
    left, right = (torch.from_numpy(part[None]) for part in np.split(taught.token, [768]))
    assert set(load_file(file)) == {"clip_l", "clip_g"}
    assert torch.equal(as_comfyui_reads(file, 768, "clip_l"), left)
    assert torch.equal(as_comfyui_reads(file, 1280, "clip_g"), right)
    assert torch.equal(as_a1111_reads(file)["clip_g"], right)


def test_a_pair_has_no_place_in_a_pt_file(tmp_path):
    with pytest.raises(ConfigError, match="--format comfyui"):
        export_concept(concept(sum(SDXL_WIDTHS.values())), tmp_path, "a1111")
    assert list(tmp_path.iterdir()) == []


def test_diffusers_gives_each_text_encoder_of_sdxl_its_half(tmp_path, pipeline, tiny_backbone):
    parts = pipeline.components
    config = CLIPTextConfig(
        **(parts["text_encoder"].config.to_dict() | {"hidden_size": 48, "num_attention_heads": 3, "projection_dim": 48})
    )
    second = StableDiffusionPipeline.from_pretrained(tiny_backbone, safety_checker=None).tokenizer
    both = StableDiffusionXLPipeline(
        **{name: parts[name] for name in ("vae", "text_encoder", "tokenizer", "unet", "scheduler")},
        text_encoder_2=CLIPTextModelWithProjection(config),
        tokenizer_2=second,
    )
    pair = {"clip_l": VECTORS, "clip_g": np.arange(48, dtype=np.float32)[None]}
    write_embedding(tmp_path / "my-dog.safetensors", pair, FACTS)
    content = load_file(tmp_path / "my-dog.safetensors")
    word = "<my-dog>"
    for key, encoder, words in (
        ("clip_l", both.text_encoder, both.tokenizer),
        ("clip_g", both.text_encoder_2, both.tokenizer_2),
    ):
        both.load_textual_inversion(content[key], token=word, text_encoder=encoder, tokenizer=words)
        row = words.convert_tokens_to_ids(word)
        assert (encoder.get_input_embeddings().weight[row].detach().numpy() == pair[key][0]).all()


@pytest.mark.parametrize("layout", ["diffusers", "comfyui", "a1111"])
def test_an_export_says_where_it_comes_from_and_nothing_else(tmp_path, layout):
    (file,) = export_concept(concept(), tmp_path, layout)
    if file.suffix == ".pt":
        found = torch.load(file, weights_only=True)["provenance"]
    else:
        with safe_open(file, framework="np") as opened:
            found = opened.metadata()
            assert found.pop("format") == "pt"
    assert found == {
        "name": "my-dog", "kind": "object", "backbone": "ab" * 32, "made_by": f"Shoal {version()}",
    }  # fmt: skip
    assert b"dachshund" not in file.read_bytes()
    assert str(tmp_path).encode() not in file.read_bytes()


@pytest.mark.parametrize(
    "vectors", [VECTORS[:0], VECTORS[0], np.full((1, WIDTH), np.nan, np.float32), np.full((2, 2), np.inf, np.float32)]
)
@pytest.mark.parametrize(
    "write", [lambda p, v: write_embedding(p, {"<a>": v}, {}), lambda p, v: write_a1111(p, "<a>", v, {}, steps=1)]
)
def test_what_cannot_be_a_token_is_refused_and_nothing_written(tmp_path, vectors, write):
    with pytest.raises(ConfigError, match="learn it again"):
        write(tmp_path / FILE_NAME, vectors)
    assert list(tmp_path.iterdir()) == []


def test_an_export_replaces_a_file_only_when_told_to_and_then_whole(tmp_path):
    write_embedding(tmp_path / FILE_NAME, {"<a>": np.ones((1, 4), np.float32)}, {})
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(ConfigError, match="--force"):
        write_embedding(tmp_path / FILE_NAME, {"<a>": np.zeros((1, 4), np.float32)}, {})
    assert (tmp_path / FILE_NAME).read_bytes() == before
    write_embedding(tmp_path / FILE_NAME, {"<a>": np.zeros((1, 4), np.float32)}, {}, replace=True)
    with safe_open(tmp_path / FILE_NAME, framework="np") as file:
        assert (file.get_tensor("<a>") == 0).all()
    assert [f.name for f in tmp_path.iterdir()] == [FILE_NAME]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="choose another place"):
        write_embedding(tmp_path / "file" / FILE_NAME, {"<a>": VECTORS}, {})


@pytest.mark.parametrize("name", ["my-dog", "a", "r2-d2", "x" * 40])
def test_a_good_name(name):
    assert placeholder(name) == f"<{name}>"


@pytest.mark.parametrize("name", ["", "My-Dog", "a b", "-a", "a-", "a--b", "2a", "a>b", "../a", "x" * 41, "ü", "a\n"])
def test_a_bad_name_is_refused(name):
    with pytest.raises(ConfigError, match="as in my-dog"):
        placeholder(name)


def test_a_concept_of_several_vectors_is_exported_as_rows(tmp_path):
    (file,) = export_concept(concept(3 * WIDTH), tmp_path, "diffusers", width=WIDTH)
    (rows,) = load_file(file).values()
    assert rows.shape == (3, WIDTH)
    np.testing.assert_array_equal(rows.numpy().reshape(-1), concept(3 * WIDTH).token)


@pytest.mark.parametrize("layout", ["diffusers", "comfyui", "a1111"])
def test_a_concept_of_stages_is_a_file_for_each_with_a_word_of_its_own(tmp_path, layout):
    taught = replace(concept(6 * WIDTH), anchor=np.zeros(2 * WIDTH, np.float32))
    files = export_concept(taught, tmp_path, layout, width=WIDTH)
    stem = "learned_embeds" if layout == "diffusers" else "my-dog"
    assert [file.stem for file in files] == [f"{stem}-stage-{number}" for number in (1, 2, 3)]
    for file, rows in zip(files, taught.token.reshape(3, 2, WIDTH), strict=True):
        assert torch.equal(as_a1111_reads(file), torch.from_numpy(rows))
    if layout == "diffusers":
        assert [list(load_file(file)) for file in files] == [[f"<my-dog-stage-{n}>"] for n in (1, 2, 3)]
    assert "my-dog-stage-1" in usage(files, "my-dog", layout)
