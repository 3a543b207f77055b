from __future__ import annotations

import os
from pathlib import Path

import pytest

from client.service.plan import Plan, this_program
from common.errors import ConfigError


def test_the_command_is_the_daemon_of_this_person():
    plan = Plan(program=("/bin/shoal",), home=Path("/home/ann/state"))
    assert plan.command == ("/bin/shoal", "daemon", "--home", "/home/ann/state")
    assert Plan(program=("/x",), home=Path("/h"), model="m").command[-2:] == ("--model", "m")


@pytest.mark.parametrize("name", ["a\nExecStart=evil", "a\x1b[2J", "a\u2028b", os.fsdecode(b"caf\xe9")])
def test_what_could_end_a_line_or_is_no_text_is_refused(name):
    with pytest.raises(ConfigError, match="without control characters") as refused:
        Plan(program=("/bin/shoal",), home=Path("/home") / name)
    assert str(refused.value).isprintable()


def test_the_program_is_the_one_that_is_installed_beside_this_python(tmp_path):
    assert this_program(tmp_path / "python", "linux") == (str(tmp_path / "python"), "-P", "-m", "client")
    (tmp_path / "shoal").touch()
    assert this_program(tmp_path / "python", "linux") == (str(tmp_path / "shoal"),)


def test_on_windows_no_terminal_opens(tmp_path):
    assert this_program(tmp_path / "python.exe", "win32")[0] == str(tmp_path / "python.exe")
    (tmp_path / "pythonw.exe").touch()
    assert this_program(tmp_path / "python.exe", "win32") == (str(tmp_path / "pythonw.exe"), "-P", "-m", "client")
