from __future__ import annotations

import json
import subprocess
import sys
import time

import psutil
import pytest

from client.activity import FILE, LONGEST_CURVE, Activity, clear_activity, read_activity, thinned, write_activity


def test_what_is_told_can_be_read_back(tmp_path):
    told = Activity(
        doing="learning",
        reason="3 photos are new",
        concept="my-dog",
        forwards=30,
        total_forwards=2400,
        losses=(0.5, 0.25),
        seconds_left=12.5,
        problems=("broken.jpg: the file is empty",),
        since=123.0,
    )
    write_activity(tmp_path, told)
    found = read_activity(tmp_path)
    assert found is not None
    for name in ("doing", "reason", "concept", "forwards", "losses", "seconds_left", "problems", "since"):
        assert getattr(found, name) == getattr(told, name)
    assert found.process == psutil.Process().pid


def test_nothing_is_known_where_no_daemon_is(tmp_path):
    assert read_activity(tmp_path / "nowhere") is None
    write_activity(tmp_path, Activity(doing="waiting", reason="no photos"))
    clear_activity(tmp_path)
    assert read_activity(tmp_path) is None
    clear_activity(tmp_path)


def test_what_a_killed_daemon_left_is_stale_at_once(tmp_path):
    script = (
        "import os, pathlib, signal, sys; from client.activity import *\n"
        "write_activity(pathlib.Path(sys.argv[1]), Activity(doing='learning', reason='new'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert (tmp_path / FILE).exists()
    assert read_activity(tmp_path) is None


def test_a_killed_daemon_that_nobody_collected_yet_does_not_run(tmp_path):
    script = (
        "import pathlib, sys; from client.activity import *\n"
        "write_activity(pathlib.Path(sys.argv[1]), Activity(doing='learning', reason='new'))\n"
        "print(flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], **pipes) as process:
        process.stdout.readline()
        assert read_activity(tmp_path) is not None
        psutil.Process(process.pid).kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert read_activity(tmp_path) is None


def test_another_process_with_the_same_number_is_not_the_daemon(tmp_path):
    write_activity(tmp_path, Activity(doing="waiting", reason="no photos"))
    values = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(values | {"started": values["started"] - 60}))
    assert read_activity(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"doing": "learning"}', b"\xff"])
def test_a_file_that_says_nothing_is_no_daemon(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    assert read_activity(tmp_path) is None


def test_a_long_curve_keeps_its_ends():
    losses = tuple(float(i) for i in range(1000))
    found = thinned(losses)
    assert len(found) == LONGEST_CURVE
    assert (found[0], found[-1]) == (0.0, 999.0)
    assert list(found) == sorted(found)
    assert thinned(losses[:5]) == losses[:5]
