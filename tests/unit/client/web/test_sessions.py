import pytest

from client.web.sessions import LINK_SECONDS, SESSION_SECONDS, Sessions


class Clock:
    now = 1e9

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def timed(tmp_path, clock):
    return Sessions(tmp_path, clock)


def test_a_link_works_once(timed):
    code = timed.new_link()
    cookie = timed.redeem(code)
    assert timed.knows(cookie)
    assert timed.redeem(code) is None


def test_a_link_is_for_now_and_a_browser_for_a_month(timed, clock):
    late, soon = timed.new_link(), timed.new_link()
    cookie = timed.redeem(soon)
    clock.now += LINK_SECONDS
    assert timed.redeem(late) is None
    assert timed.knows(cookie)
    clock.now += SESSION_SECONDS
    assert not timed.knows(cookie)


def test_what_was_made_up_is_not_known(timed):
    code = timed.new_link()
    cookie = timed.redeem(timed.new_link())
    for wrong in ("", "x", "../../address.json", code, cookie[:-1], cookie + "\x00", "\udcff", "é" * 500):
        assert not timed.knows(wrong)
    assert timed.redeem(cookie) is None


def test_a_browser_that_left_is_not_let_in(timed):
    cookie = timed.redeem(timed.new_link())
    timed.end(cookie)
    assert not timed.knows(cookie)


def test_the_folder_does_not_hold_what_opens_the_page(timed, tmp_path):
    code = timed.new_link()
    cookie = timed.redeem(timed.new_link())
    for file in tmp_path.rglob("*"):
        told = file.name + (file.read_text() if file.is_file() else "")
        assert code not in told
        assert cookie not in told


def test_old_ones_are_cleared_away(timed, clock, tmp_path):
    timed.new_link()
    clock.now += LINK_SECONDS + 1
    timed.new_link()
    assert len(list((tmp_path / "page" / "links").iterdir())) == 1


def test_the_place_stays_and_is_nobody_elses(timed, tmp_path):
    place = timed.place()
    assert timed.place() == place
    assert Sessions(tmp_path / "other", timed.clock).place() != place
    assert len(place) == 17
    assert (tmp_path / "page" / "place").stat().st_mode & 0o077 == 0
