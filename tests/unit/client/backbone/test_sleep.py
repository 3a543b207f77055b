"""A laptop that sleeps in the middle of a learning and wakes again goes on, to the same token."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import hashlib, sys, torch
from pathlib import Path
from client.backbone.compact import CompactEngine
from client.backbone.latents import Latents
from client.learn.search import learn
from client.learn.settings import Settings

torch.set_num_threads(1)
engine = CompactEngine(Path(sys.argv[1]), Path(sys.argv[2]))
mean = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
print("begun", flush=True)
result = learn(
    engine, Latents(mean=mean, spread=0.1 * torch.ones_like(mean)), kind="object", class_word="dog",
    settings=Settings(forwards=600, validation=8),
    watch=lambda forwards, _: print(forwards, flush=True),
)
print("token", hashlib.sha256(result.token.tobytes()).hexdigest(), flush=True)
"""


def begun(backbone, cache):
    command = [sys.executable, "-c", PROGRAM, str(backbone), str(cache)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def token_of(process):
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    return output.splitlines()[-1].removeprefix("token ")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot hold a process still")
def test_a_learning_that_was_held_still_goes_on_to_the_same_token(tiny_backbone, tmp_path):
    undisturbed = token_of(begun(tiny_backbone, tmp_path))
    assert len(undisturbed) == len(hashlib.sha256().hexdigest())
    process = begun(tiny_backbone, tmp_path)
    for line in process.stdout:
        if line.strip().isdigit() and int(line) > 100:
            break
    for _ in range(3):
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGCONT)
        time.sleep(0.05)
    assert token_of(process) == undisturbed
