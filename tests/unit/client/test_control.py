from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from client.control import conditions, is_paused, pause, resume, set_conditions, unwatch, watch, watched
from client.settings import FILE, Conditions, Watched, read_settings
from common.errors import ConfigError, VaultError


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def rex(tmp_path):
    (tmp_path / "Bilder von Rex").mkdir()
    return Watched(folder=tmp_path / "Bilder von Rex", name="rex", class_word="dog")


def test_pause_holds_until_it_is_taken_back(home):
    assert not is_paused(home)
    pause(home)
    pause(home)
    assert is_paused(home)
    resume(home)
    resume(home)
    assert not is_paused(home)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(VaultError, match=r"file.*--home"):
        pause(tmp_path / "file" / "home")


def test_folders_are_watched_and_no_longer(home, rex, tmp_path):
    style = Watched(folder=tmp_path, name="ink", kind="style")
    watch(home, rex)
    with pytest.raises(ConfigError, match="keep photos in a folder of their own"):
        watch(home, style)
    watch(home, Watched(folder=rex.folder, name="ink", kind="style"))
    assert [one.name for one in watched(home)] == ["rex", "ink"]
    assert watched(home)[0] == rex
    watch(home, Watched(folder=rex.folder, name="rex", class_word="hound"))
    assert {one.name: one.class_word for one in watched(home)} == {"rex": "hound", "ink": ""}
    assert unwatch(home, "rex")
    assert not unwatch(home, "rex")
    assert [one.name for one in watched(home)] == ["ink"]


def test_a_folder_that_is_not_there_is_not_watched(home, tmp_path):
    with pytest.raises(ConfigError, match="no folder"):
        watch(home, Watched(folder=tmp_path / "gone", name="rex", class_word="dog"))


def test_the_state_folder_itself_is_not_watched(home):
    home.mkdir()
    with pytest.raises(ConfigError, match="Shoal's own state"):
        watch(home, Watched(folder=home, name="rex", class_word="dog"))


def test_conditions_have_defaults_and_are_changed_one_at_a_time(home):
    assert conditions(home) == Conditions()
    set_conditions(home, hours="22:00-07:00")
    found = set_conditions(home, idle_minutes=0, on_power=False)
    assert found == conditions(home) == Conditions(idle_minutes=0, on_power=False, hours="22:00-07:00")
    assert found.span() == (22 * 60, 7 * 60)
    assert Conditions().span() is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"idle_minutes": -1}, "idle_minutes must be 0 to 1440"),
        ({"idle_minutes": float("nan")}, "idle_minutes must be"),
        ({"idle_minutes": True}, "must be a number"),
        ({"hottest": "hot"}, "must be a number, got 'hot'"),
        ({"on_power": 1}, "true or false"),
        ({"hours": "22-7"}, "22:00-07:00"),
        ({"moon": "full"}, r"conditions\.moon is not known"),
    ],
)
def test_what_means_nothing_is_refused_and_nothing_changes(home, changes, told):
    set_conditions(home, hottest=60)
    with pytest.raises(ConfigError, match=told):
        set_conditions(home, **changes)
    assert conditions(home).hottest == 60


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("condition = 3", "condition is not known"),
        ("conditions = 3", r"as \[conditions\]"),
        ("watch = 3", r"\[\[watch\]\]"),
        ("watch = [3]", r"\[\[watch\]\]"),
        ("[[watch]]\nname = 'rex'", "needs a folder and a name"),
        ("[[watch]]\nname = 'rex'\nfolder = 3", "needs a folder and a name"),
        ("[[watch]]\nname = 'rex'\nfolder = 'here'\nclass = 'dog'", "must be absolute"),
        ("[[watch]]\nname = 'Rex!'\nfolder = '/here'\nclass = 'dog'", "as in my-dog"),
        ("[[watch]]\nname = 'rex'\nfolder = '/here'\nkind = 'smell'", "object or style"),
        ("[[watch]]\nname = 'rex'\nfolder = '/here'", "needs a class"),
        ("[[watch]]\nname = 'rex'\nfolder = '/here'\nclas = 'dog'", r"watch\.clas is not known"),
        ("[[watch]]\nname = 'a'\nfolder = '/b'\nkind = 'style'\n" * 2, "two watched folders are called a"),
        ("[[[", "mend it"),
    ],
)
def test_a_file_that_cannot_be_understood_is_named_and_left_alone(home, rex, text, told):
    home.mkdir()
    (home / FILE).write_text(text)
    with pytest.raises(ConfigError, match=told) as raised:
        read_settings(home)
    assert FILE in str(raised.value)
    with pytest.raises(ConfigError):
        watch(home, rex)
    assert (home / FILE).read_text() == text


def test_what_a_person_writes_by_hand_is_read(home):
    home.mkdir()
    (home / FILE).write_text('[[watch]]\nname = "rex"\nfolder = "/photos"\nclass = "dog"\n[conditions]\nhottest = 70\n')
    assert read_settings(home).watched == (
        Watched(folder=read_settings(home).watched[0].folder, name="rex", class_word="dog"),
    )
    assert conditions(home) == Conditions(hottest=70)


def test_only_the_owner_can_read_which_folders_are_watched(home, rex):
    watch(home, rex)
    assert stat.S_IMODE((home / FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_two_programs_change_the_file_at_once_and_lose_nothing(home, rex):
    def add(number):
        watch(home, Watched(folder=rex.folder, name=f"n{number}", kind="style"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    assert len(watched(home)) == 24
