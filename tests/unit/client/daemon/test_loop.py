"""What the daemon does and what it leaves, without a model: its child processes are made up."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from client.activity import read_activity
from client.choices import Choice, Choices, Recipe
from client.control import pause, resume, set_conditions, unwatch, watch
from client.daemon import loop
from client.daemon.loop import AGAIN, NEXT
from client.daemon.subject import TASTE
from client.daemon.tried import last_tried
from client.settings import FILE, Watched
from client.taste.standing import NAME


def begin(turn, started):
    """A set is seen, settles and is learned."""
    turn()
    turn()
    assert len(started) == 1
    return started[0]


def test_a_new_set_is_learned_once(home, turn, started):
    pupil = begin(turn, started)
    assert (pupil.watched.name, pupil.photos.count) == ("rex", 1)
    assert read_activity(home).doing == "learning"
    pupil.code = 0
    turn()
    turn()
    assert len(started) == 1
    found = read_activity(home)
    assert (found.doing, found.reason) == ("waiting", "everything in the watched folders is learned")


def test_a_set_that_is_still_being_copied_waits(home, photos, turn, started, monkeypatch):
    monkeypatch.setattr(loop, "SETTLED", 1000.0)
    for i in range(3):
        (photos / f"more-{i}.jpg").write_bytes(b"b")
        assert turn() <= 1000
    assert started == []
    assert "being copied" in read_activity(home).reason


def test_a_set_that_changed_is_learned_again(home, photos, turn, started):
    begin(turn, started).code = 0
    turn()
    (photos / "2.jpg").write_bytes(b"b")
    turn()
    turn()
    assert len(started) == 2
    assert started[1].photos.count == 2
    assert read_activity(home).reason in {"the photos changed", "loading the model"}


def test_another_class_word_is_another_thing_to_learn(home, photos, turn, started):
    begin(turn, started).code = 0
    turn()
    watch(home, Watched(folder=photos, name="rex", class_word="hound"))
    turn()
    turn()
    assert [one.watched.class_word for one in started] == ["dog", "hound"]


def test_hidden_files_and_folders_are_no_photos(home, photos, turn, started):
    (photos / "1.jpg").rename(photos / ".1.jpg")
    (photos / "folder").mkdir()
    (photos / "circle").symlink_to(photos / "circle")
    turn()
    turn()
    assert started == []
    assert "the folder of <rex> holds no photos yet" in read_activity(home).problems


def test_pause_stops_a_learning_and_resume_takes_it_up(home, turn, started):
    pupil = begin(turn, started)
    pause(home)
    assert turn() == NEXT["stopping"]
    assert pupil.is_stopping
    pupil.code = 75
    assert turn() == NEXT["paused"]
    assert read_activity(home).doing == "paused"
    turn()
    assert len(started) == 1
    resume(home)
    turn()
    assert len(started) == 2
    assert last_tried(home, "rex") is None


@pytest.mark.parametrize(
    ("harm", "told"),
    [({"power": False}, "on battery"), ({"idle": 10.0}, "at the computer"), ({"degrees": 99.0}, "99 °C")],
)
def test_a_condition_that_ends_stops_a_learning_and_says_why(home, daemon, turn, started, harm, told):
    pupil = begin(turn, started)
    for name, value in harm.items():
        setattr(daemon.machine, name, value)
    turn()
    assert pupil.is_stopping
    pupil.code = 75
    turn()
    found = read_activity(home)
    assert (found.doing, found.concept) == ("waiting", "rex")
    assert told in found.reason
    assert len(started) == 1
    daemon.machine.power, daemon.machine.idle, daemon.machine.degrees = True, 1e6, 20.0
    turn()
    assert len(started) == 2


def test_nothing_begins_while_a_condition_does_not_hold(home, daemon, turn, started):
    set_conditions(home, hours="22:00-07:00")
    for _ in range(3):
        assert turn() <= NEXT["waiting"]
    assert started == []
    assert read_activity(home).reason == "outside the hours 22:00-07:00"


def test_a_set_that_changes_while_it_is_learned_begins_anew(photos, turn, started):
    pupil = begin(turn, started)
    (photos / "2.jpg").write_bytes(b"b")
    turn()
    turn()
    assert pupil.is_stopping
    pupil.code = 75
    turn()
    turn()
    assert [one.photos.count for one in started] == [1, 2]


def test_a_folder_that_is_watched_no_longer_is_learned_no_longer(home, turn, started):
    pupil = begin(turn, started)
    unwatch(home, "rex")
    turn()
    assert pupil.is_stopping
    pupil.code = 0
    turn()
    assert last_tried(home, "rex") is None
    assert "no folder is watched" in read_activity(home).reason


def test_photos_of_no_use_are_told_of_and_not_tried_again(home, photos, turn, started):
    pupil = begin(turn, started)
    pupil.problem, pupil.code = "no usable photo (1.jpg: the file is empty)", 65
    pupil.told = ["skipped 1.jpg: the file is empty", "learning from 0 photos"]
    turn()
    turn()
    assert len(started) == 1
    problems = read_activity(home).problems
    assert problems == ("<rex>: no usable photo (1.jpg: the file is empty)", "<rex>: skipped 1.jpg: the file is empty")
    (photos / "2.jpg").write_bytes(b"b")
    turn()
    turn()
    assert len(started) == 2


def test_a_child_that_died_is_told_of_and_tried_again_ever_later(home, turn, started, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: clock[0])
    turn()
    for times, seconds in enumerate([*AGAIN, AGAIN[-1]], start=1):
        clock[0] += 2
        turn()
        assert len(started) == times
        started[-1].code = -9
        turn()
        assert "perhaps for lack of memory" in read_activity(home).problems[0]
        clock[0] += seconds - 2
        turn()
        assert len(started) == times


def test_settings_that_cannot_be_read_are_told_of(home, turn, started):
    (home / FILE).write_text("[[[")
    turn()
    assert FILE in read_activity(home).reason
    assert started == []


def test_a_folder_that_is_gone_does_not_keep_others_from_being_learned(home, photos, tmp_path, turn, started):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "1.jpg").write_bytes(b"a")
    watch(home, Watched(folder=tmp_path / "disk", name="ink", kind="style"))
    photos.rename(tmp_path / "elsewhere")
    turn()
    turn()
    assert [one.watched.name for one in started] == ["ink"]
    assert "connect its disk" in read_activity(home).problems[0]


def test_trouble_is_told_once_and_outlived(home, daemon, started, monkeypatch):
    """As when the disk is full for a while."""
    said, ended, turns = [], threading.Event(), []

    def turn(_watcher):
        turns.append(1)
        if len(turns) == 4:
            ended.set()
            return 0.0
        raise OSError(28, "No space left on device")

    daemon.say = said.append
    monkeypatch.setattr(type(daemon), "turn", lambda _, watcher: turn(watcher))
    monkeypatch.setitem(loop.NEXT, "idle", 0.01)
    daemon.run(ended)
    assert len(turns) == 4
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert "No space left on device" in read_activity(home).reason


def test_the_end_pauses_what_is_under_way(daemon, turn, started):
    pupil = begin(turn, started)
    ended = threading.Event()
    ended.set()
    daemon.run(ended)
    assert pupil.is_stopping
    assert pupil.ended


def test_how_a_learning_goes_is_in_view(home, turn, started):
    pupil = begin(turn, started)
    pupil.forwards, pupil.total, pupil.losses, pupil.first, pupil.seconds_left = 30, 60, [0.5, 0.25], (0.0, 3), 12.0
    pupil.told = ["skipped broken.jpg: the file is empty", "learning from 1 photo"]
    turn()
    found = read_activity(home)
    assert (found.doing, found.concept, found.forwards, found.total_forwards) == ("learning", "rex", 30, 60)
    assert (found.losses, found.seconds_left) == ((0.5, 0.25), 12.0)
    assert found.problems == ("skipped broken.jpg: the file is empty",)


@pytest.fixture
def chosen(home, photos, monkeypatch):
    """Choices that nobody watches a folder beside."""
    monkeypatch.setattr(loop, "CHOSEN", 0.0)
    unwatch(home, "rex")
    recipe = Recipe(prompt="a house", seed=1, steps=2, guidance=1.0, backbone="ab" * 32)

    def choose():
        return Choices(home).record(Choice(first=recipe, second=replace(recipe, seed=2), picked="first"))

    choose()
    return choose


def test_choices_are_learned_as_the_taste_once(home, daemon, turn, started, chosen):
    pupil = begin(turn, started)
    assert pupil.watched is TASTE
    assert TASTE.name == NAME
    found = read_activity(home)
    assert (found.doing, found.concept) == ("learning", "taste")
    pupil.first = (0.0, 1)
    turn()
    assert read_activity(home).reason == "1 choice"
    pupil.code = 0  # and yet not learned: they are of a model that is no longer used
    turn()
    turn()
    assert len(started) == 1
    assert last_tried(home, NAME) is not None
    chosen()
    turn()
    turn()
    assert len(started) == 2


def test_somebody_who_is_still_choosing_is_waited_for(home, daemon, turn, started, chosen, monkeypatch):
    monkeypatch.setattr(loop, "CHOSEN", 1000.0)
    for _ in range(3):
        assert turn() <= 1000
        chosen()
    assert started == []
    assert "choosing" in read_activity(home).reason


def test_what_waits_says_why_and_nothing_of_what_does_not(home, photos, turn, started, chosen, monkeypatch):
    monkeypatch.setattr(loop, "CHOSEN", 1000.0)
    watch(home, Watched(folder=photos, name="rex", class_word="dog"))
    begin(turn, started).code = 0
    turn()
    chosen()
    turn()
    assert read_activity(home).reason.startswith("you are choosing between pictures: ")
    (photos / "2.jpg").write_bytes(b"b")
    turn()
    turn()
    started[1].code = 1
    turn()
    assert read_activity(home).reason == "what failed is tried again later"  # sooner than choosing is over
    monkeypatch.setattr(loop, "SETTLED", 0.5)
    watch(home, Watched(folder=photos, name="rob", class_word="dog"))
    turn()
    assert read_activity(home).reason == "photos are still being copied"


def test_choices_wait_for_conditions_and_for_photos_and_stop_as_photos_do(home, daemon, photos, turn, started, chosen):
    daemon.machine.power = False
    turn()
    turn()
    assert started == []
    assert (read_activity(home).concept, read_activity(home).reason) == ("taste", "on battery: connect the charger")
    watch(home, Watched(folder=photos, name="rex", class_word="dog"))
    turn()
    daemon.machine.power = True
    turn()
    assert [one.watched.name for one in started] == ["rex"]
    started[0].code = 0
    turn()
    assert [one.watched.name for one in started] == ["rex", "taste"]
    chosen()
    turn()
    assert not started[1].is_stopping  # what was chosen meanwhile is learned next
    pause(home)
    turn()
    assert started[1].is_stopping


def test_what_failed_with_choices_is_told_and_tried_again(home, turn, started, chosen):
    pupil = begin(turn, started)
    pupil.code, pupil.problem = 1, "the model is missing: name one with --model"
    turn()
    turn()
    assert len(started) == 1
    assert any("the model is missing" in one for one in read_activity(home).problems)
