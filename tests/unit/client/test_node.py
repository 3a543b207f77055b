"""The node over a link of functions; the real link is in tests/e2e/test_federation_deployment.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import httpx
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError
from flwr.supercore.task_identity import TaskIdentity

from client.app import UNFORESEEN
from client.node import UNKNOWN_APP, Node, _reason, attend

KNOWN = "ab" * 32


class Link:
    """A SuperLink's end: one message waits, what is sent is kept, and there is no way to ask for code."""

    def __init__(self, fab_hash=KNOWN, action="query.ready"):
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 7, 1
        self.message = Message(RecordDict({"fields": ConfigRecord({"a": 1})}), 5, action, ttl=60.0)
        self.known = SimpleNamespace(run_id=7, fab_hash=fab_hash, override_config={"people-folder": "/server/says"})
        self.waiting, self.sent, self.pushed, self.told = [self.message], [], [], []

    def run(self, number):
        assert number == 7
        return self.known

    def receive(self):
        return (self.waiting.pop(), SimpleNamespace(object_id="id")) if self.waiting else None

    def send(self, reply, _tree, seconds):
        self.sent.append(reply)
        self.told.append(seconds)
        return set(), "session"

    def push(self, _run, session, item, _content):
        assert session == "session"
        self.pushed.append(item)

    def pull(self, *_):
        raise AssertionError("the message is inflated already")

    confirm = pull
    node_id = 5

    def node(self, app, monkeypatch, bundles=frozenset({KNOWN})):
        monkeypatch.setattr("client.node.pull_and_inflate_object_from_tree", lambda *_, **__: self.message)
        return Node(self, app, {"state-folder": "/own"}, bundles)


@pytest.fixture
def seen():
    return []


@pytest.fixture
def app(seen):
    app = ClientApp()

    @app.query("ready")
    def ready(message, context):
        seen.append(context)
        return Message(RecordDict({"fields": ConfigRecord({"ready": True})}), reply_to=message)

    @app.query("fails")
    def fails(_message, _context):
        raise RuntimeError("the token is 0.123")

    return app


def test_a_message_is_answered_by_the_app_that_is_installed(app, seen, monkeypatch):
    link = Link()
    node = link.node(app, monkeypatch)
    assert node.turn()
    assert not node.turn()
    [reply] = link.sent
    assert dict(reply.content["fields"]) == {"ready": True}
    assert reply.metadata.reply_to_message_id == "id"
    assert reply.metadata.message_id == reply.object_id
    assert dict(seen[0].node_config) == {"state-folder": "/own"}


def test_nothing_of_a_runs_settings_reaches_the_app(app, seen, monkeypatch):
    Link().node(app, monkeypatch).turn()
    assert seen[0].run_config == {}


@pytest.mark.parametrize("fab_hash", ["cd" * 32, "", KNOWN.upper()])
def test_the_run_of_an_unknown_bundle_gets_nothing(app, seen, monkeypatch, fab_hash):
    link = Link(fab_hash)
    link.node(app, monkeypatch).turn()
    assert link.sent[0].error.reason == UNKNOWN_APP
    assert seen == []


@pytest.mark.parametrize("action", ["query.fails", "query.unheard_of"])
def test_of_an_unforeseen_failure_nothing_is_told(app, monkeypatch, action):
    link = Link(action=action)
    link.node(app, monkeypatch).turn()
    [reply] = link.sent
    assert reply.error.reason == UNFORESEEN
    assert "0.123" not in repr(reply.error)


def test_it_rests_only_when_there_is_nothing_to_do(app, monkeypatch):
    link, naps = Link(), []
    node = link.node(app, monkeypatch)
    attend(node, until=lambda: len(naps) == 2, sleep=naps.append, seconds=0.5)
    assert naps == [0.5, 0.5]
    assert len(link.sent) == 1


def test_a_message_that_is_withdrawn_meanwhile_is_answered_by_nothing(app, seen, monkeypatch):
    link = Link()
    node = link.node(app, monkeypatch)

    def gone(*_, **__):
        raise ObjectPullError("id", "the object could not be found.")

    monkeypatch.setattr("client.node.pull_and_inflate_object_from_tree", gone)
    assert node.turn()
    assert (seen, link.sent) == ([], [])
    assert not node.turn()


def test_how_long_an_answer_took_is_not_told(app, monkeypatch):
    """Flower asks for it; drawing noise and finding what is pending take as long as what is drawn and found."""
    link = Link()
    link.node(app, monkeypatch).turn()
    assert link.told == [0.0]


def test_a_run_is_asked_about_once(app, monkeypatch):
    link = Link()
    asked = []
    monkeypatch.setattr(link, "run", lambda number: asked.append(number) or link.known)
    node = link.node(app, monkeypatch)
    for _ in range(3):
        link.waiting = [link.message]
        assert node.turn()
    assert asked == [7]
    link.message.metadata.__dict__["_run_id"] = 8  # another run: it may be of another bundle
    link.waiting = [link.message]
    link.known = SimpleNamespace(run_id=8, fab_hash="ef" * 32, override_config={})
    node.turn()
    assert asked == [7, 8]
    assert link.sent[-1].error.reason == UNKNOWN_APP


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Wrong(datetime):
    """A device's clock that is some seconds fast."""

    fast = 0.0

    @classmethod
    def now(cls, _zone):
        return NOON + timedelta(seconds=cls.fast)


@pytest.mark.parametrize(
    ("status", "fast", "told"),
    [
        (401, 0.0, "does not accept this device"),
        (401, 3.0, "does not accept this device"),
        (401, 8.0, "clock is +8 s off"),
        (401, -400.0, "clock is -400 s off"),
        (412, 90.0, "clock is +90 s off"),
        (412, 0.0, "does not accept this device"),
        (500, 90.0, "answers 500"),
    ],
)
def test_a_wrong_clock_is_told_from_a_device_that_is_not_wanted(monkeypatch, status, fast, told):
    monkeypatch.setattr("client.node.datetime", type("Clock", (Wrong,), {"fast": fast}))
    assert told in _reason(httpx.Response(status, headers={"date": format_datetime(NOON, usegmt=True)}))


@pytest.mark.parametrize("date", [None, "noon", ""])
def test_a_server_that_does_not_say_what_time_it_is_is_no_reason_to_blame_the_clock(date):
    response = httpx.Response(401, headers={} if date is None else {"date": date})
    assert "does not accept this device" in _reason(response)
