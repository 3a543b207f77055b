from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from client import lesson
from client.backbone.engine import fingerprint
from client.cli import main
from client.learn.search import Search
from client.vault import Concept, Vault


@pytest.fixture
def home(tmp_path, tiny_backbone, monkeypatch):
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHOAL_MODEL", str(tiny_backbone))
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path / "home"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for i in range(2):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), np.uint8)).save(folder / f"{i}.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture
def taught(home, tiny_backbone):
    token = np.random.default_rng(2).normal(size=32).astype(np.float32)
    concept = Concept(
        name="my-dog",
        kind="object",
        class_word="dog",
        backbone=fingerprint(tiny_backbone),
        anchor=np.zeros(32, np.float32),
        token=token,
        loss=0.25,
        forwards=120,
    )
    Vault(home).save_concept(concept)
    return concept


def run(capsys, *arguments):
    """Run `shoal`; return its exit code and what it printed on both streams."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return ended.value.code, " ".join(told.out.split()), " ".join(told.err.split())


def learn(capsys, photos, *more, forwards=80):
    return run(capsys, "learn", photos, "--name", "my-dog", "--class", "dog", "--forwards", forwards, *more)


@pytest.fixture
def no_model(monkeypatch):
    """A model that nobody may load: on a large one it takes minutes."""
    monkeypatch.setattr(lesson, "open_engine", lambda *_, **__: pytest.fail("a model was loaded"))


def test_photos_that_are_not_there_are_told_before_anything_is_asked_or_loaded(capsys, home, photos, no_model):
    code, _, err = learn(capsys, photos / "none")
    assert code == 1
    assert "does not exist: name a folder of photos" in err
    for file in photos.iterdir():
        file.unlink()
    assert "no usable photo (there are no files)" in learn(capsys, photos)[2]
    assert not home.exists()


def test_a_vault_without_a_key_is_told_before_a_model_is_loaded(capsys, home, photos, no_model, monkeypatch):
    monkeypatch.delenv("SHOAL_KEY_FILE")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    code, _, err = learn(capsys, photos)
    assert code == 1
    assert "no keyring here to keep the vault's key in" in err


def test_a_folder_of_photos_becomes_a_concept(capsys, home, photos, tiny_backbone):
    before = {file: file.read_bytes() for file in photos.iterdir()}
    code, out, _ = learn(capsys, photos)
    concept = Vault(home).concept("my-dog")
    assert code == 0
    assert "skipped broken.jpg: not a JPEG" in out
    assert "learning from 2 photos" in out
    assert "learned <my-dog> with" in out
    assert (concept.kind, concept.class_word, concept.backbone) == ("object", "dog", fingerprint(tiny_backbone))
    assert 0 < concept.forwards <= 80 + 2 * 16  # the validations under way when the budget ends
    assert {file: file.read_bytes() for file in photos.iterdir()} == before
    assert list((home / "learning").iterdir()) == []
    code, _, err = learn(capsys, photos)
    assert code == 1
    assert "shoal forget my-dog" in err


def test_nothing_of_a_photo_but_what_was_learned_is_kept(capsys, home, tmp_path, monkeypatch):
    """Neither where and with what it was taken nor what it is called, in the middle or at the end."""
    photos, step = tmp_path / "holiday-of-mine", Search.step
    photos.mkdir()
    exif = Image.Exif()
    exif[0x010F], exif[0x927C] = "camera-of-mine", b"note-of-mine"
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0), 29: "gps-of-mine"}
    noise = np.random.default_rng(6).integers(0, 256, (40, 48, 3), np.uint8)
    Image.fromarray(noise).save(photos / "rex-of-mine.jpg", exif=exif, comment=b"comment-of-mine")
    assert (photos / "rex-of-mine.jpg").read_bytes().count(b"of-mine") == 4

    def interrupt(self, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return step(self, *arguments)

    monkeypatch.setattr("client.learn.search.Search.step", interrupt)
    assert learn(capsys, photos)[0] == 130
    in_the_middle = [file for file in home.rglob("*") if file.is_file()]
    assert len(in_the_middle) > 1
    assert not any(b"of-mine" in file.read_bytes() for file in in_the_middle)
    monkeypatch.setattr("client.learn.search.Search.step", step)
    assert learn(capsys, photos)[0] == 0
    assert not any(b"of-mine" in file.read_bytes() for file in home.rglob("*") if file.is_file())


def test_a_file_whose_name_is_no_text_is_skipped_in_words(capsys, home, photos):
    (photos / os.fsdecode(b"\xff\x1b[2J.jpg")).touch()
    code, out, _ = learn(capsys, photos)
    assert code == 0
    assert r"skipped \xff\x1b[2J.jpg: the file is empty" in out


def test_the_published_algorithm_can_be_asked_for(capsys, home, photos):
    code, out, _ = learn(capsys, photos, "--reference", forwards=30)
    assert code == 0
    assert Vault(home).concept("my-dog").forwards == 30
    assert "learned <my-dog> with 30 forwards" in out


def test_ctrl_c_pauses_and_the_same_command_goes_on_to_the_same_token(capsys, home, photos, monkeypatch):
    learn(capsys, photos, forwards=400)
    straight = Vault(home).concept("my-dog")
    Vault(home).forget("my-dog")
    step, steps = Search.step, 0

    def interrupt_after_three(self, *arguments):
        nonlocal steps
        steps += 1
        if steps == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, *arguments)

    monkeypatch.setattr("client.learn.search.Search.step", interrupt_after_three)
    code, out, _ = learn(capsys, photos, forwards=400)
    assert code == 130
    assert "the same command goes on from here" in out
    assert Vault(home).concepts() == []
    assert len(list((home / "learning").iterdir())) == 1
    code, _, _ = learn(capsys, photos, forwards=400)
    assert code == 0
    assert (Vault(home).concept("my-dog").token == straight.token).all()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--name", "My Dog", "--class", "dog"], "as in my-dog"),
        (["--name", "my-dog"], "--class dog"),
        (["--name", "my-dog", "--class", "dog", "--forwards", "0"], "at least 1"),
        (["--name", "my-dog", "--class", "dog", "--model", "/nowhere/at/all"], "--model"),
    ],
)
def test_what_cannot_be_learned_ends_in_one_line(capsys, home, photos, arguments, told):
    code, _, err = run(capsys, "learn", photos, *arguments)
    assert code == 1
    assert err.startswith("shoal: ")
    assert told in err
    assert "Traceback" not in err


def test_no_usable_photo_names_every_file(capsys, home, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"")
    code, _, err = learn(capsys, tmp_path / "bad.jpg")
    assert code == 1
    assert "bad.jpg: the file is empty" in err


def test_generate_writes_pictures_with_a_concept(capsys, home, taught, tmp_path):
    arguments = ["generate", "a <my-dog>", "-n", "2", "--seed", "5", "--steps", "2", "-o", tmp_path / "out"]
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["shoal-5.png", "shoal-6.png"]
    with Image.open(tmp_path / "out" / "shoal-6.png") as picture:
        found = picture.info
    assert (found["Concepts"], found["Seed"], found["Steps"]) == ("my-dog", "6", "2")
    assert "shoal-6.png" in out


def test_generate_names_the_schedulers_there_are(capsys, home):
    code, _, err = run(capsys, "generate", "a dog", "--scheduler", "os.system")
    assert code == 1
    assert "'os.system'" in err
    assert "DDIMScheduler, DDPMScheduler" in err


def test_generate_names_a_concept_that_was_never_taught(capsys, home, taught):
    code, _, err = run(capsys, "generate", "a <my-cat>")
    assert code == 1
    assert "my-cat" in err


@pytest.mark.parametrize(
    ("path", "layout", "file"),
    [
        ("out", "diffusers", "out/learned_embeds.safetensors"),
        ("out", "comfyui", "out/my-dog.safetensors"),
        ("out", "a1111", "out/my-dog.pt"),
        ("a/dog.safetensors", "diffusers", "a/dog.safetensors"),
        ("dog.pt", "a1111", "dog.pt"),
    ],
)
def test_export_knows_what_each_program_looks_for(capsys, home, taught, tmp_path, path, layout, file):
    code, out, _ = run(capsys, "export", "my-dog", tmp_path / path, "--format", layout)
    assert code == 0
    assert (tmp_path / file).is_file()
    assert file in out


def test_export_says_how_the_other_program_is_given_the_file(capsys, home, taught, tmp_path):
    told = {layout: run(capsys, "export", "my-dog", tmp_path / layout, "--format", layout)[1] for layout in (
        "diffusers", "comfyui", "a1111",
    )}  # fmt: skip
    assert "load_textual_inversion" in told["diffusers"]
    assert "<my-dog> in a prompt" in told["diffusers"]
    assert "embedding:my-dog in a prompt" in told["comfyui"]
    assert told["a1111"].endswith("AUTOMATIC1111, then my-dog in a prompt")


def test_export_replaces_a_file_only_by_force(capsys, home, taught, tmp_path):
    (tmp_path / "learned_embeds.safetensors").write_bytes(b"mine")
    code, _, err = run(capsys, "export", "my-dog", tmp_path)
    assert code == 1
    assert "--force" in err
    assert (tmp_path / "learned_embeds.safetensors").read_bytes() == b"mine"
    assert run(capsys, "export", "my-dog", tmp_path, "--force")[0] == 0
    with safe_open(tmp_path / "learned_embeds.safetensors", framework="np") as opened:
        assert (opened.get_tensor("<my-dog>") == taught.token[None]).all()


def test_export_refuses_an_ending_that_the_program_would_not_read(capsys, home, taught, tmp_path):
    code, _, err = run(capsys, "export", "my-dog", tmp_path / "dog.pt")
    assert code == 1
    assert ".safetensors" in err


def test_concepts_are_listed_and_forgotten(capsys, home, taught):
    (home / "learning").mkdir()
    (home / "learning" / "my-dog.0123.sealed").touch()
    (home / "learning" / "my-dog-2.0123.sealed").touch()
    _, out, _ = run(capsys, "concepts")
    assert "my-dog" in out
    assert "120" in out
    code, out, _ = run(capsys, "forget", "my-dog", "--yes")
    assert code == 0
    assert out.startswith("forgot <my-dog>;")
    assert Vault(home).concepts() == []
    assert [file.name for file in (home / "learning").iterdir()] == ["my-dog-2.0123.sealed"]
    code, _, err = run(capsys, "forget", "my-dog", "--yes")
    assert code == 1
    assert "there is no concept" in err
    assert "nothing yet" in run(capsys, "concepts")[1]
