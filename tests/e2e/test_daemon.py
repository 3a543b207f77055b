"""A real `shoal daemon`: a folder that gets pictures, killed in the middle, paused, told to forget, in a round."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from client.activity import read_activity
from client.control import pause, resume, set_conditions, watch
from client.priors import held_version
from client.settings import Watched
from client.statement import statement
from client.vault import Vault
from common.prior import Cohort, Prior, sign_prior
from server.keys import signing_key
from server.registry import Registry
from server.service.proxy import find_proxy
from simulations.harbour import Harbour, running_devices
from simulations.village import BACKBONE, public_basis, teach

ROOT = Path(__file__).parents[2]
PATIENCE = 240
"""Seconds for what takes a few on a machine of one's own."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def environment(home, model):
    own = {key: value for key, value in os.environ.items() if key != "SHOAL_MODEL"}
    quiet = {"HF_HUB_OFFLINE": "1", "COLUMNS": "200", "PYTHONPATH": str(ROOT), "SHOAL_HOME": str(home)}
    return own | quiet | {"OMP_NUM_THREADS": "1"} | ({"SHOAL_MODEL": str(model)} if model else {})


def shoal(home, *words, model=None, code=0):
    command = [sys.executable, "-m", "client", *map(str, words)]
    done = subprocess.run(
        command, env=environment(home, model), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@contextmanager
def running(home, model=None, *words):
    """Start `shoal daemon`; end it in order, and see that no child is left."""
    command = [sys.executable, "-m", "client", "daemon", *map(str, words)]
    with (home.parent / "daemon.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment(home, model), stdout=log, stderr=log)
    try:
        until(lambda: read_activity(home) is not None and read_activity(home).doing != "starting")
        yield psutil.Process(process.pid)
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
        assert not psutil.wait_procs(children, 30)[1]


def until(holds, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def doing(home):
    found = read_activity(home)
    return found.doing if found else None


def far(home, forwards):
    """Say whether a learning has come so far."""
    found = read_activity(home)
    return found is not None and found.doing == "learning" and found.forwards >= forwards


def names(home):
    return [one.name for one in Vault(home).listed()]


def checkpoints(home):
    return {file: file.stat().st_mtime_ns for file in (home / "learning").glob("*.sealed")}


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir(mode=0o700)
    set_conditions(tmp_path / "home", idle_minutes=0, on_power=False, hottest=0)
    return tmp_path / "home"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos of rex"
    folder.mkdir()
    return folder


def add_photos(folder, numbers=(0, 1)):
    for i in numbers:
        pixels = np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")


def test_pictures_that_come_are_learned_through_a_kill_to_the_very_same_token(home, photos, tiny_backbone, tmp_path):
    watch(home, Watched(folder=photos, name="rex", class_word="dog"))
    budget = ("--forwards", 1500)
    with running(home, tiny_backbone, "--no-page", *budget):
        until(lambda: "holds no photos yet" in str(read_activity(home).problems))
        add_photos(photos)
        until(lambda: far(home, 100) and checkpoints(home))
        [learner] = psutil.Process(read_activity(home).process).children()
        psutil.Process(read_activity(home).process).send_signal(signal.SIGKILL)
        learner.wait(60)  # its input ended: it wrote a checkpoint, and did not go on for nobody
        assert read_activity(home) is None
        assert names(home) == []
        kept = checkpoints(home)
        assert len(kept) == 1
    with running(home, tiny_backbone, "--no-page", *budget):
        until(lambda: names(home) == ["rex"])
        until(lambda: doing(home) == "waiting")
        assert checkpoints(home) == {}
        add_photos(photos, [2])
        until(lambda: doing(home) == "learning")
    straight = tmp_path / "straight"
    (photos / "2.png").unlink()
    shoal(straight, "learn", photos, "--name", "rex", "--class", "dog", *budget, model=tiny_backbone)
    assert (Vault(straight).concept("rex").token == Vault(home).concept("rex").token).all()


def busy(process, *, seconds):
    """Watch a process; return the share of a core that it takes."""
    begun, spent = time.monotonic(), sum(process.cpu_times()[:2])
    time.sleep(seconds)
    return (sum(process.cpu_times()[:2]) - spent) / (time.monotonic() - begun)


def test_pause_is_obeyed_at_once_and_costs_next_to_nothing(home, photos, tiny_backbone, record_property):
    """Under 0.5 % of a core and 150 MB, the page included: both are measured."""
    add_photos(photos)
    watch(home, Watched(folder=photos, name="rex", class_word="dog"))
    with running(home, tiny_backbone, "--forwards", 100_000) as daemon:
        until(lambda: far(home, 30))
        [learner] = daemon.children()
        asked = time.monotonic()
        pause(home)
        learner.wait(30)
        obeyed = time.monotonic() - asked
        until(lambda: doing(home) == "paused")
        assert len(checkpoints(home)) == 1
        time.sleep(2)  # until the last answers are written
        share = min(busy(daemon, seconds=8) for _ in range(3))  # what else the machine does only adds to it
        memory = daemon.memory_info().rss / 1e6
        record_property("paused", f"obeyed after {obeyed:.2f} s, {100 * share:.2f} % of a core, {memory:.0f} MB")
        assert daemon.children() == []
        assert share < 0.005
        assert memory < 150
        assert obeyed < 10
        told = json.loads(shoal(home, "status", "--json"))
        assert (told["paused"], told["activity"]["doing"]) == (True, "paused")
        resume(home)
        until(lambda: far(home, 60) or names(home) == ["rex"])  # so small a model may be done between two looks


def test_forget_ends_a_learning_and_leaves_nothing(home, photos, tiny_backbone):
    add_photos(photos)
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in photos.iterdir()}
    watch(home, Watched(folder=photos, name="rex", class_word="dog"))
    with running(home, tiny_backbone, "--no-page", "--forwards", 100_000) as daemon:
        until(lambda: far(home, 30) and checkpoints(home))
        told = shoal(home, "forget", "rex", "--yes")
        assert "forgot <rex>" in told
        assert checkpoints(home) == {}
        until(lambda: daemon.children() == [])
        until(lambda: doing(home) == "waiting")
        time.sleep(5)
        assert daemon.children() == []
        assert names(home) == []
    assert not any(b"rex" in file.read_bytes() for file in home.rglob("*") if file.is_file())
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in photos.iterdir()} == before


def test_two_daemons_do_not_share_a_folder(home):
    with running(home, None, "--no-page"):
        command = [sys.executable, "-m", "client", "daemon", "--no-page"]
        second = subprocess.run(
            command, env=environment(home, None), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert second.returncode == 1
        assert "a daemon runs on" in second.stderr


def test_a_locked_vault_is_said_at_the_start_and_not_at_night(home, photos):
    locked = environment(home, None) | {"SHOAL_PASSPHRASE": "correct horse"}
    locked.pop("SHOAL_KEY_FILE")
    script = (
        "import os, pathlib; from client.database import Database; from client.sealing import protect\n"
        "with Database(pathlib.Path(os.environ['SHOAL_HOME'])).transaction() as rows:\n"
        "    protect(rows, 'passphrase', ask=lambda: 'correct horse')"
    )
    subprocess.run([sys.executable, "-c", script], env=locked, check=True)
    command = [sys.executable, "-m", "client", "daemon", "--no-page"]
    for passphrase, said in ((None, "the vault is locked"), ("battery staple", "not the vault's passphrase")):
        given = {key: value for key, value in locked.items() if key != "SHOAL_PASSPHRASE"}
        given |= {"SHOAL_PASSPHRASE": passphrase} if passphrase else {}
        done = subprocess.run(
            command, env=given, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 1
        assert said in done.stderr
        assert read_activity(home) is None


NEIGHBOURS = 8


@pytest.mark.skipif(find_proxy() is None and "CI" not in os.environ, reason="no nginx: apt install nginx-light")
def test_a_joined_daemon_takes_part_in_a_round_and_keeps_the_prior(tmp_path, home, record_property):
    """A true server on loopback with TLS; eight others and this daemon, which learned something before."""
    harbour = Harbour(tmp_path / "harbour", minimum_people=8, rounds__poll_seconds=0.5, wave_size=str(NEIGHBOURS + 1))
    others = [tmp_path / "people" / str(number) for number in range(NEIGHBOURS)]
    rng = np.random.default_rng(3)
    pause(home)
    with harbour, running(home, None) as daemon:
        publish(harbour)
        harbour.enrol(home, *others)
        for folder in (home, *others):
            teach(folder, rng)
        with running_devices(others, tmp_path / "company.log"):
            time.sleep(2)
            assert read_activity(home).federation in {"", "offline: paused"}
            resume(home)
            until(lambda: read_activity(home).federation.startswith("online at"))
            assert harbour.command("run-round")["outcome"] == "completed", harbour.said
        assert held_version(home, BACKBONE, "object") >= 1
        given = statement(home).given
        assert [one.people for one in given] == [NEIGHBOURS + 1]
        assert Vault(home).listed()[0].contributed is not None
        [attendant] = daemon.children()
        sizes = [process.memory_info().rss / 1e6 for process in (daemon, attendant)]
        pause(home)
        until(lambda: read_activity(home).federation == "offline: paused")
        attendant.wait(60)
        record_property("after a round", f"daemon {sizes[0]:.0f} MB, its attendant while online {sizes[1]:.0f} MB")
        assert daemon.memory_info().rss / 1e6 < 150
        told = shoal(home, "forget", "it", "--yes")
        assert "stays in that round's sum: sums already made cannot be undone" in told
        assert len(statement(home).given) == 1


def publish(harbour):
    """Give the operator a prior to begin with, as one has it of an earlier year."""
    basis = public_basis()
    size = basis.shape[1]
    cohort = Cohort(weight=1.0, mean=np.zeros(size), basis=np.eye(size, 1), spectrum=np.ones(1), residual=0.5)
    words = {"backbone": BACKBONE, "kind": "object", "version": 1, "people": 500, "rounds": ("before",)}
    prior = Prior(**words, public_basis=basis, cohorts=(cohort,), created="2026-01-01T00:00:00+00:00")
    with Registry(f"sqlite:///{harbour.state / 'registry.sqlite'}") as registry:
        registry.publish(sign_prior(prior, signing_key(harbour.state)))
