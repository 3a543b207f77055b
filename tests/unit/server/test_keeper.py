"""One part kept running, with real processes and a clock of our own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from server.service.keeper import FIRST_WAIT, LONGEST_WAIT, SETTLED, Keeper
from server.service.parts import Part


def part(*command):
    return Part(name="it", command=command, port=None, environment=dict(os.environ))


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def keep(tmp_path, clock):
    kept = []
    (tmp_path / "flower").mkdir()

    def keep(*command):
        keeper = Keeper(part(*command), tmp_path / "log", now=lambda: clock[0])
        kept.append(keeper)
        keeper.start()
        return keeper

    yield keep
    for keeper in kept:
        keeper.end(0)


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def alive(process):
    """Whether a process runs; one that ended and was not buried does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_dies_is_started_again_later_each_time(keep, clock):
    keeper = keep("/bin/false")
    for wait in (FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT):
        until(lambda: keeper.pid is None)
        assert not keeper.check()
        clock[0] += 0.9 * wait
        assert not keeper.check()
        clock[0] += 0.2 * wait
        assert keeper.check()
    assert keeper.restarts == 3


def test_it_waits_no_longer_than_the_longest_and_begins_anew_once_settled(keep, clock):
    keeper = keep("/bin/false")
    for _ in range(12):
        until(lambda: keeper.pid is None)
        keeper.check()
        clock[0] += LONGEST_WAIT + 1
        assert keeper.check()
    assert keeper._wait == LONGEST_WAIT
    keeper.part = part("/bin/sleep", "60")
    until(lambda: keeper.pid is None)
    keeper.check()
    clock[0] += LONGEST_WAIT + 1
    assert keeper.check()
    clock[0] += SETTLED + 1
    assert keeper.check()
    assert keeper._wait == FIRST_WAIT


def test_what_it_left_behind_ends_with_it(keep, tmp_path, clock):
    """A part that starts others and dies: the others are not orphans for long."""
    keeper = keep("/bin/sh", "-c", f"sleep 100 & echo $! > {tmp_path}/child; wait")
    until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip())
    child = int((tmp_path / "child").read_text())
    assert alive(child)
    os.kill(keeper.pid, signal.SIGKILL)
    until(lambda: keeper.pid is None)
    keeper.check()
    until(lambda: not alive(child))


def test_it_ends_with_all_that_it_started_even_if_it_will_not(keep, tmp_path):
    keeper = keep("/bin/sh", "-c", f"trap '' TERM; sleep 100 & echo $! > {tmp_path}/child; while :; do sleep 1; done")
    until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip())
    child, process = int((tmp_path / "child").read_text()), keeper.pid
    keeper.ask_to_end()
    keeper.end(0.2)
    until(lambda: not alive(process) and not alive(child))


def test_a_large_log_is_set_aside(keep, tmp_path, monkeypatch):
    monkeypatch.setattr("server.service.keeper.LOG_BYTES", 10)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "it.log").write_text("x" * 11)
    keeper = keep("/bin/echo", "hello")
    until(lambda: keeper.pid is None)
    assert (tmp_path / "log" / "it.log").read_text() == "hello\n"
    assert (tmp_path / "log" / "it.log.1").read_text() == "x" * 11


ORPHAN = """
import os, sys, time
from pathlib import Path
from server.service.keeper import Keeper
from server.service.parts import Part
folder = Path(sys.argv[1])
keeper = Keeper(Part(name="it", command=("/bin/sleep", "100"), port=None, environment=dict(os.environ)), folder / "log")
keeper.start()
(folder / "pid").write_text(str(keeper.pid))
time.sleep(100)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
def test_a_part_ends_with_its_supervisor_however_that_dies(tmp_path):
    (tmp_path / "flower").mkdir()
    with subprocess.Popen([sys.executable, "-c", ORPHAN, str(tmp_path)]) as supervisor:
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        process = int((tmp_path / "pid").read_text())
        assert alive(process)
        supervisor.kill()
    until(lambda: not alive(process))
