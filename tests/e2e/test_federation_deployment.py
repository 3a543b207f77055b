"""The real thing on loopback: `shoal-server serve` with a SuperLink, and three SuperNodes that run its bundle."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from client.federation import enrol
from client.priors import current_prior
from client.vault import Concept, Vault
from common.enrolment import answer
from server.keys import signing_key
from server.serve import environment

ROOT = Path(__file__).parents[2]
WIDTH, DIMENSIONS = 24, 4
BACKBONE = "ab" * 32
PROGRAMS = Path(sys.executable).parent


@contextmanager
def started(command, log, **settings):
    with log.open("wb") as file:
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


def teach(folder, rng):
    anchor = rng.standard_normal(WIDTH).astype(np.float32)
    token = anchor + rng.normal(0.1, 0.2, WIDTH).astype(np.float32)
    concept = Concept(
        name="my-dog", kind="object", class_word="dog", backbone=BACKBONE, anchor=anchor, token=token, loss=1,
        forwards=9,
    )  # fmt: skip
    Vault(folder).save_concept(concept)
    return concept.displacement


def serve(tmp_path, port):
    options = ["--backbone", BACKBONE, "--public-basis", tmp_path / "basis.npy", "--kinds", "object", "--rounds", "1"]
    return [
        *(sys.executable, "-m", "server", "serve", tmp_path / "server", *options),
        *("--minimum-people", "3", "--port", port),
    ]


@pytest.fixture
def basis(tmp_path):
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((WIDTH, DIMENSIONS)))[0].astype(np.float32)
    np.save(tmp_path / "basis.npy", basis)
    return basis.astype(float)


@pytest.mark.slow
def test_devices_of_a_deployment_are_asked_and_refuse_a_round_of_three(tmp_path, basis):
    assert basis.shape == (WIDTH, DIMENSIONS)
    operator, port = signing_key(tmp_path / "server"), free_port()
    folders = [tmp_path / "people" / str(number) for number in range(3)]
    rng = np.random.default_rng(5)
    for folder in folders:
        certify = partial(answer, operator)
        enrol(folder, operator=operator.public_key(), certify=certify, backbone=BACKBONE, width=WIDTH)
        teach(folder, rng)
    nodes = environment(tmp_path / "flower")
    nodes.pop("PYTHONPATH", None)  # what runs is the bundle
    ours = {**os.environ, "PYTHONPATH": str(ROOT)}
    with ExitStack() as running:
        server = running.enter_context(started(serve(tmp_path, port), tmp_path / "serve.log", env=ours))
        for number, folder in enumerate(folders):
            command = [
                *(PROGRAMS / "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}"),
                *("--port", free_port(), "--node-config", f'state-folder="{folder}"'),
            ]
            log = tmp_path / f"node{number}.log"
            running.enter_context(started(command, log, env=nodes, cwd=tmp_path))
        end = time.monotonic() + 400
        while "ProtocolError': 3" not in (said := (tmp_path / "serve.log").read_text()):
            assert server.poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(1)
    assert all(current_prior(folder, BACKBONE, "object") is None for folder in folders)


@pytest.mark.slow
def test_a_server_that_is_stopped_stops_its_superlink(tmp_path, basis):
    assert basis.shape == (WIDTH, DIMENSIONS)
    port, ours = free_port(), {**os.environ, "PYTHONPATH": str(ROOT)}
    with started(serve(tmp_path, port), tmp_path / "serve.log", env=ours) as server:
        end = time.monotonic() + 120
        while not listens(port):
            assert server.poll() is None, (tmp_path / "serve.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.2)
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) != 0
    assert not listens(port)


@pytest.mark.slow
def test_a_run_that_fails_is_a_failure(tmp_path, basis):
    np.save(tmp_path / "basis.npy", 2 * basis)
    found = subprocess.run(
        [str(part) for part in serve(tmp_path, free_port())],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert found.returncode == 1
    assert "the run failed" in found.stderr
