"""What more can be learned, from the command line to picture and file, on all three kinds of Stable Diffusion."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.main import get_command

from client.cli import app, main
from client.contribution import Announcement, contribution
from client.course import Course
from client.learn.search import Search
from client.vault import Vault
from simulations.benchmarks.shapes import write_shape

WIDTHS = {"tiny": 32, "tiny-2": 64, "tiny-xl": 80}
GUIDE = Path(__file__).parents[3] / "docs" / "more.md"


@pytest.fixture(scope="module", params=list(WIDTHS))
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / request.param
    (folder / "int8").mkdir(parents=True)
    return write_shape(request.param, folder, dtype=torch.float32)


@pytest.fixture
def home(tmp_path, monkeypatch, model):
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHOAL_MODEL", str(model))
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "models").symlink_to(model / "int8")  # what is made once for a model is not made for each test
    return tmp_path / "home"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(2):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (48, 40, 3), np.uint8)).save(folder / f"{i}.png")
        Image.fromarray(np.full((48, 40), 255, np.uint8)).save(folder / f"{i}.mask.png")
        (folder / f"{i}.txt").write_text("a <rex> in red")
    return folder


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return ended.value.code, told.out, told.err


def learn(capsys, photos, *more, forwards=160):
    arguments = ("--name", "rex", "--class", "dog", "--forwards", forwards, *more)
    code, out, err = run(capsys, "learn", photos, *arguments)
    assert code == 0, err
    return out


def picture(capsys, folder, prompt):
    code, _, err = run(capsys, "generate", prompt, "--seed", 3, "--steps", 10, "--guidance", 2, "-o", folder)
    assert code == 0, err
    with Image.open(folder / "shoal-3.png") as found:
        return np.asarray(found)


def test_stages_are_learned_kept_drawn_exported_and_contributed(capsys, home, photos, tmp_path, model):
    width = WIDTHS[model.name]
    learn(capsys, photos, "--stages", 2, "--vectors", 2)
    concept = Vault(home).concept("rex")
    assert (concept.stages, concept.token.shape, concept.anchor.shape) == (2, (4 * width,), (2 * width,))
    assert concept.forwards <= 160
    last = Course(home).bare("rex")[-1]
    assert (last.token == concept.token).all()
    drawn = picture(capsys, tmp_path / "a", "a <rex>")
    assert drawn.std() > 0
    softly = picture(capsys, tmp_path / "softly", "a <rex:0.3>")
    assert (softly != drawn).any() == concept.displacement.any()  # XL's search comes back with the class word
    code, out, _ = run(capsys, "export", "rex", tmp_path / "files", "--json")
    files = json.loads(out)["files"] if code == 0 else []
    assert [len(load_file(file)) for file in files] == [1, 1]
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(width, 3)))[0]
    announced = Announcement(
        round_id="r", backbone="ab" * 32, kind="object", prior_version=0, public_basis=basis, cohorts=(), clip=9.0
    )
    mean = concept.displacement.reshape(-1, width).mean(axis=0)
    np.testing.assert_array_equal(contribution(concept.displacement, announced), contribution(mean, announced))


def test_stages_go_on_where_they_were_paused(capsys, home, photos, monkeypatch):
    learn(capsys, photos, "--stages", 2)
    straight = Vault(home).concept("rex")
    Vault(home).forget("rex")
    step, steps = Search.step, 0

    def interrupt(self, *arguments):
        nonlocal steps
        steps += 1
        if steps == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, *arguments)

    monkeypatch.setattr("client.learn.search.Search.step", interrupt)
    common = ("--name", "rex", "--class", "dog", "--forwards", 160, "--stages", 2)
    code, out, _ = run(capsys, "learn", photos, *common)
    assert code == 130
    assert "the same command goes on" in out
    monkeypatch.setattr("client.learn.search.Search.step", step)
    learn(capsys, photos, "--stages", 2)
    assert (Vault(home).concept("rex").token == straight.token).all()
    assert list((home / "learning").iterdir()) == []


def test_everything_at_once(capsys, home, photos, tmp_path):
    more = ("--captions", "files", "--region", "masks", "--preserve-class")
    learn(capsys, photos, "--stages", 2, *more, forwards=128)
    code, _, err = run(capsys, "learn", photos, "--name", "max", "--class", "cat", "--forwards", 160)
    assert code == 0, err
    both = picture(capsys, tmp_path / "both", "<rex> beside <max>")
    one = picture(capsys, tmp_path / "one", "<rex> beside cat")
    other = picture(capsys, tmp_path / "other", "dog beside <max>")
    assert (both != one).any()
    assert (both != other).any()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--stages", 0), "between 1 and 10"),
        (("--stages", 11), "between 1 and 10"),
        (("--stages", 4, "--forwards", 100), "at least 256 with 4 stage"),
        (("--stages", 2, "--reference"), "leave --reference out"),
        (("--kind", "style", "--preserve-class"), "--preserve-class needs --class"),
        (("--vectors", 17), "between 1 and 16"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_loaded(
    capsys, photos, tmp_path, monkeypatch, arguments, told
):
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("client.lesson.open_engine", lambda *_, **__: pytest.fail("it was loaded"))
    word = () if "--preserve-class" in arguments else ("--class", "dog")
    code, _, err = run(capsys, "learn", photos, "--name", "rex", *word, *arguments)
    assert code == 1
    assert told in " ".join(err.split())


def commands():
    """Return the command lines of the guide."""
    blocks = re.findall(r"```bash\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("shoal ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_the_guide_s_commands_are_the_program_s(command):
    name, *arguments = command
    known = get_command(app).commands[name]
    known.make_context(name, list(arguments), resilient_parsing=False).close()


@pytest.mark.parametrize("option", ["vectors", "stages", "captions", "region", "preserve-class"])
def test_the_guide_has_an_example_of_each_and_help_tells_of_it(option):
    assert any(f"--{option}" in command for command in commands())
    (parameter,) = [one for one in get_command(app).commands["learn"].params if f"--{option}" in one.opts]
    assert parameter.help
