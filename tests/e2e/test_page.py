"""A whole first use of the page, in a real browser; and what another website can do to it, which is nothing."""

from __future__ import annotations

import http.server
import os
import threading
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from client.choices import Choices
from client.control import is_paused, watched
from client.course import Course
from client.taste.standing import Standing, standing
from client.vault import Vault
from simulations.browser import DESK, PHONE, browser, daemon, program, serving, shoal

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PATIENCE = 180
"""Seconds for anything on a busy machine."""
EVIL = Path(__file__).with_name("another-website.html")
REFUSED = "Failed to load resource: the server responded with a status of 400 (Bad Request)"
"""What the browser itself says of an answer that the page then explains."""
PAGES = ("/", "/concepts", "/concepts/my-fox", "/draw", "/choose", "/privacy", "/settings")


@pytest.fixture(scope="module", autouse=True)
def _browser_is_there():
    if program() is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed: .ci/run installs Debian's package chromium")
        pytest.skip("NO CHROMIUM IS INSTALLED, so the page was not tested in a browser: apt-get install chromium")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    with zipfile.ZipFile(ROOT / "simulations" / "data" / "held-out.zip") as archive:
        for name in archive.namelist():
            if name.startswith("object/animal/fox/"):
                (folder / Path(name).name).write_bytes(archive.read(name))
    return folder


@pytest.fixture(scope="module")
def taught(tmp_path_factory, photos):
    """A person's home in which a fox was learned."""
    home = tmp_path_factory.mktemp("taught") / "home"
    shoal(home, "learn", photos, "--name", "my-fox", "--class", "animal", "--forwards", 200)
    return home


@contextmanager
def looking(running, link, **how):
    """A page that was let in, and that fails the test when its script does or when something is fetched elsewhere."""
    context = running.new_context(viewport=how.pop("viewport", DESK), **how)
    page, wrong = context.new_page(), []
    context.set_default_timeout(1000 * PATIENCE)
    address = link.split("/enter")[0]
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: request.url.startswith((address, "data:")) or wrong.append(request.url))
    page.on("console", lambda told: told.type == "error" and told.text != REFUSED and wrong.append(told.text))
    page.goto(link)
    page.wait_for_url(f"{address}/")
    yield page, address
    context.close()
    assert wrong == []


def fresh_link(home):
    """What `shoal open` prints where the page is served already."""
    return shoal(home, "open", "--no-browser").stdout.strip()


def wait_for(question):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if question():
            return
        time.sleep(0.05)
    raise AssertionError("it never came to be")


def test_a_first_use_from_the_empty_page_to_forgetting(tmp_path, photos):
    home = tmp_path / "home"
    shoal(home, "conditions", "--idle", 0)
    with browser() as running, daemon(home, "--forwards", 200) as link, looking(running, link) as (page, address):
        assert "#" not in page.url
        pause_and_resume(page, home)
        watch_a_folder(page, photos, home)
        wait_for(lambda: [one.name for one in Vault(home).listed()] == ["my-fox"])
        page.goto(f"{address}/concepts/my-fox")
        page.get_by_text("what changes from picture to picture").wait_for()
        assert page.locator(".strip img").count() == len(Course(home).stages("my-fox")) >= 3
        draw(page)
        choose_and_take_back(page, home)
        set_a_budget_and_withdraw(page)
        forget(page, home)
        assert len(list(photos.iterdir())) == 7
        page.get_by_role("button", name="Lock the page here").click()
        page.get_by_role("heading", name="This page is locked").wait_for()
        page.goto(address)
        page.get_by_role("heading", name="This page is locked").wait_for()


def watch_a_folder(page, photos, home):
    page.get_by_label("Folder of photos").fill(str(photos / "nowhere"))
    page.get_by_label("Call it").fill("my-fox")
    page.get_by_label("It is a").fill("animal")
    page.get_by_role("button", name="Watch this folder").click()
    page.get_by_role("alert").get_by_text("is no folder").wait_for()
    page.get_by_label("Folder of photos").fill(str(photos))
    page.get_by_role("button", name="Watch this folder").click()
    page.get_by_role("link", name="my-fox").wait_for()
    assert [one.folder for one in watched(home)] == [photos]


def pause_and_resume(page, home):
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("heading", name="Nothing happens until you resume").wait_for()
    assert is_paused(home)
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Pause").wait_for()
    assert not is_paused(home)


def draw(page):
    page.get_by_role("link", name="Draw with it").click()
    page.get_by_label("What should it draw?").fill("a ")
    page.get_by_role("button", name="my-fox").click()
    page.keyboard.type(", ink style")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Pictures").fill("2")
    page.get_by_label("Steps").fill("6")
    page.get_by_label("What should it draw?").press("Enter")
    page.get_by_role("img", name="a <my-fox>, ink style, seed").nth(1).wait_for()
    assert page.locator("#orders img").evaluate_all("all => all.every(one => one.naturalWidth === 64)")


def choose_and_take_back(page, home):
    page.get_by_role("link", name="Choose").click()
    page.get_by_role("button", name="The left picture is better").wait_for()
    page.locator("#main").focus()
    page.keyboard.press("ArrowLeft")
    wait_for(lambda: [one.picked for one in Choices(home).all()] == ["first"])
    page.get_by_role("button", name="Take back the last").wait_for()
    page.keyboard.press("u")
    wait_for(lambda: Choices(home).all() == [])


def set_a_budget_and_withdraw(page):
    page.get_by_role("link", name="Privacy").click()
    page.get_by_role("heading", name="Nothing has left this device").wait_for()
    page.get_by_role("link", name="Change it").click()
    page.get_by_label("against a curious server").fill("1.5")
    page.locator("#budget").get_by_role("button", name="Keep").click()
    page.get_by_role("status").get_by_text("Kept").wait_for()
    page.get_by_role("button", name="Withdraw").click()
    page.get_by_role("dialog").get_by_role("button", name="Withdraw").click()
    page.get_by_text("You withdrew").wait_for()


def forget(page, home):
    page.get_by_role("button", name="Forget my-fox").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    assert [one.name for one in Vault(home).listed()] == ["my-fox"]
    page.get_by_role("button", name="Forget my-fox").click()
    page.get_by_role("dialog").get_by_role("button", name="Forget my-fox").click()
    page.get_by_text("Nothing is learned that could be forgotten").wait_for()
    assert Vault(home).listed() == []


def test_a_taste_is_learned_at_a_click_drawn_with_and_forgotten(tmp_path):
    home = tmp_path / "home"
    with browser() as running, serving(home) as link, looking(running, link) as (page, address):
        page.goto(f"{address}/choose")
        page.get_by_text("no choices yet").wait_for()
        page.get_by_role("button", name="The right picture is better").click()
        wait_for(lambda: standing(home).decided == 1)
        page.get_by_role("button", name="Neither").click()
        wait_for(lambda: standing(home).choices == 2)
        page.reload()
        page.locator("#taste").get_by_text("2 choices, 1 of them neither, not learned yet").wait_for()
        page.get_by_role("button", name="Learn my taste now").click()
        page.get_by_role("progressbar", name="Learned so far").wait_for()
        page.locator("#taste").get_by_text("2 choices, 1 of them neither, learned").wait_for()
        assert standing(home).learned
        page.get_by_role("button", name="The left picture is better").wait_for()
        page.screenshot(path=tmp_path / "choose.png", full_page=True)
        page.get_by_role("link", name="Draw with my taste").click()
        assert page.get_by_label("With my taste").is_checked()
        page.get_by_label("What should it draw?").fill("a castle")
        page.get_by_label("Pictures").fill("1")
        page.get_by_label("Steps").fill("6")
        page.get_by_label("What should it draw?").press("Enter")
        page.get_by_role("img", name="a castle, seed").wait_for()
        page.goto(f"{address}/choose")
        page.get_by_role("button", name="Forget my taste").click()
        page.get_by_role("dialog").get_by_role("button", name="Forget my taste").click()
        wait_for(lambda: standing(home) == Standing())
        page.get_by_text("no choices yet").wait_for()


def test_a_used_link_opens_nothing(taught):
    with browser() as running, serving(taught) as link:
        with looking(running, link):
            """The person comes in by it."""
        page = running.new_context().new_page()
        page.goto(link)
        page.get_by_role("alert").get_by_text("used already").wait_for()


@pytest.mark.parametrize("how", [{"color_scheme": "light"}, {"color_scheme": "dark", "viewport": PHONE}])
def test_people_who_cannot_see_it_can_use_it_and_it_fits_a_phone(taught, how):
    from axe_playwright_python.sync_playwright import Axe

    with browser() as running, serving(taught) as link, looking(running, link, **how) as (page, address):
        for path in PAGES:
            page.goto(f"{address}{path}")
            found = Axe().run(page).response["violations"]
            told = {one["id"]: [node["html"] for node in one["nodes"]] for one in found}
            assert told == {}, path
            assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), path
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.textContent") == "Skip to content"


@contextmanager
def second_origin(page):
    """A website of its own on another port, and the cookies that it is sent."""
    cookies = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            cookies.append(self.headers.get("cookie"))
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], cookies
        server.shutdown()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.example"])
def test_another_website_reads_and_triggers_nothing(taught, host):
    with browser() as running, serving(taught) as link, looking(running, link) as (page, address):
        page.goto(f"{address}/concepts/my-fox")
        page.get_by_text("what changes from picture to picture").wait_for()
        picture = page.locator(".strip img").first.get_attribute("src")
        evil = (
            EVIL.read_text().replace("TARGET", address).replace("PICTURE", picture.removeprefix(urlsplit(address).path))
        )
        with second_origin(evil) as (port, cookies):
            other = page.context.new_page()  # the same browser, with the same cookie
            other.goto(f"http://{host}:{port}/")
            wait_for(lambda: other.title() == "over")
            found = other.evaluate("window.found")
            other.close()
        assert not is_paused(taught)
        assert set(cookies) == {None}
        assert {found.pop(name) for name in ("frame", "form")} == {"closed"}
        assert found == dict.fromkeys(("read", "opaque", "simple", "json", "picture", "script"), "failed")
        page.goto(f"{address}/")  # it failed for where it came from, and not for want of a cookie
        page.get_by_role("button", name="Pause").click()
        wait_for(lambda: is_paused(taught))
        page.get_by_role("button", name="Resume").click()
        wait_for(lambda: not is_paused(taught))


def test_a_name_that_was_rebound_to_loopback_is_refused(taught):
    with browser() as running, serving(taught) as link:
        page = running.new_context().new_page()
        answer = page.goto(link.replace("127.0.0.1", "evil.example"))
        assert answer.status == 421


def test_opening_again_leads_to_the_page_that_runs(taught):
    with browser() as running, serving(taught) as first, looking(running, fresh_link(taught)) as (page, address):
        assert first.startswith(address)
        page.get_by_role("heading", name="The daemon does not run").wait_for()
