from __future__ import annotations

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from server.exchange import LOOK_SECONDS, REST, exchange
from simulations.bare import FakeTime
from simulations.memory import MemoryGrid

PEOPLE = 97


def answering(message):
    return Message(RecordDict({"fields": ConfigRecord({"ready": True})}), reply_to=message)


class Link(MemoryGrid):
    """A SuperLink that takes its time over each request, and notes how many questions came in each."""

    def __init__(self, nodes, time, *, sending=0.0, looking=0.0):
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 7, 1
        super().__init__(nodes)
        self.time, self.sending, self.looking, self.batches = time, sending, looking, []

    def push_messages(self, messages):
        messages = list(messages)
        self.batches.append(len(messages))
        self.time.seconds += self.sending
        return super().push_messages(messages)

    def pull_messages(self, message_ids):
        self.time.seconds += self.looking
        return super().pull_messages(message_ids)


def hold(link, time, people=PEOPLE, seconds=60.0, keep=lambda _: None):
    questions = {node: {"a": 1} for node in range(1, people + 1)}
    return exchange(link, "query.ready", questions, group="g", seconds=seconds, clock=time.clock, keep=keep)


@pytest.fixture
def time():
    return FakeTime()


def test_questions_are_sent_in_small_requests_and_answers_taken_in_between(time):
    link, kept = Link(dict.fromkeys(range(1, PEOPLE + 1), answering), time), []
    answers = hold(link, time, keep=lambda fields: kept.append(len(fields)))
    assert link.batches == [32, 32, 32, 1]
    assert kept == link.batches
    assert len(answers.fields) == PEOPLE
    assert time.naps == []


def test_who_is_silent_keeps_nobody_from_being_asked(time):
    nodes = dict.fromkeys(range(1, PEOPLE + 1), lambda _: None) | {PEOPLE: answering}
    answers = hold(Link(nodes, time), time)
    assert set(answers.fields) == {PEOPLE}
    assert answers.failures == {"silent": PEOPLE - 1}


def test_who_could_not_be_asked_in_time_was_lost(time):
    link = Link(dict.fromkeys(range(1, PEOPLE + 1), answering), time, sending=40.0)
    answers = hold(link, time)
    assert len(answers.fields) == 64
    assert answers.failures == {"silent": PEOPLE - 64}


@pytest.mark.parametrize(("looking", "rest"), [(0.0, LOOK_SECONDS), (3.0, 3.0 * REST)])
def test_a_link_that_is_slow_is_asked_less_often(time, looking, rest):
    hold(Link({1: lambda _: None}, time, looking=looking), time, people=1)
    assert time.naps[0] == pytest.approx(rest)
    assert time.seconds == pytest.approx(60.0, abs=looking + LOOK_SECONDS)


def test_a_device_that_speaks_in_anothers_name_has_spoken_in_its_own(time):
    """A reply is a device's own bytes, the name in it too."""

    def posing(message):
        reply = answering(message)
        reply.metadata.__dict__["_src_node_id"] = 1
        return reply

    answers = hold(Link({1: lambda _: None, 2: posing}, time), time, people=2)
    assert set(answers.fields) == {2}
