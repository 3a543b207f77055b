from __future__ import annotations

import shutil
import subprocess
import tomllib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from typer.testing import CliRunner

from common.errors import ConfigError
from server.certificates import make_certificates
from server.cli import app
from server.config import FILE, Config, Federation, Inside, rounds_keys
from server.service.proxy import write_proxy
from server.service.systemd import unit
from server.settings import RunSettings
from server.state import Beginning, prepare
from server.template import fill
from simulations.village import BACKBONE, public_basis

DEFAULTS = {"name": "a Shoal federation", "host": "localhost", "port": 8443, "listen": "0.0.0.0"}  # noqa: S104
INSIDE = {"superlink": 18443, "enrolment": 18444, "page": 18445}
TEXT = fill(**DEFAULTS, **INSIDE, backbone=BACKBONE)


def changed(old, new):
    assert TEXT.count(old) == 1
    return TEXT.replace(old, new)


def test_the_file_that_init_writes_is_the_defaults():
    found = Config.from_toml(TEXT, Path("/state"))
    assert found == Config(state=Path("/state"), rounds=tomllib.loads(TEXT)["rounds"])


def test_the_file_documents_every_key_of_a_run_at_its_default():
    assert set(tomllib.loads(TEXT)["rounds"]) == rounds_keys()
    found = Config.from_toml(TEXT, Path("/state")).run_settings(3)
    bare = {"state-folder": "/state", "backbone": BACKBONE, "public-basis": "/state/basis.npy", "rounds": 3}
    assert found == RunSettings.from_run_config(bare)


def test_every_key_has_a_comment_above_it():
    lines = TEXT.splitlines()
    bare = {
        line.partition(" = ")[0]
        for above, line in pairwise(lines)
        if " = " in line and not line.startswith("#") and not above.startswith("#")
    }
    # Explained together with the one before.
    assert bare == {"key", "enrolment", "page", "delta", "cohorts", "deadline-seconds", "patience-seconds"}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("hours = [2]", "hours = [24]", "schedule.hours"),
        ("hours = [2]", "hours = [2, 2]", "schedule.hours"),
        ("hours = [2]", 'hours = "2"', "schedule.hours"),
        ("port = 8443", "port = 0", "federation.port"),
        ("port = 8443", 'port = "8443"', "federation.port"),
        ("port = 8443", "port = true", "federation.port"),
        ("port = 8443", "prot = 8443", "prot"),
        ("page = 18445", "page = 18444", "inside"),
        ("[tls]", "[tsl]", "tsl"),
        ('certificate = ""', 'certificate = "x.pem"', "tls"),
        ('host = "localhost"', 'host = "a b"', "federation.host"),
        ('host = "localhost"', 'host = "https://x"', "federation.host"),
        ('listen = "0.0.0.0"', 'listen = "everywhere"', "federation.listen"),
        ("jitter-seconds = 60.0", "jitter-seconds = -1", "devices.jitter-seconds"),
        ("code-hours = 72.0", "code-hours = 0", "devices.code-hours"),
        ("minimum-people = 8", "minimum-poeple = 8", "minimum-poeple"),
        ("minimum-people = 8", "unprotected-simulation = true", "unprotected-simulation"),
        ("minimum-people = 8", "state-folder = '/x'", "state-folder"),
        ("[federation]", "federation = 3\n[other]", "federation|other"),
        ("[federation]", "[[[", "TOML"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(old, new, told):
    with pytest.raises(ConfigError, match=told):
        Config.from_toml(changed(old, new), Path("/state"))


def test_rounds_are_checked_before_anything_starts():
    with pytest.raises(ConfigError, match="minimum-people"):
        Config.from_toml(changed("minimum-people = 8", "minimum-people = 2"), Path("/s")).run_settings()


def prepared(folder, **inside):
    np.save(folder / "b.npy", public_basis().astype(np.float32))
    beginning = Beginning(
        federation=Federation(host="127.0.0.1"), inside=Inside(), backbone=BACKBONE, public_basis=folder / "b.npy"
    )
    return prepare(folder / "state", beginning)


def test_init_makes_what_is_missing_and_leaves_what_is_there(tmp_path):
    prepared(tmp_path)
    state = tmp_path / "state"
    before = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    assert {path.name for path in before} >= {FILE, "signing-key.pem", "superexec.secret", "basis.npy", "server.pem"}
    for path in before:
        if path.name != "basis.npy":
            assert path.stat().st_mode & 0o077 == 0, path
    prepared(tmp_path)
    assert before == {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}


def test_a_certificate_is_renewed_for_another_host_under_the_same_authority(tmp_path):
    make_certificates(tmp_path, "127.0.0.1")
    authority, first = (tmp_path / "authority.pem").read_bytes(), (tmp_path / "server.pem").read_bytes()
    make_certificates(tmp_path, "127.0.0.1")
    assert (tmp_path / "server.pem").read_bytes() == first
    make_certificates(tmp_path, "reef.example")
    found = x509.load_pem_x509_certificate((tmp_path / "server.pem").read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["reef.example"]
    assert (tmp_path / "authority.pem").read_bytes() == authority
    found.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))


def test_a_certificate_whose_key_was_lost_halfway_is_made_anew(tmp_path):
    make_certificates(tmp_path, "127.0.0.1")
    other = tmp_path / "other"
    make_certificates(other, "127.0.0.1")
    (tmp_path / "server.key").write_bytes((other / "server.key").read_bytes())
    before = (tmp_path / "server.pem").read_bytes()
    make_certificates(tmp_path, "127.0.0.1")
    assert (tmp_path / "server.pem").read_bytes() != before


def test_the_proxy_logs_and_forwards_no_address(tmp_path):
    text = write_proxy(prepared(tmp_path)).read_text()
    assert "access_log off;" in text
    assert "X-Forwarded" not in text
    assert "X-Real-IP" not in text
    assert text.count("access_log") == 1


@pytest.mark.parametrize(
    ("each", "said"),
    [
        (100, ["rate=100r/s", "burst=200 ", "limit_conn connections 256;", "rate=10r/m"]),
        (1000, ["rate=1000r/s", "burst=2000 ", "limit_conn connections 2000;", "rate=100r/m"]),
    ],
)
def test_the_proxy_serves_as_many_behind_one_address_as_it_is_told_of(tmp_path, each, said):
    config = prepared(tmp_path)
    text = write_proxy(replace(config, devices=replace(config.devices, from_one_address=each))).read_text()
    for words in said:
        assert words in text
    assert "keepalive_timeout 4s;" in text  # shorter than the SuperLink's five


def test_the_proxy_is_given_no_path_that_it_would_read_otherwise(tmp_path):
    folder = tmp_path / "a b;c"
    folder.mkdir()
    with pytest.raises(ConfigError, match="nginx cannot be given the path"):
        write_proxy(prepared(folder))


def test_the_unit_gives_the_capability_for_low_ports_only(tmp_path):
    low, high = (unit(tmp_path, "shoal", port=port, program=Path("/opt/x/shoal-server")) for port in (443, 8443))
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in low
    assert "CapabilityBoundingSet=\n" in high
    assert f'ExecStart="/opt/x/shoal-server" serve "{tmp_path}"' in high
    with pytest.raises(ConfigError, match="systemd cannot"):
        unit(tmp_path / 'a"b', "shoal", port=443)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_takes_the_unit(tmp_path):
    program = tmp_path / "shoal-server"
    program.touch(mode=0o755)
    path = tmp_path / "shoal-server.service"
    path.write_text(unit(tmp_path, "root", port=443, program=program))
    command = ["systemd-analyze", "verify", "--man=no", str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "shoal-server.service" not in found.stderr, found.stderr
    assert found.returncode == 0


def test_init_says_what_comes_next(tmp_path):
    found = CliRunner().invoke(app, ["init", str(tmp_path / "state"), "--host", "reef.example"])
    assert found.exit_code == 0, found.output
    assert "bootstrap" in found.output
    assert 'host = "reef.example"' in (tmp_path / "state" / FILE).read_text()
