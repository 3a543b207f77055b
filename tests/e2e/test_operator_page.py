"""The operator's page in a real browser: by keyboard, on a desk and on a phone, light and dark, as a reader hears it.

Screenshots were looked at when it was made; here it is held to what a browser can tell: nothing wider than the screen,
no error on the console, nothing fetched from elsewhere, no finding of axe-core.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import numpy as np
import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.config import FILE
from server.keys import KEY_FILE
from server.registry import Registry
from server.rounds import Rounds
from server.settings import RunSettings
from server.web.app import create
from server.web.password import set_password
from simulations.bare import BACKBONE, CLIP, DIMENSIONS, KEY, WIDTH, Device, FakeTime
from simulations.browser import DESK, PHONE, browser, program
from simulations.memory import MemoryGrid

pytestmark = pytest.mark.slow

PASSWORD = "correct horse battery"  # noqa: S105 - a test's own


class Gone(Device):
    """Silent in one exchange."""

    silent = "train.masked"

    def __call__(self, message):
        return None if message.metadata.message_type == self.silent else super().__call__(message)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """Six rounds, real noise: one ended early, the last withheld."""
    folder, rng = tmp_path_factory.mktemp("state"), np.random.default_rng(5)
    (folder / KEY_FILE).write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / KEY_FILE).chmod(0o600)
    (folder / FILE).write_text(f'[rounds]\nbackbone = "{BACKBONE}"\nminimum-people = 8\ncohorts = 1\n')
    np.save(folder / "basis.npy", np.linalg.qr(rng.standard_normal((WIDTH, DIMENSIONS)))[0])
    settings = RunSettings(
        state_folder=folder, backbone=BACKBONE, public_basis=folder / "basis.npy", kinds=("object",), rounds=1,
        minimum_people=8, clip=(CLIP,), cohorts=1, epsilon=60.0, deadline_seconds=10.0, patience_seconds=30.0,
    )  # fmt: skip
    crowds = [
        [Device(x) for x in rng.normal(0.4, [0.7, 0.3, 0.1], (14, DIMENSIONS))] + [Gone(np.zeros(DIMENSIONS))]
        for _ in range(5)
    ]
    crowds[2] = [*crowds[2][:7], *(Gone(np.zeros(DIMENSIONS)) for _ in range(4))]
    crowds.append([Device(np.eye(DIMENSIONS)[0] * CLIP) for _ in range(14)])
    with Registry(settings.registry_url) as registry:
        for day, people in enumerate(crowds):
            time = FakeTime()
            noon = datetime(2025, 1, 1, 2, tzinfo=UTC) + timedelta(days=day)
            grid = MemoryGrid(dict(enumerate(people, start=1)))
            wall = lambda noon=noon, time=time: noon + timedelta(seconds=time.seconds)  # noqa: E731 - bound to this day
            Rounds(grid, settings, registry=registry, key=KEY, clock=time.clock, wall=wall).run()
        assert registry.rounds()[-1].state == "withheld"
    set_password(folder, PASSWORD)
    return folder


@pytest.fixture(scope="module")
def url(state):
    server = uvicorn.Server(uvicorn.Config(create(state), log_level="warning"))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="module")
def chromium():
    if program() is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed: .ci/run installs Debian's package chromium")
        pytest.skip("NO CHROMIUM IS INSTALLED, so the page was not tested in a browser: apt-get install chromium")
    with browser() as running:
        yield running


@contextmanager
def visit(chromium, url, **how):
    """Log in with the keyboard alone; afterwards nothing may have been fetched elsewhere or complained about."""
    context = chromium.new_context(**how)
    page, asked, complaints = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.set_default_timeout(60_000)
    page.goto(url)
    page.wait_for_function("document.activeElement.id === 'password'")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Overview").wait_for()
    yield page
    assert {urlsplit(one).netloc for one in asked} == {urlsplit(url).netloc}
    assert complaints == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_every_page_fits_the_screen_and_a_screen_reader(chromium, url, size, scheme):
    with visit(chromium, url, viewport=size, color_scheme=scheme) as page:
        version = page.get_by_role("link", name="Version").get_attribute("href")
        for path in ("/", "/rounds", version, "/priors/object/1"):
            page.goto(url + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
        page.goto(url + "/")
        for title in ("Participation by round", "Dropouts by exchange", "ε over time, object"):
            chart = page.get_by_role("img", name=title)
            assert chart.bounding_box()["width"] > 250
            assert chart.locator("rect, circle").count() > 0


def test_the_first_tab_leads_to_the_content_and_the_focus_is_seen(chromium, url):
    with visit(chromium, url, viewport=DESK) as page:
        page.goto(url + "/rounds")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "To the content"
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_charts_change_with_the_scheme(chromium, url):
    colours = set()
    for scheme in ("light", "dark"):
        with visit(chromium, url, viewport=DESK, color_scheme=scheme) as page:
            colours.add(page.evaluate("getComputedStyle(document.querySelector('svg rect')).fill"))
    assert len(colours) == 2


def test_a_withheld_round_is_decided_and_a_version_rolled_back_by_keyboard(chromium, url, state):
    """The last of this file: it changes the registry."""
    with visit(chromium, url, viewport=PHONE) as page:
        page.get_by_role("button", name="Accept it and publish").focus()
        page.keyboard.press("Enter")
        page.get_by_text("is withheld").wait_for(state="detached")
        page.get_by_role("link", name="Version").click()
        newest = page.get_by_role("navigation", name="Versions").get_by_role("link").all()
        newest[0].click()
        page.get_by_role("button", name="Roll back to version 1").focus()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name=f"version {len(newest) + 1}").wait_for()
        assert "rounds removed" in page.inner_text("main")
    with Registry(f"sqlite:///{state / 'registry.sqlite'}") as registry:
        assert len(registry.versions()) == len(newest) + 1
        assert "accepted" not in {entry.state for entry in registry.rounds()}
