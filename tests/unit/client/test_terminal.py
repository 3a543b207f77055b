"""What a learning shows at a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from client.learn.settings import Progress
from client.terminal import learning_bar


def shown(*losses):
    out = io.StringIO()
    with learning_bar(Console(file=out, force_terminal=True, width=200), "rex") as show:
        show(Progress(forwards=96, total_forwards=900, losses=losses, message="from words"))
    return out.getvalue()


def test_a_loss_is_shown_from_the_first_validation_on():
    assert "loss -  · from words" in shown()
    assert "loss 0.5000 █▁ · from words" in shown(0.6, 0.5)
