"""Memory goes back to the system when it is free, and nothing else changes."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import re, sys, torch
from contextlib import nullcontext
from pathlib import Path
from client.backbone.allocation import tight_memory

def private():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

torch.ones(30 * 2**18), torch.ones(31 * 2**18)  # freed at once: the heap takes blocks of 30 MB from now on
before = private()
with tight_memory() if sys.argv[1] == "tight" else nullcontext():
    blocks = [torch.ones(8 * 2**18) for _ in range(20)]
    small = []
    for index in range(20):
        blocks[index] = None if index < 19 else blocks[index]
print(private() - before)
"""


def idle_megabytes(how):
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return float(done.stdout)


def test_free_blocks_are_given_back():
    if not sys.platform.startswith("linux"):
        return
    assert idle_megabytes("tight") < 40
    assert idle_megabytes("loose") > 100, "the heap gave everything back by itself: this test could not fail"
