"""What a server shows to the outside, with real processes on loopback: the devices' interface, and to them alone."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import sys
import tarfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import flwr.supernode.node_auth_http_interceptor
import httpx
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest, RegisterNodeFleetRequest
from flwr.proto.node_pb2 import Node as NodeProto
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.routers.runtime.router import router as runtime_router
from flwr.superlink.routers.control.router import router as control_router
from flwr.superlink.routers.fleet.router import router as fleet_router
from flwr.supernode.fleet_http_client import FleetHttpClient

from client.app import app
from client.doorstep import fetch_terms, trusting
from client.identity import identity, operator_key
from client.join import join, renew
from client.membership import Membership, read_membership
from client.node import joined
from common.errors import ConfigError, ProtocolError, ShoalError
from common.invitation import Invitation, fingerprint, write_code
from server.config import read_config
from server.registry import Registry
from server.roster import Roster
from server.service.parts import ORDER, listens
from server.service.proxy import FLEET, find_proxy
from server.service.supervisor import RUNS_LOG
from server.state import inner
from simulations.harbour import Harbour, surroundings
from simulations.nodes import device
from simulations.village import BACKBONE, public_basis, teach

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_proxy() is None and "CI" not in os.environ, reason="no nginx: apt install nginx-light"),
]


@pytest.fixture(scope="module")
def harbour(tmp_path_factory):
    with Harbour(tmp_path_factory.mktemp("harbour"), from_one_address=1000) as harbour:  # all tests' devices are at one
        yield harbour


def yes(_terms, _operator):
    return True


def outside(harbour):
    _, terms, _ = fetch_terms(harbour.url, fingerprint(harbour.operator))
    return httpx.Client(base_url=harbour.url, verify=trusting(terms), timeout=60)


def paths(router):
    return {route.path for route in router.routes}


def test_flower_has_the_interfaces_that_are_shut_here():
    assert "/v1/control/start-run" in paths(control_router)
    assert any(path.endswith("acquire-task") for path in paths(runtime_router))
    assert {f"/v1/fleet/{name}" for name in FLEET} < paths(fleet_router)


def test_nothing_but_the_devices_interface_is_there(harbour):
    shut = paths(control_router) | paths(runtime_router) | {"/", "/docs", "/openapi.json", "/health", "/v1/shoal"}
    shut |= paths(fleet_router) - {f"/v1/fleet/{name}" for name in FLEET}
    shut |= {
        "/v1/fleet/../control/list-runs",
        "/v1/fleet/%2e%2e/control/list-runs",
        "/v1/fleet/pull-messages/../../control/list-runs",
        "/v1/fleet/pull-messages/",
        "//v1/control/list-runs",
        "/V1/CONTROL/LIST-RUNS",
        "/v1/fleet/pull-messages%0a",
    }
    with outside(harbour) as client:
        for path in sorted(shut):
            for method in ("GET", "POST"):
                assert client.request(method, httpx.URL(harbour.url).copy_with(raw_path=path.encode())).status_code in {
                    400,
                    404,
                }, path


def test_the_inside_listens_on_loopback_alone(harbour):
    inside = read_config(harbour.state).inside
    listening = {}
    lines = [line for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    for line in lines:
        address, state = line.split()[1], line.split()[3]
        if state == "0A":
            host, port = address.split(":")
            listening.setdefault(int(port, 16), set()).add(host)
    assert listening[inside.superlink] == {"0100007F"}
    assert listening[inside.enrolment] == {"0100007F"}


def test_a_stranger_is_not_let_in(harbour, tmp_path):
    """With keys of its own, through the proxy: it cannot register, be activated, or ask for messages."""
    harbour.enrol(tmp_path / "member")
    member = read_membership(tmp_path / "member")
    stranger = Membership(terms=member.terms, node=member.node, key=ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(ConfigError, match="does not accept"), joined(stranger, app, node_config={}):
        pass
    key = b"key"
    requests = {
        "register-node": (404, RegisterNodeFleetRequest(public_key=key)),
        "activate-node": (401, ActivateNodeRequest(public_key=key, heartbeat_interval=30)),
        "pull-messages": (401, PullMessagesRequest(node=NodeProto(node_id=member.node))),
    }
    headers = {"content-type": "application/protobuf"}
    with outside(harbour) as client:
        for name, (status, request) in requests.items():
            found = client.post(f"/v1/fleet/{name}", content=request.SerializeToString(), headers=headers)
            assert found.status_code == status, name


def test_nobody_claims_a_task_without_the_secret_even_inside(harbour):
    request = AcquireTaskRequest().SerializeToString()
    [path] = [path for path in paths(runtime_router) if path.endswith("acquire-task")]
    headers = {"content-type": "application/protobuf"}
    with outside(harbour) as client:
        assert client.post(path, content=request, headers=headers).status_code == 404
    config = read_config(harbour.state)
    context = ssl.create_default_context(cafile=str(inner(config).authority))
    found = httpx.post(
        f"https://127.0.0.1:{config.inside.superlink}{path}", content=request, headers=headers, verify=context
    )
    assert found.status_code in {401, 403}, found.text


def test_a_code_is_good_for_one_device(harbour, tmp_path):
    code = harbour.code("one")
    assert join(tmp_path / "first", harbour.url, code, yes).backbone == BACKBONE
    assert join(tmp_path / "first", harbour.url, code, yes) is not None  # an answer may have been lost
    with pytest.raises(ConfigError, match="does not know this code"):
        join(tmp_path / "second", harbour.url, code, yes)
    assert not (tmp_path / "second" / "membership.json").exists()


def test_a_code_that_expired_or_never_was_lets_nobody_in(harbour, tmp_path):
    short = harbour.command("enroll", "--hours", 1e-7)[0]["code"]
    never = write_code(Invitation(fingerprint(harbour.operator), b"0123456789"))
    for number, code in enumerate((short, never)):
        with pytest.raises(ConfigError, match="does not know this code"):
            join(tmp_path / str(number), harbour.url, code, yes)


def test_a_code_of_another_operator_is_noticed_before_anything_is_sent(harbour, tmp_path):
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(ProtocolError, match="not the operator of your code"):
        join(tmp_path / "me", harbour.url, write_code(Invitation(fingerprint(other), b"0123456789")), yes)
    assert not (tmp_path / "me").exists()


def test_who_does_not_agree_sends_nothing(harbour, tmp_path):
    code = harbour.code()
    assert join(tmp_path / "me", harbour.url, code, lambda _terms, _operator: False) is None
    assert not (tmp_path / "me").exists()
    assert join(tmp_path / "you", harbour.url, code, yes) is not None  # it was not spent


def test_a_device_gets_in_by_its_key_file(harbour, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = write_code(Invitation(fingerprint(harbour.operator)))
    with pytest.raises(ConfigError, match="has not let this device in yet"):
        join(tmp_path / "me", harbour.url, code, yes)
    harbour.command("enroll", "--key", tmp_path / "device-key.json", "--label", "by-file")
    join(tmp_path / "me", harbour.url, code, yes)
    with joined(read_membership(tmp_path / "me"), app, node_config={}) as node:
        assert not node.turn()


def test_a_revoked_device_is_out_at_once(harbour, tmp_path):
    folder = tmp_path / "me"
    code = harbour.code("lost-phone")
    join(folder, harbour.url, code, yes)
    with pytest.raises(ConfigError, match="does not accept this device"):
        look_and_be_revoked(harbour, folder)
    with (
        pytest.raises(ConfigError, match="does not accept this device"),
        joined(read_membership(folder), app, node_config={}),
    ):
        pass
    with pytest.raises(ConfigError, match="revoked"):
        join(folder, harbour.url, code, yes)


def look_and_be_revoked(harbour, folder):
    with joined(read_membership(folder), app, node_config={}) as node:
        assert not node.turn()
        assert harbour.command("revoke", "lost-phone")["at_the_superlink"] is True
        node.turn()


@pytest.mark.parametrize("seconds", [10, -400])
def test_a_device_whose_clock_is_wrong_is_told_so(harbour, tmp_path, monkeypatch, seconds):
    """By the time that stands in the real server's refusal of a signature from the future, or from long ago."""
    harbour.enrol(tmp_path / "me")
    now = flwr.supernode.node_auth_http_interceptor.now
    monkeypatch.setattr("flwr.supernode.node_auth_http_interceptor.now", lambda: now() + timedelta(seconds=seconds))

    class Clock(datetime):
        @classmethod
        def now(cls, zone):
            return datetime.now(zone) + timedelta(seconds=seconds)

    monkeypatch.setattr("client.node.datetime", Clock)
    with (
        pytest.raises(ConfigError, match=f"clock is [{'+' if seconds > 0 else '-'}][0-9]+ s off the server's"),
        joined(read_membership(tmp_path / "me"), app, node_config={}),
    ):
        pass


def test_a_device_that_was_killed_is_back_at_once(harbour, tmp_path):
    """Flower would otherwise refuse it until its heartbeats lapse."""
    harbour.enrol(tmp_path / "me")
    with running_nodes(tmp_path, [tmp_path / "me"]) as process:
        process.kill()
        process.wait()
    began = time.monotonic()
    with joined(read_membership(tmp_path / "me"), app, node_config={}) as node:
        assert not node.turn()
    assert time.monotonic() - began < 30


@contextmanager
def running_nodes(tmp_path, folders):
    log = tmp_path / "nodes.log"
    command = [sys.executable, "-m", "simulations.nodes", *(str(folder) for folder in folders)]
    with log.open("ab") as file:
        process = subprocess.Popen(command, env=surroundings(), stdout=file, stderr=file)
    try:
        end = time.monotonic() + 120
        while b"nodes are up" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end
            time.sleep(0.2)
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        process.wait()


def sums(harbour):
    with Registry(f"sqlite:///{harbour.state / 'registry.sqlite'}") as registry:
        return registry.sums(BACKBONE, "object", public_basis())


COUNT = 9


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
        running.enter_context(running_nodes(tmp_path, people))
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
    assert set(lost) == {"PushMessages", "PushObject", "PullObject", "ConfirmMessageReceived", "GetRun"}


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

    for name in ("PushMessages", "PushObject", "PullObject", "ConfirmMessageReceived", "GetRun"):
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
        with running_nodes(tmp_path, people):
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
    with harbour, running_nodes(tmp_path, people):
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
        with running_nodes(tmp_path, people):
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
