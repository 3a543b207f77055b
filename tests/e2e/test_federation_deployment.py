"""Rounds over a real SuperLink on loopback, with devices as nodes of their own, and with a stock node."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from client.budget import mechanism_of
from client.database import Database
from client.ledger import Contribution, Opening, read
from client.vault import Vault
from common.privacy import decode, reduce
from server.keys import signing_key
from server.registry import Registry
from server.serve import HASH_FILE, environment
from simulations.faults import plan_fault, recorded
from simulations.run import pretend
from simulations.village import BACKBONE, public_basis, settle, teach

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
OURS = {**os.environ, "PYTHONPATH": str(ROOT)}
PATIENCE = 900
"""Seconds for whatever must come to pass on a busy machine."""


@contextmanager
def started(command, log, **settings):
    with log.open("ab") as file:
        process = subprocess.Popen([str(part) for part in command], stdout=file, stderr=file, **settings)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition, server, log):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.2)


SERVE = """
import json, signal, sys
from pathlib import Path
from server.serve import serve
from server.settings import RunSettings
folder, port, backbone, more = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
signal.signal(signal.SIGTERM, signal.default_int_handler)
serve(RunSettings.from_run_config({"state-folder": str(folder / "server"), "backbone": backbone,
    "public-basis": str(folder / "basis.npy"), "kinds": "object", **more}), port)
"""
"""A SuperLink that knows nobody, with neither TLS nor proxy; tests/e2e/test_edge.py has the whole server."""


def serve(tmp_path, port, **more):
    return [sys.executable, "-c", SERVE, tmp_path, port, BACKBONE, json.dumps(more)]


def nodes(tmp_path, port, folders, bundle=None):
    known = bundle or (tmp_path / "server" / HASH_FILE).read_text().strip()
    return [sys.executable, "-m", "simulations.nodes", f"127.0.0.1:{port}", known, *folders]


def people(tmp_path, count, concepts=1):
    rng, key = np.random.default_rng(5), signing_key(tmp_path / "server")
    folders = [settle(tmp_path / "people" / str(number), key) for number in range(count)]
    for folder in folders:
        for number in range(concepts):
            teach(folder, rng, name=f"it-{number}")
        plan_fault(folder)
    return folders


def ledger(folder):
    with Database(folder).transaction("DEFERRED") as rows:
        return [entry.event for entry in read(rows, folder)]


@pytest.fixture(autouse=True)
def _basis(tmp_path):
    np.save(tmp_path / "basis.npy", public_basis().astype(np.float32))


DROPOUTS = ("train.keys", "train.shares", "train.masked", "train.confirm", "train.unmask")
COUNT = 18


@pytest.mark.slow
def test_eighteen_devices_hold_two_rounds_with_dropouts_at_every_exchange_and_one_killed(tmp_path):
    """The last device is killed once its vector is booked and before it leaves; it comes back for the second round."""
    folders, port, log = people(tmp_path, COUNT, concepts=2), free_port(), tmp_path / "serve.log"
    for folder, action in zip(folders, DROPOUTS, strict=False):
        plan_fault(folder, drop=action)
    unlucky = folders[-1]
    plan_fault(unlucky, die="masked:saved")
    options = {"rounds": 2, "wave-size": COUNT, "deadline-seconds": 30.0}
    with ExitStack() as running:
        server = running.enter_context(started(serve(tmp_path, port, **options), log, env=OURS))
        wait_for(lambda: listens(port), server, log)
        many = nodes(tmp_path, port, folders[:-1])
        running.enter_context(started(many, tmp_path / "nodes.log", env=OURS, cwd=tmp_path))
        alone = nodes(tmp_path, port, [unlucky])
        with started(alone, tmp_path / "killed.log", env=OURS, cwd=tmp_path) as killed:
            wait_for(lambda: killed.poll() is not None, server, log)
            assert killed.returncode == -signal.SIGKILL, (tmp_path / "killed.log").read_text()
        assert [type(event) for event in ledger(unlucky)] == [Contribution]
        plan_fault(unlucky)
        running.enter_context(started(alone, tmp_path / "killed.log", env=OURS, cwd=tmp_path))
        assert server.wait(PATIENCE) == 0, log.read_text()
    check_sums(tmp_path, folders)
    # Spent once in the first round, though nothing came of it, and once in the second.
    assert [type(event) for event in ledger(unlucky)] == [Contribution, Contribution, Opening]
    assert len({event.concept for event in ledger(unlucky)[:2]}) == 2
    for folder in folders[:2]:
        assert ledger(folder) == []
    assert "Traceback" not in (tmp_path / "nodes.log").read_text()


def check_sums(tmp_path, folders):
    """Both sums are those of the integers that were masked, exactly; each by the rotation that its people signed."""
    with Registry(f"sqlite:///{tmp_path / 'server' / 'registry.sqlite'}") as registry:
        first, second = registry.sums(BACKBONE, "object", public_basis())
    booked = {event.round_id: event for event in ledger(folders[5]) if isinstance(event, Contribution)}
    seeds = {}
    for found, missing in ((first, {0, 1, 2, COUNT - 1}), (second, {0, 1, 2})):
        included = [folder for number, folder in enumerate(folders) if number not in missing]
        assert found.people == len(included)
        mechanism = mechanism_of(booked[found.round_id])
        assert mechanism.share_variance > 0
        common = set.intersection(*(set(recorded(folder)) for folder in included))
        sums = {
            seed: decode(
                reduce(np.sum([recorded(folder)[seed].astype(np.int64) for folder in included], axis=0), mechanism),
                mechanism,
                seed=seed,
            )
            for seed in common
        }
        [seeds[found.round_id]] = [seed for seed, total in sums.items() if np.array_equal(total, found.total)]
    assert len(set(seeds.values())) == 2


UNPROTECTED = {
    "rounds": 1, "minimum-people": 3, "wave-size": 6, "unprotected-simulation": True, "deadline-seconds": 90.0,
    "patience-seconds": 600.0,
}  # fmt: skip


@pytest.mark.slow
def test_devices_refuse_a_round_without_noise_and_a_bundle_that_they_do_not_know(tmp_path):
    """Five nodes of ours and a stock SuperNode that runs the bundle; even their ledgers say that it is a simulation."""
    folders, port, log = people(tmp_path, 7), free_port(), tmp_path / "serve.log"
    for folder in folders:
        pretend(folder)
    quiet = environment(tmp_path / "flower")
    quiet.pop("PYTHONPATH", None)  # what runs is the bundle
    with ExitStack() as running:
        server = running.enter_context(started(serve(tmp_path, port, **UNPROTECTED), log, env=OURS))
        wait_for(lambda: listens(port), server, log)
        running.enter_context(
            started(nodes(tmp_path, port, folders[:5]), tmp_path / "nodes.log", env=OURS, cwd=tmp_path)
        )
        stock = [PROGRAMS / "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}", "--port", free_port()]
        settings = f'state-folder="{folders[5]}" partition-id=3'  # nor does it help to pretend here
        running.enter_context(
            started([*stock, "--node-config", settings], tmp_path / "stock.log", env=quiet, cwd=tmp_path)
        )
        stranger = nodes(tmp_path, port, folders[6:], bundle="00" * 32)
        running.enter_context(started(stranger, tmp_path / "stranger.log", env=OURS, cwd=tmp_path))
        wait_for(lambda: '"train.keys ProtocolError": 6' in log.read_text(), server, log)
    assert "UNPROTECTED SIMULATION" in log.read_text()
    assert all(len(ledger(folder)) == 1 for folder in folders)
    assert all(Vault(folder).pending("object", BACKBONE) is not None for folder in folders)
    with Registry(f"sqlite:///{tmp_path / 'server' / 'registry.sqlite'}") as registry:
        assert registry.sums(BACKBONE, "object", public_basis()) == []


@pytest.mark.slow
def test_a_server_that_is_stopped_stops_its_superlink(tmp_path):
    port, log = free_port(), tmp_path / "serve.log"
    with started(serve(tmp_path, port), log, env=OURS) as server:
        wait_for(lambda: listens(port), server, log)
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) != 0
    assert not listens(port)


@pytest.mark.slow
def test_a_run_that_fails_is_a_failure(tmp_path):
    np.save(tmp_path / "basis.npy", 2 * public_basis())
    found = subprocess.run(
        [str(part) for part in serve(tmp_path, free_port())],
        env=OURS, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert found.returncode == 1
    assert "the run failed" in found.stderr
