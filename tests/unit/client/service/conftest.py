"""Paths that only careful quoting survives."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.service.plan import Plan

AWKWARD = [
    "/home/ann",
    "/home/ann lee/my state",
    "/home/100% ann/$HOME/%h",
    '/home/"ann"/it\'s',
    "/home/a\\b\\ c",
    "/home/<&>/é/犬",
]


@pytest.fixture(params=AWKWARD)
def plan(request):
    folder = Path(request.param)
    return Plan(program=("/opt/100% $HOME/é 犬/shoal", "-P"), home=folder / "share", model=str(folder / "model"))
