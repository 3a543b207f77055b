"""The commands as a person types them, against a `systemctl` that only notes what it is asked."""

from __future__ import annotations

import pytest

from client.cli import main


@pytest.fixture
def machine(tmp_path, monkeypatch):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "systemctl").write_text(
        f'#!/bin/sh\necho "$@" >> "{tmp_path}/asked"\n'
        f'case "$*" in *restart*) touch "{tmp_path}/up";; *disable*) rm -f "{tmp_path}/up";;\n'
        f'*is-active*) test -e "{tmp_path}/up";; esac\n'
    )
    (tools / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config of mine"))
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "state of mine"))
    monkeypatch.delenv("SHOAL_MODEL", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    return tmp_path


def shoal(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return ended.value.code or 0, told.out + told.err


def test_a_whole_life(capsys, machine):
    file = machine / "config of mine" / "systemd" / "user" / "shoal.service"
    code, told = shoal(capsys, "service", "status")
    assert code == 1
    assert "not installed" in told
    code, told = shoal(capsys, "service", "install")
    assert code == 0
    assert f"wrote {file}" in told
    assert f'daemon" "--home" "{machine}/state of mine"' in file.read_text()
    assert (machine / "asked").read_text().splitlines()[-3:] == [
        "--user daemon-reload", "--user enable shoal.service", "--user restart shoal.service",
    ]  # fmt: skip
    code, told = shoal(capsys, "service", "status")
    assert code == 0
    assert "it is running" in told
    file.write_text(file.read_text() + "# mine\n")
    code, told = shoal(capsys, "service", "install")
    assert code == 1
    assert "changed by hand: --force" in told
    code, told = shoal(capsys, "service", "remove", "--force")
    assert code == 0
    assert "shoal.service.old" in told
    assert not file.exists()


def test_a_model_is_named_by_its_whole_path(capsys, machine, monkeypatch):
    (machine / "model").mkdir()
    monkeypatch.chdir(machine)
    assert shoal(capsys, "service", "install", "--model", "model")[0] == 0
    file = machine / "config of mine" / "systemd" / "user" / "shoal.service"
    assert f'"--model" "{machine}/model"' in file.read_text()
