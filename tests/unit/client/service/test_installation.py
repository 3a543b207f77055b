from __future__ import annotations

import plistlib
from pathlib import Path

import pytest

from client.service import installation as service
from client.service.here import Machine, installation
from client.service.installation import install, remove, run, state
from client.service.plan import Plan
from common.errors import ConfigError


class System:
    """Plays systemd, launchd and the Windows scheduler, in so far as they are asked."""

    def __init__(self):
        self.asked, self.up, self.task, self.failing = [], False, b"", None

    def __call__(self, words):
        self.asked.append(words)
        line = " ".join(words)
        if self.failing and self.failing in line:
            return 1, b"Failed to connect to bus:\n No medium found"
        for verb in ("restart", "bootstrap", "/Run"):
            self.up = self.up or verb in words
        for verb in ("disable", "bootout", "/End"):
            self.up = self.up and not (verb in words or verb in line)
        if "/Create" in words:
            self.task = b"<normalised>" + Path(words[5]).read_bytes()
        if "/Delete" in words:
            self.task = b""
        if "/Query" in words:
            return (0, self.task) if self.task else (1, b"no such task")
        is_question = any(part in line for part in ("is-active", "launchctl print", "Get-ScheduledTask"))
        return (0 if self.up else 3, b"") if is_question else (0, b"")


@pytest.fixture
def system():
    return System()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "my state"


@pytest.fixture(params=["linux", "darwin", "win32"])
def ours(request, tmp_path, home):
    plan = Plan(program=("/opt/my shoal/shoal",), home=home)
    machine = Machine(
        platform=request.param, person="ann", folder=tmp_path / "ann", environment={}, number=501, namespaces=True
    )
    return installation(plan, machine)


def test_it_is_installed_started_and_removed_without_a_trace(ours, home, system, tmp_path):
    assert state(ours, home, system) == "absent"
    told = install(ours, home, run=system)
    assert told[0] == f"wrote {ours.file}"
    assert ours.file.read_bytes() == ours.content
    assert system.up
    assert state(ours, home, system) == "ours"
    told = remove(ours, home, run=system)
    assert "concepts and settings stay" in told[-1]
    assert not system.up
    assert state(ours, home, system) == "absent"
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
    assert remove(ours, home, run=system) == ["it is not installed"]


def test_doing_it_twice_does_nothing_the_second_time(ours, home, system):
    install(ours, home, run=system)
    before = ours.file.stat().st_mtime_ns
    asked = len(system.asked)
    assert install(ours, home, run=system) == ["it is installed and running already"]
    assert ours.file.stat().st_mtime_ns == before
    assert not any(verb in words for words in system.asked[asked:] for verb in ("restart", "bootstrap", "/Create"))


def test_one_that_does_not_run_is_started_again(ours, home, system):
    install(ours, home, run=system)
    system.up = False
    install(ours, home, run=system)
    assert system.up
    assert state(ours, home, system) == "ours"


def test_a_newer_plan_replaces_the_older_one(ours, home, system, tmp_path):
    install(ours, home, run=system)
    newer = service.Installation(
        file=ours.file, content=ours.content + b"\n", start=ours.start, stop=ours.stop, running=ours.running,
        registered=ours.registered,
    )  # fmt: skip
    install(newer, home, run=system)
    assert ours.file.read_bytes() == newer.content
    assert state(newer, home, system) == "ours"


@pytest.mark.parametrize("act", [install, remove])
def test_what_was_changed_by_hand_stays_unless_forced_and_then_a_copy_does(ours, home, system, act):
    install(ours, home, run=system)
    mine = ours.content + b"\n"
    ours.file.write_bytes(mine)
    assert state(ours, home, system) == "changed"
    with pytest.raises(ConfigError, match="changed by hand: --force"):
        act(ours, home, run=system)
    assert ours.file.read_bytes() == mine
    told = act(ours, home, force=True, run=system)
    copy = ours.file.with_name(ours.file.name + ".old")
    assert told[0] == f"kept what was there as {copy}"
    assert copy.read_bytes() == mine
    assert state(ours, home, system) == ("ours" if act is install else "absent")


def test_a_file_of_someone_else_is_not_taken_for_ours(ours, home, system):
    ours.file.parent.mkdir(parents=True)
    ours.file.write_bytes(b"theirs")
    assert state(ours, home, system) == "foreign"
    with pytest.raises(ConfigError, match="not installed by this Shoal"):
        install(ours, home, run=system)
    assert ours.file.read_bytes() == b"theirs"


def test_a_task_that_was_changed_in_the_scheduler_counts_as_changed(tmp_path, home, system):
    machine = Machine(platform="win32", person="ann", folder=tmp_path, environment={"USERDOMAIN": "PC"}, number=0)
    ours = installation(Plan(program=("C:\\shoal.exe",), home=home), machine)
    assert "PC\\ann" in ours.content.decode("utf-16")
    install(ours, home, run=system)
    system.task += b"<Hidden>true</Hidden>"
    assert state(ours, home, system) == "changed"


def test_a_lost_record_is_no_harm_where_the_file_is_what_would_be_written(tmp_path, home, system):
    machine = Machine(platform="linux", person="ann", folder=tmp_path, environment={}, number=501, namespaces=True)
    ours = installation(Plan(program=("/shoal",), home=home), machine)
    install(ours, home, run=system)
    (home / service.RECORD).unlink()
    assert state(ours, home, system) == "ours"
    assert install(ours, home, run=system) == ["it is installed and running already"]


def test_a_system_that_refuses_is_quoted_and_the_next_try_goes_on(ours, home, system):
    system.failing = " ".join(ours.start[-1])
    with pytest.raises(ConfigError, match="Failed to connect to bus: No medium found"):
        install(ours, home, run=system)
    system.failing = None
    assert state(ours, home, system) == "ours"
    install(ours, home, run=system)
    assert system.up


def test_a_place_that_cannot_be_written_is_named(ours, home, system, tmp_path):
    (tmp_path / "ann").write_text("no folder")
    (tmp_path / "my state").write_text("no folder")
    with pytest.raises(ConfigError, match="mend that and try again"):
        install(ours, home, run=system)


def test_nothing_is_written_where_nothing_could_start_it(ours, home, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="by means of your own"):
        install(ours, home)
    assert list(tmp_path.iterdir()) == []


def test_a_system_without_the_command_says_what_to_do():
    with pytest.raises(ConfigError, match="means of your own"):
        run(("/nowhere/systemctl", "--user"))
    assert run(("sh", "-c", "echo out; echo err >&2; exit 3")) == (3, b"out\nerr\n")


def test_every_system_has_its_place(tmp_path):
    plan = Plan(program=("/shoal",), home=tmp_path / "state")

    def place(platform, **environment):
        machine = Machine(
            platform=platform,
            person="ann",
            folder=Path("/home/ann"),
            environment=environment,
            number=7,
            namespaces=True,
        )
        return installation(plan, machine).file

    assert place("linux") == Path("/home/ann/.config/systemd/user/shoal.service")
    assert place("linux", XDG_CONFIG_HOME="/etc/ann") == Path("/etc/ann/systemd/user/shoal.service")
    assert place("darwin") == Path("/home/ann/Library/LaunchAgents/shoal.daemon.plist")
    assert place("win32") == tmp_path / "state" / "service.xml"
    with pytest.raises(ConfigError, match="android"):
        place("android")


def test_a_system_without_namespaces_is_told_of(tmp_path, home, system):
    machine = Machine(platform="linux", person="ann", folder=tmp_path, environment={}, number=7, namespaces=False)
    told = install(installation(Plan(program=("/shoal",), home=home), machine), home, run=system)
    assert "less confined" in told[-1]


def test_the_agent_of_macos_is_read_in_for_this_person(tmp_path, home, system):
    machine = Machine(platform="darwin", person="ann", folder=tmp_path, environment={}, number=501)
    ours = installation(Plan(program=("/shoal",), home=home), machine)
    install(ours, home, run=system)
    assert ("launchctl", "bootstrap", "gui/501", str(ours.file)) in system.asked
    assert plistlib.loads(ours.file.read_bytes())["ProgramArguments"][0] == "/shoal"
