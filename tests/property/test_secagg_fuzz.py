"""Five minutes of coverage-guided search, and proof that it finds what there is to find."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="atheris has wheels for Linux on x86-64 alone")

ROOT = Path(__file__).parents[2]
SECONDS = {"device": 140, "server": 100, "states": 60}
"""Five minutes in all."""


def search(target, seconds):
    script = Path(__file__).with_name("fuzz_secagg.py")
    return subprocess.run(
        [sys.executable, script, target, str(seconds)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # Python's tracebacks come on one, libFuzzer's words on the other
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("target", SECONDS)
def test_no_bytes_raise_anything_but_a_protocol_error(target):
    done = search(target, SECONDS[target])
    assert done.returncode == 0, done.stdout[-4000:]
    runs = re.findall(r"Done (\d+) runs", done.stdout)
    assert runs, done.stdout[-4000:]
    assert int(runs[-1]) > 1000


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_search_finds_a_planted_mistake():
    """It has teeth: shares that do not decrypt are let through as `InvalidTag`, and it sees that."""
    done = search("planted", 120)
    assert done.returncode != 0
    assert "InvalidTag" in done.stdout
