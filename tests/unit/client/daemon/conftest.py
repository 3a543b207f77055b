from __future__ import annotations

import pytest

from client.control import set_conditions, watch
from client.daemon import loop
from client.daemon.loop import Daemon
from client.settings import Watched


class Pupil:
    """A learning without a process."""

    def __init__(self, watched, photos, key, wake):
        self.watched, self.photos, self.key, self.wake = watched, photos, key, wake
        self.forwards = self.total = 0
        self.losses, self.told, self.problem = [], [], ""
        self.first = self.seconds_left = None
        self.code = None
        self.is_stopping = False
        self.process = self

    def poll(self):
        return self.code

    @property
    def ended(self):
        return self.code is not None

    @property
    def is_learned(self):
        return self.code == 0

    @property
    def is_unusable(self):
        return self.code == 65

    def stop(self):
        self.is_stopping = True

    def end(self):
        self.stop()
        self.code = 75 if self.code is None else self.code


class Watcher:
    """Remembers what it was to watch."""

    def heed(self, folders):
        self.folders = folders


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(b"a")
    return folder


@pytest.fixture
def started(monkeypatch):
    """The learnings that were started, in their order."""
    found = []

    def start(watched, photos, *, home, model, key, forwards, wake):
        found.append(Pupil(watched, photos, key, wake))
        return found[-1]

    monkeypatch.setattr(loop, "start", start)
    monkeypatch.setattr(loop, "SETTLED", 0.0)
    return found


@pytest.fixture
def daemon(home, photos, started, machine):
    """A daemon that watches one folder of one photo."""
    watch(home, Watched(folder=photos, name="rex", class_word="dog"))
    set_conditions(home, hours="")
    return Daemon(home=home, model=None, machine=machine())


@pytest.fixture
def turn(daemon):
    """Have the daemon look once, or twice where a set has to settle; give the seconds until it looks again."""
    return lambda: daemon.turn(Watcher())
