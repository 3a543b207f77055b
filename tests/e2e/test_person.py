"""A person at the terminal: the real program, its own process, killed in the middle."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.vault import Vault

ROOT = Path(__file__).parents[2]
PATIENCE = 300
"""Seconds for one run of the program on a busy machine."""

pytestmark = pytest.mark.slow


def environment(home, model):
    quiet = {"HF_HUB_OFFLINE": "1", "COLUMNS": "160", "PYTHONPATH": str(ROOT), "SHOAL_HOME": str(home)}
    own = {key: value for key, value in os.environ.items() if key != "SHOAL_MODEL"}
    return own | quiet | ({"SHOAL_MODEL": str(model)} if model else {})


def shoal(home, *arguments, model=None):
    command = [sys.executable, "-m", "client", *(str(argument) for argument in arguments)]
    done = subprocess.run(
        command, env=environment(home, model), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def noise_photos(folder):
    folder.mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def checkpoints(home):
    return {file: file.stat().st_mtime_ns for file in (home / "learning").glob("*.sealed")}


def test_a_learning_survives_kill_9_and_ends_in_the_very_same_token(tmp_path, tiny_backbone):
    arguments = ("learn", noise_photos(tmp_path / "photos"), "--name", "my-dog", "--class", "dog", "--forwards", 1500)
    shoal(tmp_path / "straight", *arguments, model=tiny_backbone)
    command = [sys.executable, "-m", "client", *map(str, arguments)]
    home = tmp_path / "killed"
    for _ in range(2):
        before = checkpoints(home)
        process = subprocess.Popen(command, env=environment(home, tiny_backbone), stdout=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while checkpoints(home) == before and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it could be killed: give it more forwards"
    assert Vault(home).concepts() == []
    shoal(home, *arguments, model=tiny_backbone)
    tokens = [Vault(folder).concept("my-dog").token for folder in (tmp_path / "straight", home)]
    assert (tokens[0] == tokens[1]).all()


def test_the_shipped_backbone_learns_something_it_never_saw(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    with zipfile.ZipFile(ROOT / "simulations" / "data" / "held-out.zip") as archive:
        for name in archive.namelist():
            if name.startswith("object/animal/gorilla/"):
                (photos / Path(name).name).write_bytes(archive.read(name))
    home = tmp_path / "home"
    told = shoal(home, "learn", photos, "--name", "gorilla", "--class", "animal", "--forwards", 400)
    before, after = map(float, re.findall(r"loss ([0-9.]+) -> ([0-9.]+),", told)[0])
    assert after < before
    shoal(home, "generate", "<gorilla>", "--seed", 1, "--steps", 10, "-o", tmp_path / "with")
    shoal(home, "generate", "animal", "--seed", 1, "--steps", 10, "-o", tmp_path / "without")
    pictures = [np.asarray(Image.open(tmp_path / f / "shoal-1.png"), float) for f in ("with", "without")]
    assert pictures[0].shape == (64, 64, 3)
    assert np.abs(pictures[0] - pictures[1]).mean() > 5
