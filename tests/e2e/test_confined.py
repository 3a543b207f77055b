"""What learning, drawing and the daemon ask of the system is what the service's unit allows, and not a file more."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.activity import read_activity
from client.control import set_conditions, watch
from client.settings import Watched
from client.vault import Vault

ROOT = Path(__file__).parents[2]
ANALYZE = shutil.which("systemd-analyze")
WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
CHANGING = {
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "chmod",
    "fchmodat",
    "truncate",
}
CHANGING |= {"link", "linkat", "symlink", "symlinkat", "rmdir", "utimensat", "chown", "lchown", "fchownat", "setxattr"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not here"),
    pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not here"),
]


def allowed(group):
    """Return the system calls of a group, those of the groups in it too."""
    listed = subprocess.run([ANALYZE, "syscall-filter", group], capture_output=True, text=True, check=True)
    found = set()
    for name in listed.stdout.split("\n")[1:]:
        word = name.strip()
        if word.startswith("@"):
            found |= allowed(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


@pytest.fixture(scope="module")
def trace(tmp_path_factory, tiny_backbone):
    """Learn and draw under strace; return the folder and every call as (name, arguments)."""
    folder = tmp_path_factory.mktemp("confined")
    (folder / "photos").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    for suffix in ("png", "jpg", "webp"):
        Image.fromarray(noise).save(folder / "photos" / f"a.{suffix}")
    environment = {
        **os.environ,
        "SHOAL_HOME": str(folder / "home"),
        "SHOAL_KEY_FILE": str(folder / "home" / "vault.key"),  # a test's; a person's is elsewhere, and read only
        "SHOAL_MODEL": str(tiny_backbone),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    calls = []
    for words in (
        ["learn", folder / "photos", "--name", "my-dog", "--class", "dog", "--forwards", 200],
        ["generate", "<my-dog>", "--steps", 2, "-o", folder / "home" / "pictures"],
    ):
        log = folder / "log"
        command = ["strace", "-f", "-qq", "-s", "4096", "-o", log, sys.executable, "-m", "client", *words]
        subprocess.run([str(word) for word in command], env=environment, check=True, capture_output=True, timeout=500)
        calls += re.findall(r"^\d+ +(\w+)\((.*)$", log.read_text(errors="replace"), re.MULTILINE)
    return folder, calls + daemon_calls(folder, environment)


def daemon_calls(folder, environment):
    """Have the daemon learn the same photos under strace, with its page, and end it."""
    home, log = folder / "home", folder / "daemon.log"
    watch(home, Watched(folder=folder / "photos", name="rex", class_word="dog"))
    set_conditions(home, idle_minutes=0, on_power=False, hottest=0)
    words = [
        "strace",
        "-f",
        "-qq",
        "-s",
        "4096",
        "-o",
        log,
        sys.executable,
        "-m",
        "client",
        "daemon",
        "--forwards",
        200,
    ]
    with subprocess.Popen([str(word) for word in words], env=environment, stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + 500
        while all(one.name != "rex" for one in Vault(home).listed()):
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.2)
        os.kill(read_activity(home).process, signal.SIGTERM)
        assert process.wait(100) == 0
    return re.findall(r"^\d+ +(\w+)\((.*)$", log.read_text(errors="replace"), re.MULTILINE)


def test_no_system_call_is_asked_for_that_the_unit_forbids(trace):
    _, calls = trace
    names = {name for name, _ in calls}
    assert {"openat", "mmap", "read"} <= names
    assert names <= allowed("@system-service")


def test_nothing_is_written_outside_the_state_folder(trace):
    folder, calls = trace
    written = {
        path
        for name, arguments in calls
        if name in CHANGING or (name in {"open", "openat"} and WRITING.search(arguments))
        for path in re.findall(r'"([^"]*)"', arguments)
    }
    home = str(folder / "home")
    assert any(path.startswith(home) for path in written)
    elsewhere = {path for path in written if not path.startswith((home, "/dev/"))}
    assert not any(path.startswith(str(folder / "photos")) for path in written)
    # What is left is in the unit's private /tmp, made and deleted while libraries are loaded.
    assert all(re.fullmatch(r"\w+", str(Path(path).relative_to(tempfile.gettempdir()))) for path in elsewhere), (
        elsewhere
    )


def test_photos_are_opened_for_reading_and_nothing_else(trace):
    folder, calls = trace
    opened = [arguments for name, arguments in calls if name == "openat" and f"{folder}/photos/a." in arguments]
    assert len(opened) >= 3
    assert all("O_RDONLY" in arguments and not WRITING.search(arguments) for arguments in opened)
