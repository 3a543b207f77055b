from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from client.service.plan import Plan
from client.service.systemd import namespaces_allowed, unit
from common.errors import ConfigError


def parsed(text):
    """Read a unit as systemd does, in so far as ours needs it: sections, keys that repeat."""
    sections, section = {}, None
    for line in text.splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, value = line.split("=", 1)
            section.setdefault(key, []).append(value)
    return sections


def words(value):
    """Undo quoting and specifiers (systemd.syntax(7), systemd.unit(5))."""
    found = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r'"((?:[^"\\]|\\.)*)"', value)]
    return [word.replace("%%", "%") for word in found]


def test_the_unit_runs_the_daemon_and_writes_only_where_it_may(plan):
    service = parsed(unit(plan, namespaces=True))["Service"]
    assert service["ExecStart"][0].startswith(":")  # no variables
    assert words(service["ExecStart"][0]) == list(plan.command)
    assert words(service["ReadWritePaths"][0]) == [str(plan.home)]
    assert words(service["Environment"][0]) == [f"FLWR_HOME={plan.home}/flower"]
    wanted = {
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "read-only",
        "PrivateUsers": "yes",
        "MemoryMax": "60%",
        "UMask": "0077",
        "Restart": "on-failure",
    }
    assert {key: service[key] for key in wanted} == {key: [value] for key, value in wanted.items()}


def test_it_starts_with_the_session():
    sections = parsed(unit(Plan(program=("/bin/shoal",), home=Path("/h")), namespaces=True))
    assert list(sections) == ["Unit", "Service", "Install"]
    assert sections["Install"] == {"WantedBy": ["default.target"]}


def test_a_standard_parser_reads_it_too(plan):
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read_string(unit(plan, namespaces=True))
    assert parser["Service"]["NoNewPrivileges"] == "yes"


def test_without_user_namespaces_it_still_is_as_confined_as_can_be(plan):
    service = parsed(unit(plan, namespaces=False))["Service"]
    for impossible in (
        "PrivateUsers",
        "ProtectSystem",
        "ProtectHome",
        "PrivateTmp",
        "PrivateDevices",
        "ReadWritePaths",
    ):
        assert impossible not in service
    for possible in ("NoNewPrivileges", "SystemCallFilter", "MemoryMax", "UMask", "RestrictAddressFamilies"):
        assert possible in service


@pytest.mark.parametrize(
    ("setting", "value", "allowed"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", False),
        ("kernel/apparmor_restrict_unprivileged_userns", "0", True),
        ("kernel/unprivileged_userns_clone", "0", False),
        ("kernel/unprivileged_userns_clone", "1", True),
        ("user/max_user_namespaces", "0", False),
        ("user/max_user_namespaces", "15000", True),
    ],
)
def test_what_the_kernel_says_of_user_namespaces(tmp_path, setting, value, allowed):
    assert namespaces_allowed(tmp_path)
    (tmp_path / setting).parent.mkdir()
    (tmp_path / setting).write_text(value + "\n")
    assert namespaces_allowed(tmp_path) is allowed


@pytest.fixture
def analyze(tmp_path):
    """Ask systemd itself about a unit; it has to run the program that the unit names."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    (tmp_path / "run").mkdir(mode=0o700)

    def ask(text, *arguments):
        (tmp_path / "shoal.service").write_text(text)
        command = ["systemd-analyze", *arguments, str(tmp_path / "shoal.service")]
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run"), "NO_COLOR": "1", "SYSTEMD_PAGER": ""}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        return done.returncode, done.stdout + done.stderr

    return ask


@pytest.mark.parametrize("folder", ["plain", "with space", "100% $HOME %h", "é犬"])
@pytest.mark.parametrize("namespaces", [True, False])
def test_systemd_accepts_it_and_finds_the_program(tmp_path, analyze, folder, namespaces):
    program = tmp_path / folder / "shoal"
    program.parent.mkdir()
    odd = tmp_path / "q\"u'o\\te $HOME %h"
    plan = Plan(program=(str(program),), home=odd / "home", model=str(odd))
    code, told = analyze(unit(plan, namespaces=namespaces), "verify", "--user")
    assert code == 1
    assert f"{program} is not executable: No such file" in told
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert analyze(unit(plan, namespaces=namespaces), "verify", "--user") == (0, "")


@pytest.mark.parametrize("character", ['"', "'", "\\"])
def test_a_program_that_systemd_would_never_start_is_named(character):
    with pytest.raises(ConfigError, match="quote or backslash"):
        unit(Plan(program=(f"/home/a{character}b/shoal",), home=Path("/h")), namespaces=True)


def test_systemd_would_say_so_if_a_setting_were_wrong(tmp_path, analyze):
    plan = Plan(program=("/bin/true",), home=tmp_path)
    text = unit(plan, namespaces=True).replace("ProtectSystem=strict", "ProtectSystem=strickt")
    assert "strickt" in analyze(text, "verify", "--user")[1]


def test_systemd_finds_it_little_exposed(tmp_path, analyze):
    """Its score runs from 0, all shut, to 10; a unit without any confinement gets 9.6."""
    plan = Plan(program=("/bin/true",), home=tmp_path)
    code, told = analyze(unit(plan, namespaces=True), "security", "--offline=true", "--threshold=40")
    assert code == 0, told
    assert analyze(unit(plan, namespaces=False), "security", "--offline=true", "--threshold=40")[0] != 0
