"""What a learning shows at a terminal."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from client.learn.settings import Progress
from client.terminal import learning_bar

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def shown(*losses, width=120, label="learning <rex>"):
    """The last line that is shown of a learning with these losses."""
    out = io.StringIO()
    with learning_bar(Console(file=out, force_terminal=True, width=width), label) as show:
        show(Progress(forwards=1096, total_forwards=1200, losses=losses, message="stage 1 of 2, from words"))
    return next(line for line in reversed(CODES.sub("", out.getvalue()).splitlines()) if line.strip())


def test_a_loss_is_shown_from_the_first_validation_on():
    assert "forwards · loss - " in shown()
    assert "forwards · loss 0.5000 █▁ " in shown(0.6, 0.5)
    assert "stage 1 of 2, from words" in shown(0.6, 0.5)


@pytest.mark.parametrize("label", ["learning <my-dog>", "learning your taste"])
def test_80_columns_cut_off_nothing_but_where_it_began(label):
    line = shown(*[1 / n for n in range(1, 20)], width=80, label=label)
    assert f"{label} " in line
    assert "1096/1200 forwards · loss 0.0526 █" in line
    assert "▁ --:--" in line
