"""What draws for the page, with a real pipeline, tiny and random."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys

import pytest
from PIL import Image

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
