"""The words to the daemon, on the command line, and what programs read of it."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from client.activity import Activity, write_activity
from client.cli import main
from client.control import conditions, is_paused, watched
from client.daemon.telling import described, duration
from client.sparkline import sparkline
from client.vault import Concept, Vault


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "home"


@pytest.fixture
def shoal(capsys, home):
    """Run `shoal`; give its exit code and what it printed on both streams."""

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        told = capsys.readouterr()
        return ended.value.code, told.out, told.err

    return run


def learning(**changes):
    words = {"doing": "learning", "reason": "7 photos", "concept": "rex", "forwards": 30, "total_forwards": 60}
    return Activity(**{**words, "losses": (0.5, 0.4, 0.25), "seconds_left": 130.0, **changes})


def test_status_says_how_to_start_a_daemon_that_does_not_run(shoal):
    code, out, _ = shoal("status")
    assert code == 3
    assert "shoal service install" in out


def test_status_tells_how_a_learning_goes(shoal, home, tmp_path):
    shoal("watch", tmp_path, "--name", "rex", "--class", "dog")
    (tmp_path / "photos").mkdir()
    shoal("watch", tmp_path / "photos", "--name", "rex", "--class", "dog")
    write_activity(home, learning(problems=("skipped a.jpg: empty",), federation="online at Harbour"))
    code, out, _ = shoal("status")
    assert code == 0
    assert "learning <rex> for 0 s: 7 photos" in out
    assert "30 of 60 forwards, loss 0.2500 █▅▁, at most 2 min left" in out
    assert "! skipped a.jpg: empty" in out
    assert "federation: online at Harbour" in out
    assert f"watches {tmp_path / 'photos'} for <rex>" in out


def test_status_for_programs(shoal, home):
    taste = {"choices": 0, "decided": 0, "known": False, "learned": False}
    assert json.loads(shoal("status", "--json")[1]) == {
        "running": False, "paused": False, "activity": None, "watched": [], "taste": taste,
    }  # fmt: skip
    write_activity(home, learning())
    found = json.loads(shoal("status", "--json")[1])
    assert found["running"]
    assert found["activity"]["losses"] == [0.5, 0.4, 0.25]


def test_pause_and_resume(shoal, home):
    assert shoal("pause") == (0, "paused: `shoal resume` goes on\n", "")
    assert is_paused(home)
    assert "shoal service install" in shoal("resume")[1]
    assert not is_paused(home)


def test_folders_are_watched_listed_and_left(shoal, home, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    code, out, _ = shoal("watch", "photos", "--name", "rex", "--class", "dog")
    assert (code, watched(home)[0].folder) == (0, tmp_path / "photos")
    assert "everything in it is taken for <rex>" in out
    assert shoal("watch")[1] == f"<rex>  dog  {tmp_path / 'photos'}\n"
    assert json.loads(shoal("watch", "--json")[1])[0]["name"] == "rex"
    assert shoal("unwatch", "rex")[0] == 0
    assert "shoal watch" in shoal("unwatch", "rex")[2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["watch", "/nowhere/at/all", "--name", "rex", "--class", "dog"], "is no folder"),
        (["watch", "."], "--name my-dog"),
        (["watch", ".", "--name", "rex"], "needs a class"),
        (["conditions", "--hours", "late"], "22:00-07:00"),
        (["conditions", "--idle", "-1"], "0 to 1440"),
        (["forget", "rex", "--yes"], "shoal concepts"),
    ],
)
def test_what_cannot_be_done_ends_in_one_line_with_the_remedy(shoal, words, told):
    code, out, err = shoal(*words)
    assert (code, out) == (1, "")
    assert err.startswith("shoal: ")
    assert told in err


def test_conditions_are_shown_and_changed(shoal, home):
    code, out, _ = shoal("conditions", "--idle", "0", "--battery", "--hours", "22:00-07:00")
    assert code == 0
    assert "hours         22:00-07:00" in out
    found = conditions(home)
    assert (found.idle_minutes, found.on_power, found.hottest, found.hours) == (0, False, 85, "22:00-07:00")
    assert json.loads(shoal("conditions", "--hours", "", "--json")[1])["hours"] == ""


def test_the_vaults_protection_is_told_and_changed(shoal, home, tmp_path):
    assert "nothing is in the vault yet" in shoal("vault")[1]
    token = np.zeros(8, np.float32)
    words = {"name": "rex", "kind": "object", "class_word": "dog", "backbone": "ab", "loss": 1, "forwards": 9}
    Vault(home).save_concept(Concept(**words, anchor=token, token=token))
    assert "sealed by a key file" in shoal("vault")[1]
    assert json.loads(shoal("vault", "--protect", "file", "--file", tmp_path / "a.key", "--json")[1]) == {
        "vault": str(home / "vault.sqlite"),
        "protected_by": "file",
    }
    assert (tmp_path / "a.key").exists()
    assert json.loads(shoal("concepts", "--json")[1])[0]["name"] == "rex"
    assert json.loads(shoal("forget", "rex", "--yes", "--json")[1]) == {"forgot": "rex", "in_a_sum_since": None}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shoal, monkeypatch, shell):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    code, out, _ = shoal("--show-completion", shell)
    assert code == 0
    assert "_COMPLETE" in out


def test_time_is_told_as_people_tell_it():
    assert [duration(seconds) for seconds in (-1, 0.4, 59, 61, 3599, 3600, 11_000)] == [
        "0 s", "0 s", "59 s", "1 min", "1 h 0 min", "1 h 0 min", "3 h 3 min",
    ]  # fmt: skip


def test_a_daemon_that_waits_says_why():
    waiting = Activity(doing="waiting", reason="on battery: connect the charger", concept="rex", since=time.time() - 90)
    assert list(described(waiting, (), paused=False)) == ["waiting <rex> for 2 min: on battery: connect the charger"]


def test_a_curve_runs_from_high_to_low():
    assert sparkline([4, 3, 2, 1]) == "█▆▃▁"
    assert sparkline([]) == ""
    assert sparkline([1.0, 1.0]) == "▁▁"
    assert len(sparkline(range(1000))) == 24
