"""What a whole server and its devices go on after: parts that are killed, answers that are lost, a folder, a key."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
from flwr.supernode.fleet_http_client import FleetHttpClient

from client.app import app
from client.identity import identity, operator_key
from client.join import renew
from client.membership import read_membership
from client.node import joined
from common.errors import ConfigError, ShoalError
from server.config import read_config
from server.registry import Registry
from server.roster import Roster
from server.service.parts import ORDER, listens
from server.service.proxy import find_proxy
from server.service.supervisor import RUNS_LOG
from simulations.harbour import Harbour, running_devices, surroundings
from simulations.nodes import device
from simulations.village import BACKBONE, public_basis, teach

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_proxy() is None and "CI" not in os.environ, reason="no nginx: apt install nginx-light"),
]


def sums(harbour):
    with Registry(f"sqlite:///{harbour.state / 'registry.sqlite'}") as registry:
        return registry.sums(BACKBONE, "object", public_basis())


COUNT = 9
REPEATED = ("PushMessages", "PushObject", "PullObject", "ConfirmMessageReceived", "GetRun")
"""What a device asks again where the answer is lost."""


def test_joined_devices_hold_a_round_and_go_on_after_each_part_was_killed(tmp_path):
    """A round; then every part is killed with SIGKILL and comes back; then another round."""
    harbour = Harbour(tmp_path, minimum_people=8, rounds__poll_seconds=0.5, patience_seconds=120.0, wave_size="9")
    people = [tmp_path / "people" / str(number) for number in range(COUNT)]
    rng = np.random.default_rng(3)
    with ExitStack() as running:
        running.enter_context(harbour)
        harbour.enrol(*people)
        for folder in people:
            for name in ("planted-one", "planted-two"):
                teach(folder, rng, name=name)
        running.enter_context(running_devices(people, tmp_path / "nodes.log"))
        assert harbour.command("run-round")["outcome"] == "completed", harbour.said
        assert [found.people for found in sums(harbour)] == [COUNT]
        harbour.wait(lambda: f'"people": {COUNT}' in runs_log(harbour), "what the run said is kept")
        assert told_of(harbour, people) == []
        for name in ORDER:
            os.kill(harbour.part(name), signal.SIGKILL)
        harbour.wait(lambda: all_back(harbour), "all parts run again", 60)
        assert harbour.command("run-round")["outcome"] == "completed", harbour.said
        assert [found.people for found in sums(harbour)] == [COUNT, COUNT]
    assert "Traceback" not in (tmp_path / "nodes.log").read_text()
    assert left_over(harbour) == []


def test_answers_that_are_lost_cost_nobody_a_round(tmp_path, monkeypatch):
    """Every third answer of the server's, whatever it was to, but for looks: Flower gives a message only once."""
    lost = losing_answers(monkeypatch)
    people = [tmp_path / "people" / str(number) for number in range(COUNT)]
    rng = np.random.default_rng(3)
    with Harbour(
        tmp_path, minimum_people=COUNT, rounds__poll_seconds=0.5, patience_seconds=60.0, wave_size=str(COUNT)
    ) as harbour:
        harbour.enrol(*people)
        for folder in people:
            teach(folder, rng)
        with ThreadPoolExecutor(1) as beside:
            round_held = beside.submit(harbour.command, "run-round")
            devices = [device(folder) for folder in people]
            while not round_held.done():
                if not sum(next(one) for one in devices):  # each has its turn
                    time.sleep(0.1)
        assert round_held.result()["outcome"] == "completed", harbour.said
        assert [found.people for found in sums(harbour)] == [COUNT]
    assert set(lost) == set(REPEATED)


def losing_answers(monkeypatch):
    """Let a connection break after the server did what was asked; count how often, by what was asked."""
    lost, asked = Counter(), Counter()

    def losing(name, plain):
        def ask(self, request):
            answer = plain(self, request)
            asked[name] += 1
            if asked[name] % 3 == 0:
                lost[name] += 1
                raise httpx.ReadError("the connection was closed")
            return answer

        return ask

    for name in REPEATED:
        monkeypatch.setattr(FleetHttpClient, name, losing(name, getattr(FleetHttpClient, name)))
    return lost


def test_a_scheduled_run_whose_server_app_is_killed_is_begun_anew(tmp_path):
    """The hour is this one, so a run begins with the server; its process is killed once it runs, and another comes."""
    quick = {"rounds__poll_seconds": 0.5, "patience_seconds": 300.0, "wave_size": str(COUNT)}
    harbour = Harbour(tmp_path, **quick)
    harbour.set(hours=[datetime.now(UTC).hour])
    people = [tmp_path / "people" / str(number) for number in range(COUNT)]
    rng = np.random.default_rng(3)
    with harbour:
        harbour.enrol(*people)
        for folder in people:
            teach(folder, rng)
        harbour.wait(lambda: server_apps(harbour), "a run begins")
        harbour.wait(lambda: latest_run(harbour)["status"] == "running", "the server app is connected")
        [first] = harbour.command("status")["runs"]
        for process in server_apps(harbour):
            os.kill(process, signal.SIGKILL)
        with running_devices(people, tmp_path / "nodes.log"):
            harbour.wait(lambda: sums(harbour), "a round is held all the same")
        assert [found.people for found in sums(harbour)] == [COUNT]
        runs = harbour.command("status")["runs"]
        assert runs[-1]["number"] == first["number"]
        assert runs[-1]["outcome"] == "failed"
        assert len(runs) == 2


def test_a_backup_restores_the_federation_and_its_devices_go_on(tmp_path):
    """As docs/operate.md says: the state folder is lost, and unpacked again; the SuperLink starts with nothing."""
    harbour = Harbour(tmp_path, rounds__poll_seconds=0.5, patience_seconds=120.0)
    people = [tmp_path / "people" / str(number) for number in range(8)]
    with harbour:
        harbour.enrol(*people, tmp_path / "lost")
        with Roster(harbour.state) as roster:
            lost = next(one for one in roster.devices() if one.identity == identity(tmp_path / "lost").public.hex())
        harbour.command("revoke", lost.identity)
        command = [sys.executable, "-m", "server", "backup", str(harbour.state), str(tmp_path / "b.tar.gz")]
        subprocess.run(command, env=surroundings(), check=True, capture_output=True)
    shutil.rmtree(harbour.state)
    harbour.state.mkdir()
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        archive.extractall(harbour.state, filter="data")
    rng = np.random.default_rng(4)
    for folder in people:
        teach(folder, rng)
    with harbour, running_devices(people, tmp_path / "nodes.log"):
        assert harbour.command("run-round")["outcome"] == "completed", harbour.said
        assert [found.people for found in sums(harbour)] == [8]
        with (
            pytest.raises(ConfigError, match="does not accept"),
            joined(read_membership(tmp_path / "lost"), app, node_config={}),
        ):
            pass


def test_devices_follow_a_signing_key_that_gave_way_to_another(tmp_path):
    """The server is stopped for it; afterwards each device has the fresh key pinned and is in the round as before."""
    harbour = Harbour(tmp_path, rounds__poll_seconds=0.5, patience_seconds=120.0)
    people = [tmp_path / "people" / str(number) for number in range(8)]
    rng = np.random.default_rng(5)
    with harbour:
        harbour.enrol(*people)
        before = harbour.operator
        for folder in people:
            teach(folder, rng)
    command = [sys.executable, "-m", "server", "keys", "rotate", str(harbour.state), "--yes"]
    subprocess.run(command, env=surroundings(), check=True, capture_output=True)
    assert harbour.operator != before
    with harbour:
        for folder in people:
            renew(folder)
            assert operator_key(folder).public_bytes_raw() == harbour.operator
        with running_devices(people, tmp_path / "nodes.log"):
            assert harbour.command("run-round")["outcome"] == "completed", harbour.said
        assert [found.people for found in sums(harbour)] == [8]


def told_of(harbour, people):
    """Give what all logs of a real server, its parts' and Flower's among them, have of anybody."""
    logs = [harbour.log, *(harbour.state / "log").iterdir(), *(harbour.state / "flower").rglob("*.log")]
    text = "\n".join(path.read_text(errors="replace") for path in logs)
    assert '"event": "a sum"' in text, "nothing was logged, so nothing was tested"
    secrets = {"planted-one", "planted-two", *(str(folder) for folder in people)}
    for folder in people:
        secrets |= {str(read_membership(folder).node), identity(folder).public.hex()}
    return sorted(secret for secret in secrets if secret in text)


def runs_log(harbour):
    path = harbour.state / "log" / RUNS_LOG
    return path.read_text() if path.exists() else ""


def latest_run(harbour):
    return harbour.command("status")["runs"][0]


def server_apps(harbour):
    port = str(read_config(harbour.state).inside.superlink)
    return [number for number, words in processes() if "flwr-serverapp" in words and port in words]


def all_back(harbour):
    parts = harbour.command("status")["parts"]
    back = all(part["pid"] and part["restarts"] >= 1 for part in parts)
    return back and listens(read_config(harbour.state).inside.superlink)  # a part runs before it answers


def left_over(harbour):
    """Every process that was started with something of this server's on its command line."""
    return [words for _, words in processes() if str(harbour.state) in words]


def processes():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield int(path.parent.name), path.read_bytes().decode(errors="replace")


def test_a_server_that_is_killed_leaves_nothing_running(tmp_path):
    harbour = Harbour(tmp_path)
    harbour.start()
    assert len(left_over(harbour)) >= 4
    harbour.stop(9)
    end = time.monotonic() + 60
    while left_over(harbour) and time.monotonic() < end:
        time.sleep(0.2)
    assert left_over(harbour) == []
    with harbour:
        with pytest.raises(ShoalError, match="another `shoal-server serve` runs"):
            raise ShoalError(second_serve(harbour))
        assert harbour.command("status")["online"] == 0
    assert left_over(harbour) == []


def second_serve(harbour):
    command = [sys.executable, "-m", "server", "serve", str(harbour.state)]
    found = subprocess.run(command, env=surroundings(), capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 1
    return found.stderr
