"""The images without an engine: their files are checked, and their steps done in a clean environment of their own."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml

from common.errors import ConfigError
from server.config import Federation, Inside, read_config
from server.health import ailing
from server.service.supervisor import PARTS_FILE
from server.state import Beginning, prepare
from simulations.harbour import free_ports

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())


def steps(path):
    """Give a Dockerfile's instructions as (word, rest), lines that go on joined."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [line.split(None, 1) for line in text.splitlines()]


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
        pytest.skip("docker-compose IS NOT INSTALLED, so the file was read by us alone")
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


@pytest.mark.slow
def test_the_servers_image_is_built_of_what_it_copies_and_starts(tmp_path):
    """COPY and `RUN pip` are done as written, in an empty folder and a fresh environment; apt and accounts are not."""
    source = tmp_path / "source"
    source.mkdir()
    bare = {"PATH": f"{tmp_path / 'venv' / 'bin'}:/usr/bin:/bin"}
    venv.create(tmp_path / "venv", with_pip=True)
    for word, rest in steps(ROOT / "docker" / "server.Dockerfile"):
        if word == "COPY":
            copy(rest.split(), source)
        elif word == "RUN" and rest.startswith("pip "):
            subprocess.run(
                shlex.split(rest), cwd=source, env={**os.environ, **bare, "PYTHONPATH": ""}, check=True, timeout=600
            )
        elif word == "ENV":
            bare |= dict(pair.split("=", 1) for pair in rest.split())
        elif word in {"ENTRYPOINT", "CMD"}:
            bare[word] = json.dumps(json.loads(rest))
    bare["HOME"] = str(tmp_path)
    shutil.rmtree(source)  # what runs is what was installed
    entry, words = json.loads(bare.pop("ENTRYPOINT")), json.loads(bare.pop("CMD"))
    state = tmp_path / "state"
    started = [entry[0], "init", str(state), "--host", "127.0.0.1", "--json"]
    found = subprocess.run(started, cwd=tmp_path, env=bare, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout)["config"] == str(state / "shoal-server.toml")
    # As CMD says, but for the path; without a backbone it must say so, and nothing else may be amiss.
    words = [str(state) if word == "/state" else word for word in words]
    found = subprocess.run([*entry, *words], cwd=tmp_path, env=bare, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "backbone" in found.stderr
    assert "Traceback" not in found.stderr
    health = next(rest for word, rest in steps(ROOT / "docker" / "server.Dockerfile") if word == "HEALTHCHECK")
    check = [str(state) if word == "/state" else word for word in json.loads(health.split("CMD ", 1)[1])]
    found = subprocess.run(check, cwd=tmp_path, env=bare, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr.strip()) == (1, "not up: serve")


def copy(words, target):
    *sources, place = words
    for name in sources:
        path = ROOT / name
        to = target / (name if place == "./" else place)
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, to, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(path, to)
