"""The images without an engine: their files are checked, and their steps done in a clean environment of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml

from common.errors import ConfigError
from server.config import Federation, Inside, read_config
from server.health import ailing
from server.service.supervisor import PARTS_FILE
from server.state import Beginning, prepare
from simulations.harbour import free_ports
from simulations.images import build, steps

ROOT = Path(__file__).parents[2]
NOT_RUNNING = 3
"""Exit code of `shoal status`."""
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path):
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint HAS NO WHEEL HERE, so nothing was linted")
    found = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_images_are_pinned_run_as_nobody_special_and_say_how_they_are(path):
    found = steps(path)
    bases = [rest.split()[0] for word, rest in found if word == "FROM"]
    own = {rest.split()[-1] for word, rest in found if word == "FROM" and " AS " in rest} | {"${BUILD}"}
    assert all(re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+-[a-z-]+", base) for base in bases if base not in own)
    words = [word for word, _ in found]
    last = len(words) - 1 - words[::-1].index("FROM")
    assert {"USER", "HEALTHCHECK", "ENTRYPOINT"} <= set(words[last:])
    [user] = [rest for word, rest in found if word == "USER"]
    assert int(user) > 1000


def test_no_secret_gets_into_a_build():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = {word for path in FILES for kind, rest in steps(path) if kind == "COPY" for word in rest.split()[:-1]}
    assert copied == let_in


def test_every_service_is_confined():
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["user"].split(":")[0]) > 0, name
        assert "healthcheck" in service or service["image"] == "shoal-client", name
        image = service["image"]
        assert image.startswith("shoal-") or re.search(r":v?\d+\.\d+", image), name


def test_one_port_is_published_and_the_server_shares_one_loopback():
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert published == {"proxy": ["8443:8443"]}
    for name in ("superlink", "superexec", "server", "postgres", "prometheus"):
        assert COMPOSE["services"][name]["network_mode"] == "service:proxy", name


def test_compose_runs_every_part_once():
    commands = [service.get("command") or [] for service in COMPOSE["services"].values()]
    only = [part for command in commands if "--only" in command for part in command[-1].split(",")]
    assert sorted(only) == sorted(["superlink", "superexec", "enrolment", "page", "proxy", "runs"])


def test_compose_understands_its_file():
    program = shutil.which("docker-compose")
    if program is None:
        if "CI" in os.environ:
            pytest.fail("docker-compose is not installed: .ci/run installs Debian's package")
        pytest.skip("docker-compose IS NOT INSTALLED, so the file was read by us alone: apt install docker-compose")
    found = subprocess.run(
        [program, "-f", str(ROOT / "docker" / "compose.yaml"), "config", "-q"],
        env={**os.environ, "SHOAL_BACKBONE": "ab" * 32}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr


def test_health_says_what_is_not_up(tmp_path):
    outer, *inside = free_ports(4)
    names = dict(zip(("superlink", "enrolment", "page"), inside, strict=True))
    config = prepare(tmp_path, Beginning(federation=Federation(port=outer), inside=Inside(**names)))
    assert ailing(config, []) == ["serve"]
    assert ailing(config, ["superexec"]) == ["superexec"]
    parts = [{"name": "superexec", "pid": 7, "restarts": 0}, {"name": "superlink", "pid": 8, "restarts": 0}]
    (tmp_path / PARTS_FILE).write_text(json.dumps(parts))
    assert ailing(config, []) == ["superlink"]  # it does not listen
    assert ailing(config, ["superexec"]) == []
    with pytest.raises(ConfigError):
        read_config(tmp_path / "elsewhere")


@pytest.fixture
def folder():
    """One that the images' own users may enter, as those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="shoal-image-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.slow
def test_the_servers_image_is_built_of_what_it_copies_and_starts(folder):
    """As its own user, in what its steps install and with its own variables; see `simulations.images`."""
    image = build(ROOT / "docker" / "server.Dockerfile", folder)
    code, said, complained = image.run([*image.entry, "init", "/state", "--host", "127.0.0.1", "--json"])
    assert code == 0, complained
    assert json.loads(said)["config"] == str(image.home / "shoal-server.toml")
    # As CMD says; without a backbone it must say so, and nothing else may be amiss.
    code, _, complained = image.run([*image.entry, *image.words])
    assert code == 1
    assert "backbone" in complained
    assert "Traceback" not in complained
    code, _, complained = image.run(image.health)
    assert (code, complained.strip()) == (1, "not up: serve")


@pytest.mark.slow
def test_the_clients_image_is_built_of_what_it_copies_and_its_daemon_runs(folder):
    """The same for a device: its daemon comes up, is healthy, answers its own commands, and ends when told to."""
    image = build(ROOT / "docker" / "client.Dockerfile", folder)
    daemon = image.started([*image.entry, *image.words])
    try:
        end = time.monotonic() + 120
        while (found := image.run([*image.entry, "status", "--json"]))[0] == NOT_RUNNING:
            assert daemon.poll() is None, daemon.communicate()
            assert time.monotonic() < end
        code, said, complained = found
        assert code == 0, complained
        assert json.loads(said)["running"] is True
        code, said, complained = image.run(image.health)
        assert code == 0, complained
        assert json.loads(said)
    finally:
        daemon.terminate()
        _, complained = daemon.communicate(timeout=60)
    assert daemon.returncode == 0, complained
    assert "Traceback" not in complained
    owners = {path.stat().st_uid for path in image.home.rglob("*")}
    assert owners == {image.user if os.geteuid() == 0 else os.getuid()}
