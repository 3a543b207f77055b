from __future__ import annotations

import threading
import time

import pytest

from client.control import pause, resume
from client.daemon.watching import Watcher

SOON = 20.0
"""Seconds on a busy machine."""


@pytest.fixture
def watching(tmp_path):
    """Give a home, a watched folder, and the event by which the watcher wakes."""
    home, folder, woken = tmp_path / "home", tmp_path / "photos", threading.Event()
    home.mkdir()
    folder.mkdir()
    watcher = Watcher(home, woken.set)
    watcher.heed([folder, tmp_path / "gone"])
    time.sleep(0.5)  # until the system watches
    yield home, folder, woken
    watcher.close()


def test_a_word_of_the_person_wakes_it(watching):
    home, _, woken = watching
    for say in (pause, resume):
        woken.clear()
        say(home)
        assert woken.wait(SOON)


def test_photos_that_come_and_go_wake_it(watching):
    _, folder, woken = watching
    (folder / "1.jpg").write_bytes(b"a")
    assert woken.wait(SOON)
    woken.clear()
    (folder / "1.jpg").unlink()
    assert woken.wait(SOON)


def test_what_it_writes_itself_does_not(watching):
    home, _, woken = watching
    (home / "activity.json").write_bytes(b"{}")
    (home / "vault.sqlite").write_bytes(b"")
    assert not woken.wait(2.0)


def test_another_folder_can_be_watched_later(tmp_path):
    home, woken = tmp_path / "home", threading.Event()
    home.mkdir()
    watcher = Watcher(home, woken.set)
    watcher.heed([])
    (tmp_path / "new").mkdir()
    watcher.heed([tmp_path / "new"])
    time.sleep(0.5)
    (tmp_path / "new" / "1.jpg").write_bytes(b"a")
    assert woken.wait(SOON)
    watcher.close()
