"""What draws for the page, with a real pipeline, tiny and random."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from client.backbone.engine import TorchEngine, fingerprint
from client.database import Database
from client.learn.subspace import Shape
from client.sealing import hand_down
from client.taste import easel
from client.taste.belief import Belief, Tastes
from client.web.painter import draw
from common.errors import BackboneError, ConfigError

PROMPT = "a <rex>"


def order(model, **changes):
    token = {"name": "rex", "vectors": [[0.1] * 32], "backbone": "", "stages": 1}
    sheet = {"prompt": PROMPT, "negative": "", "seeds": [3, 4]}
    wanted = {"model": str(model), "sheets": [sheet], "tokens": [token], "steps": 2, "guidance": 1.0}
    return wanted | changes


def told_of(wanted):
    told = []
    draw(wanted, lambda **answer: told.append(answer))
    return told


def test_it_tells_by_what_it_draws_then_how_it_goes_then_each_picture(tiny_backbone):
    first, *rest = told_of(order(tiny_backbone))
    assert (first["steps"], first["guidance"], len(first["backbone"])) == (2, 1.0, 64)
    assert sum(one.get("progress", 0) for one in rest) == pytest.approx(4)
    drawn = [one for one in rest if "png" in one]
    assert [(one["sheet"], one["seed"]) for one in drawn] == [(0, 3), (0, 4)]
    pictures = [Image.open(io.BytesIO(base64.b64decode(one["png"]))) for one in drawn]
    assert [picture.format for picture in pictures] == ["PNG", "PNG"]
    assert pictures[0].tobytes() != pictures[1].tobytes()


def test_the_token_decides_and_the_seed_repeats(tiny_backbone):
    def picture(number):
        token = {"name": "rex", "vectors": [[number * (-1) ** i * i for i in range(32)]], "backbone": "", "stages": 1}
        return [one["png"] for one in told_of(order(tiny_backbone, tokens=[token])) if "png" in one]

    assert picture(1.0) == picture(1.0) != picture(-1.0)


def test_what_cannot_be_drawn_is_said(tiny_backbone, tmp_path):
    with pytest.raises(BackboneError, match="--model"):
        told_of(order(tmp_path))
    stranger = {"name": "rex", "vectors": [[0.1] * 32], "backbone": "ab" * 32, "stages": 1}
    with pytest.raises(BackboneError, match="was learned on model"):
        told_of(order(tiny_backbone, tokens=[stranger]))
    with pytest.raises(ConfigError, match="steps"):
        told_of(order(tiny_backbone, steps=0))


def test_it_ends_with_who_asked_for_it(tiny_backbone):
    words = [sys.executable, "-P", "-m", "client.web.painter"]
    wanted = order(tiny_backbone, sheets=[{"prompt": PROMPT, "negative": "", "seeds": list(range(10_000))}])
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdin.write(json.dumps(wanted) + "\n")
    process.stdin.close()
    assert process.wait(60) == 0
    assert process.stdout.read() == ""


@pytest.fixture
def vault(tmp_path, monkeypatch):
    """A vault for what draws, and a quick engine."""
    monkeypatch.setattr(easel, "open_engine", lambda folder, *_, **__: TorchEngine(folder))
    with Database(tmp_path / "home").transaction() as rows:
        return {"home": str(tmp_path / "home"), "key": hand_down(rows)}


def test_a_pair_is_drawn_by_what_is_believed_and_again_as_it_was(tiny_backbone, vault):
    sheet = {"prompt": PROMPT, "negative": "", "seeds": [3, 4]}
    wanted = order(tiny_backbone, sheets=[sheet], purpose="pair", tastes=[], strength=None, **vault)
    made, *rest = told_of(wanted)
    assert len(made["backbone"]) == 64
    assert sum(one.get("progress", 0) for one in rest) == pytest.approx(4)
    first, second = (one for one in rest if "png" in one)
    assert first["taste"] != second["taste"]
    assert len(first["taste"]) == 32
    again = sheet | {"seeds": [first["seed"], second["seed"]]}
    told = told_of(wanted | {"sheets": [again], "tastes": [first["taste"], second["taste"]]})
    assert [one["png"] for one in told if "png" in one] == [first["png"], second["png"]]
    other = told_of(wanted | {"sheets": [again], "tastes": [second["taste"], first["taste"]]})
    assert [one["png"] for one in other if "png" in one] != [first["png"], second["png"]]


def test_the_taste_decides_a_picture_as_strongly_as_is_asked(tiny_backbone, vault):
    sheet = {"prompt": "a dog", "negative": "", "seeds": [3]}
    wanted = order(tiny_backbone, sheets=[sheet], tokens=[], **vault)
    with pytest.raises(ConfigError, match="shoal rate"):
        told_of(wanted | {"strength": 1.0})
    shape = Shape(origin=torch.zeros(32), axes=torch.eye(32)[:2], rest=torch.zeros(32))
    token, anchor = torch.linspace(-9, 9, 32), torch.zeros(32)
    belief = Belief(shape=shape, place=torch.zeros(2), precision=torch.eye(2), anchor=anchor, token=token)
    Tastes(Path(vault["home"])).keep(fingerprint(tiny_backbone), belief, "[]")

    def picture(strength):
        return [one["png"] for one in told_of(wanted | {"strength": strength}) if "png" in one]

    assert picture(None) == picture(0.0)
    assert len({picture(one)[0] for one in (0.0, 1.0, 2.0)}) == 3
