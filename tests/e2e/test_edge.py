"""What a server shows to the outside, with real processes on loopback: the devices' interface, and to them alone."""

from __future__ import annotations

import os
import ssl
import time
from datetime import datetime, timedelta
from pathlib import Path

import flwr.supernode.node_auth_http_interceptor
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest, RegisterNodeFleetRequest
from flwr.proto.node_pb2 import Node as NodeProto
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.routers.runtime.router import router as runtime_router
from flwr.superlink.routers.control.router import router as control_router
from flwr.superlink.routers.fleet.router import router as fleet_router

from client.app import app
from client.doorstep import fetch_terms, trusting
from client.join import join
from client.membership import Membership, read_membership
from client.node import joined
from common.errors import ConfigError, ProtocolError
from common.invitation import Invitation, fingerprint, write_code
from server.config import read_config
from server.service.proxy import FLEET, find_proxy
from server.state import inner
from simulations.harbour import Harbour, running_devices
from simulations.village import BACKBONE

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
    with running_devices([tmp_path / "me"], tmp_path / "nodes.log") as process:
        process.kill()
        process.wait()
    began = time.monotonic()
    with joined(read_membership(tmp_path / "me"), app, node_config={}) as node:
        assert not node.turn()
    assert time.monotonic() - began < 30
