"""The operator's page over ASGI: who gets in, what is shown, what is decided, and that forms are the session's own."""

from __future__ import annotations

import logging
import re
import stat
from datetime import UTC, datetime

import numpy as np
import pytest
from flwr.app import Error, Message
from starlette.testclient import TestClient

from common.errors import ConfigError
from common.privacy import Mechanism
from server.books import Round
from server.config import FILE
from server.registry import Registry
from server.rounds import Rounds, load_basis
from server.web import password, sessions
from server.web.app import create
from simulations.bare import BACKBONE, CLIP, DIMENSIONS, KEY, Device, FakeTime, crowd
from simulations.memory import MemoryGrid

PASSWORD = "correct horse battery"  # noqa: S105 - a test's own


@pytest.fixture
def state(settings, tmp_path, sign_key):
    (tmp_path / FILE).write_text(
        f'[rounds]\nbackbone = "{BACKBONE}"\nkinds = "object"\nminimum-people = 3\ncohorts = 1\n', encoding="utf-8"
    )
    return tmp_path


@pytest.fixture
def hold(settings, registry):
    time = FakeTime()

    def run(people):
        grid = MemoryGrid(dict(enumerate(people, start=1)))
        Rounds(grid, settings, registry=registry, key=KEY, clock=time.clock, wall=time.wall).run()
        time.sleep(3600.0)

    return run


@pytest.fixture
def visitor(state):
    with TestClient(create(state), base_url="http://127.0.0.1:18445") as client:
        yield client


@pytest.fixture
def operator(state, visitor):
    password.set_password(state, PASSWORD)
    assert visitor.post("/login", data={"password": PASSWORD}).url.path == "/"
    return visitor


def poison(count):
    return [Device(np.eye(DIMENSIONS)[0] * CLIP) for _ in range(count)]


def token(page):
    return re.search(r'name="token" value="([0-9a-f]+)"', page.text)[1]


@pytest.mark.parametrize("path", ["/", "/rounds", "/priors/object/1", "/nowhere"])
def test_nobody_sees_anything_without_the_password(state, visitor, hold, path):
    hold(crowd(5))
    password.set_password(state, PASSWORD)
    answer = visitor.get(path, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "people" not in answer.text
    assert visitor.post("/rounds/r/accept", follow_redirects=False).headers["location"] == "/login"


def test_without_a_password_set_nobody_gets_in(visitor):
    assert "shoal-server password" in visitor.get("/login").text
    assert visitor.post("/login", data={"password": ""}).status_code == 403


def test_a_wrong_password_is_refused_and_after_ten_nobody_is_listened_to(state, visitor, monkeypatch):
    password.set_password(state, PASSWORD)
    monkeypatch.setattr("server.web.app.is_password", lambda _, found: found == PASSWORD)
    for _ in range(sessions.GUESSES):
        assert visitor.post("/login", data={"password": "wrong"}).status_code == 403
    assert visitor.post("/login", data={"password": PASSWORD}).status_code == 429


def test_the_password_itself_is_nowhere_and_the_file_is_the_owners(state):
    password.set_password(state, PASSWORD)
    path = state / password.FILE
    assert PASSWORD not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert password.is_password(state, PASSWORD)
    assert not password.is_password(state, PASSWORD + "r")
    with pytest.raises(ConfigError, match="at least 12"):
        password.set_password(state, "short")
    path.write_text("{}")
    with pytest.raises(ConfigError, match="set the password anew"):
        password.is_password(state, PASSWORD)


def test_the_front_page_shows_rounds_costs_and_versions(operator, hold):
    hold(crowd(5))
    hold(crowd(6, seed=2))
    page = operator.get("/").text
    for text in ("Version 2", "11 people", "Participation by round", "Dropouts by exchange", "ε over time", "no noise"):
        assert text in page
    version = operator.get("/priors/object/2").text
    for text in ("Spectrum of all people against the noise floor", "Against version 1", "100 %", "mean moved by"):
        assert text in version
    assert "Roll back to version 1" in operator.get("/priors/object/1").text
    assert operator.get("/rounds").text.count("<tr>") == 3


def test_an_empty_registry_has_pages_too(operator):
    assert "No prior yet" in operator.get("/").text
    assert "None yet" in operator.get("/rounds").text


def test_a_withheld_round_is_accepted_on_the_page(operator, hold, registry):
    hold(crowd(8))
    hold(poison(8))
    page = operator.get("/")
    assert "does not look like people" in page.text
    name = registry.rounds()[-1].round_id
    assert operator.post(f"/rounds/{name}/accept", data={"token": token(page)}).status_code == 200
    assert registry.rounds()[-1].state == "accepted"
    assert "Version 2" in operator.get("/").text


def test_a_withheld_round_is_rejected_on_the_page(operator, hold, registry):
    hold(crowd(8))
    hold(poison(8))
    page = operator.get("/")
    operator.post(f"/rounds/{registry.rounds()[-1].round_id}/reject", data={"token": token(page)})
    assert registry.rounds()[-1].state == "rejected"
    assert "withheld" not in operator.get("/").text


def test_a_rollback_on_the_page_is_a_new_version(operator, hold):
    hold(crowd(5))
    hold(crowd(6, seed=2))
    page = operator.get("/priors/object/1")
    after = operator.post("/priors/object/rollback", data={"token": token(page), "version": "1"})
    assert after.url.path == "/priors/object/3"
    assert "rounds removed" in after.text
    wrong = operator.post("/priors/object/rollback", data={"token": token(page), "version": "9"})
    assert (wrong.status_code, "no earlier version 9" in wrong.text) == (409, True)


@pytest.mark.parametrize("found", ["", "0" * 64])
def test_a_form_of_another_site_changes_nothing(operator, hold, registry, found):
    hold(crowd(8))
    hold(poison(8))
    name = registry.rounds()[-1].round_id
    assert operator.post(f"/rounds/{name}/accept", data={"token": found}).status_code == 403
    assert registry.rounds()[-1].state == "withheld"


def test_another_name_for_this_machine_gets_nothing(state, operator):
    """DNS rebinding: a site whose name points here sends its own name along."""
    assert operator.get("/", headers={"host": "evil.example"}).status_code == 400


def test_pages_load_nothing_from_elsewhere_and_run_no_script(operator, hold):
    hold(crowd(5))
    for path in ("/", "/rounds", "/priors/object/1", "/login"):
        answer = operator.get(path)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', answer.text)
        assert "<script" not in answer.text
        assert " style=" not in answer.text


def test_cookies_are_for_this_site_alone_and_logging_out_ends_the_session(operator):
    answer = operator.post("/login", data={"password": PASSWORD}, follow_redirects=False)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    kept = operator.cookies[sessions.COOKIE]
    operator.post("/logout")
    operator.cookies.set(sessions.COOKIE, kept)
    assert operator.get("/", follow_redirects=False).status_code == 303


def test_what_a_device_made_up_is_escaped(operator, settings):
    mechanism = Mechanism(length=6, scale=1.0, share_variance=1, modulus_bits=16)
    moment = datetime.now(UTC)
    done = Round(
        round_id="r", kind="object", backbone=BACKBONE, public_basis=load_basis(settings.public_basis),
        state="aborted", exchange="train.keys", called=1, people=0, total=None, clip=1.0, mechanism=mechanism,
        noise_variance=0.0, prior_version=0, started=moment, ended=moment, reason="<img src=x>",
        dropouts={"train.keys <b>": 1},
    )  # fmt: skip
    with Registry(settings.registry_url) as registry:
        registry.record_round(done)
    assert "<img" not in operator.get("/rounds").text
    assert "<b>" not in operator.get("/").text.replace("<b>Participation", "").replace("<b>Dropouts", "").replace(
        "<b>ε", ""
    )


def test_metrics_are_counts_and_name_nobody(visitor, hold):
    class Failing(Device):
        def masked(self, _):
            return None

    class Inventive(Device):
        def __call__(self, message):
            if message.metadata.message_type != "train.keys":
                return super().__call__(message)
            return Message(Error(code=2, reason="my_name_is_ann"), reply_to=message)

    hold([*crowd(8), Failing(np.zeros(DIMENSIONS)), Inventive(np.zeros(DIMENSIONS))])
    found = visitor.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain")
    for line in (
        'shoal_rounds_total{kind="object",state="done"} 1.0',
        'shoal_contributions_total{kind="object"} 8.0',
        'shoal_dropouts_total{cause="silent",exchange="masked",kind="object"} 1.0',
        'shoal_dropouts_total{cause="error",exchange="keys",kind="object"} 1.0',
        'shoal_prior_version{kind="object"} 1.0',
        'shoal_epsilon_together{kind="object"} +Inf',
        "shoal_rounds_open 0.0",
    ):
        assert line in found.text, found.text
    assert "ann" not in found.text


def test_the_page_logs_nothing_about_who_asks(operator, caplog):
    caplog.set_level(logging.DEBUG, logger="server")
    operator.post("/login", data={"password": "wrong and secret"})
    assert "wrong and secret" not in caplog.text
