"""The inbox over a SuperLink of functions; the real one is in tests/e2e/test_survival.py."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.serde import message_to_proto
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid

from server.exchange import exchange
from server.inbox import Inbox
from simulations.bare import FakeTime


class SuperLink:
    """Replies are announced at once, each once; their parts are there when they are put into `parts`."""

    def __init__(self):
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 7, 1
        self.announced, self.parts, self.gone, self.confirmed, self.asked, self.fetched = [], {}, set(), [], [], 0

    def announce(self, question, says, *, sent=True):
        message = Message(RecordDict({"fields": ConfigRecord(says)}), 5, "query.ready", ttl=60.0)
        message.metadata.__dict__["_reply_to_message_id"] = question
        message.metadata.__dict__["_message_id"] = message.object_id
        with no_object_id_recompute():
            self.announced.append((message_to_proto(message), get_object_tree(message)))
            parts = {item: part.deflate() for item, part in get_all_nested_objects(message).items()}
        if sent:
            self.parts.update(parts)
        return parts

    def PullMessages(self, request):  # noqa: N802 - Flower's name
        self.asked.append(set(request.message_ids))
        found, self.announced = self.announced, []
        return SimpleNamespace(
            messages_list=[one for one, _ in found], message_object_trees=[tree for _, tree in found]
        )

    def PullObject(self, request):  # noqa: N802 - as above
        self.fetched += 1
        content = self.parts.get(request.object_id, b"")
        found = request.object_id not in self.gone
        return SimpleNamespace(object_found=found, object_available=bool(content), object_content=content)

    def ConfirmMessageReceived(self, request):  # noqa: N802 - as above
        self.confirmed.append(request.message_object_id)


@pytest.fixture
def superlink(monkeypatch):
    link = SuperLink()
    monkeypatch.setattr(HttpGrid, "_runtime_client", link)
    return link


@pytest.fixture
def grid(superlink):
    assert superlink
    grid = HttpGrid(token="no secret")  # noqa: S106 - it is none
    grid.set_run(Run.create_empty(run_id=7))
    return grid


def said(message):
    return dict(message.content["fields"])


def test_a_reply_that_does_not_come_holds_up_nobody_and_is_taken_when_it_comes(superlink, grid):
    inbox = Inbox(grid)
    late = superlink.announce("one", {"a": 1}, sent=False)
    superlink.announce("two", {"a": 2})
    found = inbox.look({"one", "two"})
    assert {question: said(reply) for question, reply in found.items()} == {"two": {"a": 2}}
    assert inbox.look({"one"}) == {}
    superlink.parts.update(dict(list(late.items())[1:]))  # some, not all
    assert inbox.look({"one"}) == {}
    superlink.parts.update(late)
    assert said(inbox.look({"one"})["one"]) == {"a": 1}
    assert superlink.asked == [{"one", "two"}]  # what was announced is not asked for again
    assert len(superlink.confirmed) == 2


def test_a_reply_whose_parts_are_no_message_is_one_reply_less(superlink, grid):
    for question in ("one", "two"):
        for item, part in superlink.announce(question, {"a": 1 if question == "one" else 2}).items():
            if question == "one":
                superlink.parts[item] = part[: len(part) // 2]
    found = Inbox(grid).look({"one", "two"})
    assert found["one"] is None
    assert said(found["two"]) == {"a": 2}


def test_a_reply_that_the_superlink_gave_up_is_one_reply_less(superlink, grid):
    superlink.gone.update(superlink.announce("one", {"a": 1}))
    assert Inbox(grid).look({"one"}) == {"one": None}


def test_a_reply_of_very_many_parts_is_not_fetched(superlink, grid, monkeypatch):
    monkeypatch.setattr("server.inbox.MOST_PARTS", 2)
    superlink.announce("one", {"a": 1})
    assert Inbox(grid).look({"one"}) == {"one": None}
    assert superlink.fetched == 0


def test_a_message_that_answers_no_question_is_none(superlink, grid):
    superlink.announce("", {"a": 1})
    assert Inbox(grid).look({"one"}) == {}


def test_an_exchange_ends_in_time_although_somebody_announced_and_sends_nothing(superlink, grid, monkeypatch):
    def push(_grid, messages):
        superlink.announce("one", {"a": 1})
        superlink.announce("two", {"a": 2}, sent=False)
        assert [message.metadata.dst_node_id for message in messages] == [11, 12]
        return ["one", "two"]

    monkeypatch.setattr(HttpGrid, "push_messages", push)
    time = FakeTime()
    answers = exchange(grid, "query.ready", {11: {}, 12: {}}, group="g", seconds=60.0, clock=time.clock)
    assert answers.fields == {11: {"a": 1}}
    assert answers.failures == {"silent": 1}
    assert time.seconds == pytest.approx(60.0, abs=1.0)
