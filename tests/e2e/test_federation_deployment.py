"""Rounds over a real server as operators run it, through its edge: devices that drop out, die, and are lied to."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flwr.cli.build import build_fab_from_disk

from client.budget import mechanism_of
from client.database import Database
from client.ledger import Contribution, Opening, read
from client.membership import read_membership
from client.vault import Vault
from common.privacy import decode, reduce
from server.bundle import default_run_config, write_bundle
from server.config import read_config
from server.control import control
from server.registry import Registry
from server.service.programs import environment
from server.service.proxy import find_proxy
from server.service.runs import BUNDLE
from server.state import outer
from simulations.faults import plan_fault, recorded
from simulations.harbour import Harbour, free_ports, running_devices
from simulations.run import pretend
from simulations.village import BACKBONE, public_basis, teach

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_proxy() is None and "CI" not in os.environ, reason="no nginx: apt install nginx-light"),
]
PATIENCE = 300
"""Seconds for whatever must come to pass on a busy machine."""
DROPOUTS = ("train.keys", "train.shares", "train.masked", "train.confirm", "train.unmask")
COUNT = 18


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


def people(harbour, folder, count, concepts=1):
    rng = np.random.default_rng(5)
    folders = [folder / "people" / str(number) for number in range(count)]
    harbour.enrol(*folders)
    for home in folders:
        for number in range(concepts):
            teach(home, rng, name=f"it-{number}")
        plan_fault(home)
    return folders


def ledger(folder):
    with Database(folder).transaction("DEFERRED") as rows:
        return [entry.event for entry in read(rows, folder)]


def wait_for(condition, told):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, told()
        time.sleep(0.2)


def test_eighteen_devices_hold_two_rounds_with_dropouts_at_every_exchange_and_one_killed(tmp_path):
    """The last device is killed once its vector is booked and before it leaves; it comes back for the second round."""
    options = {
        "wave_size": str(COUNT),
        "deadline_seconds": 30.0,
        "rounds__poll_seconds": 0.5,
        "patience_seconds": 600.0,
    }
    killed_log = tmp_path / "killed.log"
    with Harbour(tmp_path, from_one_address=10 * COUNT, **options) as harbour, ExitStack() as running:
        folders = people(harbour, tmp_path, COUNT, concepts=2)
        for folder, action in zip(folders, DROPOUTS, strict=False):
            plan_fault(folder, drop=action)
        unlucky = folders[-1]
        plan_fault(unlucky, die="masked:saved")
        running.enter_context(running_devices(folders[:-1], tmp_path / "nodes.log"))
        with running_devices([unlucky], killed_log) as killed:
            assert harbour.command("run-round")["outcome"] == "completed", harbour.said
            wait_for(lambda: killed.poll() is not None, killed_log.read_text)
            assert killed.returncode == -signal.SIGKILL, killed_log.read_text()
        assert [type(event) for event in ledger(unlucky)] == [Contribution]
        plan_fault(unlucky)
        running.enter_context(running_devices([unlucky], killed_log))
        assert harbour.command("run-round")["outcome"] == "completed", harbour.said
    check_sums(harbour, folders)
    # Spent once in the first round, though nothing came of it, and once in the second.
    assert [type(event) for event in ledger(unlucky)] == [Contribution, Contribution, Opening]
    assert len({event.concept for event in ledger(unlucky)[:2]}) == 2
    for folder in folders[:2]:
        assert ledger(folder) == []
    assert "Traceback" not in (tmp_path / "nodes.log").read_text()


def sums(harbour):
    with Registry(f"sqlite:///{harbour.state / 'registry.sqlite'}") as registry:
        return registry.sums(BACKBONE, "object", public_basis())


def check_sums(harbour, folders):
    """Both sums are those of the integers that were masked, exactly; each by the rotation that its people signed."""
    first, second = sums(harbour)
    booked = {event.round_id: event for event in ledger(folders[5]) if isinstance(event, Contribution)}
    seeds = {}
    for found, missing in ((first, {0, 1, 2, COUNT - 1}), (second, {0, 1, 2})):
        included = [folder for number, folder in enumerate(folders) if number not in missing]
        assert found.people == len(included)
        mechanism = mechanism_of(booked[found.round_id])
        assert mechanism.share_variance > 0
        common = set.intersection(*(set(recorded(folder)) for folder in included))
        totals = {
            seed: decode(
                reduce(np.sum([recorded(folder)[seed].astype(np.int64) for folder in included], axis=0), mechanism),
                mechanism,
                seed=seed,
            )
            for seed in common
        }
        [seeds[found.round_id]] = [seed for seed, total in totals.items() if np.array_equal(total, found.total)]
    assert len(set(seeds.values())) == 2


THEFT = """
from pathlib import Path
for home in {homes!r}:
    (Path(home) / "stolen").write_text(Path(home, "vault.sqlite").name)
"""


def run_of(harbour, bundle, **more):
    """Start a run past `shoal-server`, as an operator who means ill can; give its number."""
    config = read_config(harbour.state)
    settings = config.run_settings(1).to_run_config() | {"patience-seconds": 15.0} | more
    with control(config) as link:
        return link.start(bundle, settings)


def said(harbour, number):
    """Wait until a run is over; give what its server app said."""
    with control(read_config(harbour.state)) as link:
        wait_for(lambda: all(not run.active for run in link.runs() if run.number == number), lambda: harbour.said)
        return link.said(number)


def test_an_operator_who_lies_gets_nothing_over_the_edge(tmp_path):
    """A round without noise; a bundle whose client app steals; a stock SuperNode, which runs what it is sent."""
    harbour = Harbour(tmp_path, minimum_people=8, rounds__poll_seconds=0.5, deadline_seconds=30.0)
    with harbour:
        folders = people(harbour, tmp_path, 9)
        for folder in folders:
            pretend(folder)  # even their ledgers say that this is a simulation
        log = tmp_path / "nodes.log"
        with running_devices(folders[:8], log):
            honest = (harbour.state / BUNDLE).read_bytes()
            told = said(harbour, run_of(harbour, honest, **{"unprotected-simulation": True}))
            assert "UNPROTECTED SIMULATION" in told
            assert '"train.keys ProtocolError": 8' in told
            theft = stealing(tmp_path, folders)
            assert hashlib.sha256(theft).digest() != hashlib.sha256(honest).digest()
            with stock(harbour, folders[8], tmp_path / "stock.log") as node:
                wait_for(lambda: harbour.command("status")["online"] == 9, lambda: harbour.said)
                told = said(harbour, run_of(harbour, theft, **{"patience-seconds": 45.0}))
                # Ours name what they do not know, and leave: their terms may be old.
                assert "no round for so long" in told
                wait_for(lambda: "is not in its terms" in log.read_text(), log.read_text)
                assert node.poll() is None or node.returncode != 0
            stopped = (tmp_path / "stock.log").read_text()
            assert "404" in stopped.partition("/v1/fleet/get-fab")[0].splitlines()[-1], stopped
    assert sums(harbour) == []
    for folder in folders:
        assert not (folder / "stolen").exists()
        assert len(ledger(folder)) == 1  # that it is a simulation
        assert Vault(folder).pending("object", BACKBONE) is not None


def stealing(tmp_path, folders):
    """Build a bundle that is ours but for what it does when a device imports it."""
    write_bundle(tmp_path / "theft", default_run_config())
    path = tmp_path / "theft" / "client" / "app.py"
    path.write_text(path.read_text() + THEFT.format(homes=[str(folder) for folder in folders]))
    return build_fab_from_disk(tmp_path / "theft")


@contextmanager
def stock(harbour, home, log):
    """Run Flower's own SuperNode as an enrolled device: the edge forwards no request for a bundle."""
    config, port, key = read_config(harbour.state), free_ports(1)[0], home / "stock-key"
    secret = read_membership(home).key
    key.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    program = shutil.which("flower-supernode", path=os.path.dirname(sys.executable))  # noqa: PTH120 - a PATH
    command = [program, "--superlink", config.federation.address, "--root-certificates", outer(config).authority]
    command += ["--auth-supernode-private-key", key, "--port", port, "--node-config", f'state-folder="{home}"']
    # Without our source: what it would run is the bundle.
    env = {name: value for name, value in environment(home / "flower").items() if name != "PYTHONPATH"}
    with started(command, log, env=env, cwd=home) as process:
        yield process
