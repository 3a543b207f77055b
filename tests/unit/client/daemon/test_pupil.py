"""A real child process, though not a learner: told what to do, heard, paused, killed."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from client.daemon import pupil as module
from client.daemon.photo_set import PhotoSet
from client.daemon.pupil import start
from client.settings import Watched

PHOTOS = PhotoSet(digest="ab", count=2)
SOON = 30.0
OBEDIENT = """
import json, sys
job = json.loads(sys.stdin.readline())
print("a library's own words")
print("[1]")
print(json.dumps({"says": "skipped a.jpg: empty"}))
print(json.dumps({"forwards": 3, "total": 30, "losses": []}))
print(json.dumps({"forwards": 9, "total": 30, "losses": [0.5, 0.4]}), flush=True)
sys.stdin.read()
sys.exit(75 if job["name"] == "rex" and len(job["key"]) == 6 else 1)
"""
DEAF = "import json, sys, time\nprint(json.dumps({'problem': 'no'}), flush=True)\ntime.sleep(600)"


@pytest.fixture
def run(monkeypatch, tmp_path):
    def begin(script):
        monkeypatch.setattr(module, "PROGRAM", (sys.executable, "-c", script))
        woken = threading.Event()
        watched = Watched(folder=tmp_path, name="rex", class_word="dog")
        return start(watched, PHOTOS, home=tmp_path, model=None, key="secret", forwards=None, wake=woken.set), woken

    return begin


def until(holds):
    end = time.monotonic() + SOON
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    assert holds()


def test_a_child_is_heard_and_pauses_when_it_is_asked(run):
    pupil, woken = run(OBEDIENT)
    until(lambda: pupil.forwards == 9)
    assert woken.is_set()
    assert (pupil.total, pupil.losses, pupil.told) == (30, [0.5, 0.4], ["skipped a.jpg: empty"])
    assert pupil.seconds_left > 0
    pupil.stop()
    until(lambda: pupil.ended)
    assert pupil.process.returncode == 75
    assert not pupil.is_learned
    assert not pupil.is_unusable


def test_a_child_that_does_not_listen_is_killed_in_time(run, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    pupil, _ = run(DEAF)
    until(lambda: pupil.problem == "no")
    began = time.monotonic()
    pupil.end()
    assert pupil.process.returncode == -9
    assert time.monotonic() - began < SOON


def test_a_child_that_cannot_even_start_is_no_harm(run):
    pupil, _ = run("raise SystemExit(3)")
    until(lambda: pupil.ended)
    assert not pupil.is_learned


def test_the_key_stands_in_no_command_line(run):
    pupil, _ = run(OBEDIENT)
    assert "secret" not in " ".join(map(str, pupil.process.args))
    pupil.end()
