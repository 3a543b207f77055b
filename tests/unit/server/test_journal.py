"""A server that dies at any write of a round, and the next one that goes on with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa
from flwr.app import Error, Message

from common.errors import ConfigError, StaleRoundError
from common.prior import decode_prior
from server.journal import Journal
from server.registry import Registry
from server.rounds import Rounds
from server.sums import EXCHANGES as ACTIONS
from server.sums import Progress
from server.tables import EXCHANGES, OPEN_ROUNDS, REPLIES
from simulations.bare import BACKBONE, KEY, FakeTime, crowd
from simulations.memory import MemoryGrid

POINTS = {
    f"{action} {when} {method}": (method, action, when)
    for action in ACTIONS
    for method in ("keep", "finish")
    for when in ("before", "after")
} | {f"{when} {method}": (method, None, when) for method in ("close", "open_round") for when in ("before", "after")}


class Crashed(BaseException):
    """The end of a process."""


def crash(patched, method, action, when):
    """Die at the first call of a method of the journal or the registry, in the exchange `action`."""
    owner = Registry if method == "open_round" else Journal
    plain = getattr(owner, method)

    def call(*arguments, **named):
        here = action is None or arguments[1] == action
        if here and when == "before":
            raise Crashed
        result = plain(*arguments, **named)
        if here:
            raise Crashed
        return result

    patched.setattr(owner, method, call)


def start(people, settings, registry, time):
    grid = MemoryGrid(dict(enumerate(people, start=1)))
    return Rounds(grid, settings, registry=registry, key=KEY, clock=time.clock, wall=time.wall)


def left(registry):
    with registry._database._engine.connect() as connection:
        tables = (OPEN_ROUNDS, EXCHANGES, REPLIES)
        return sum(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() for table in tables)


@pytest.fixture
def shared(settings, database_url):
    """Settings with a registry on either database."""
    return replace(settings, registry=database_url, minimum_people=3)


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_after_a_crash_the_next_process_goes_on_and_nobody_counts_twice(shared, monkeypatch, point):
    people, time = crowd(6), FakeTime()
    with Registry(shared.registry_url) as registry, monkeypatch.context() as patched:
        crash(patched, *point)
        with pytest.raises(Crashed):
            start(people, shared, registry, time).run()
    with Registry(shared.registry_url) as registry:
        start(people, replace(shared, patience_seconds=20.0), registry, time).run()
        counted = [entry for entry in registry.rounds() if entry.state == "done"]
        given = sum(person.given for person in people)
        method, action, when = point
        if (method, when) == ("keep", "before"):  # all answers were on their way: nobody is left, so it ended cleanly
            assert registry.rounds()[0].state == "aborted"
            expected = 0 if action in {"train.masked", "train.confirm", "train.unmask"} else 6
        else:
            expected = 6
        assert [entry.people for entry in counted] == ([expected] if expected else [])
        assert given == 6
        if expected:
            [total] = registry.sums(BACKBONE, "object", np.load(shared.public_basis).astype("f4").astype(float))
            np.testing.assert_allclose(total.total[1:4], np.sum([person.x for person in people], axis=0) / 2, atol=1e-4)
        assert left(registry) == 0
        for person in people:
            asked = [(kind, fields.get("round_id")) for kind, fields in person.heard if kind == "train.masked"]
            assert len(asked) <= 2


def test_a_crash_in_the_middle_of_an_exchange_asks_on_those_alone_who_have_not_answered(settings, monkeypatch):
    """A third of the answers are written down, then the process dies; the others answer the next one."""
    people, time = crowd(9), FakeTime()
    late = {7, 8, 9}
    grid = MemoryGrid(dict(enumerate(people, start=1)))
    plain = grid.push_messages

    def push(messages):
        """Refuse some, as a SuperLink does: by no id in their place."""
        refused = [one.metadata.message_type == "train.masked" and one.metadata.dst_node_id in late for one in messages]
        return [None if no else plain([message])[0] for message, no in zip(messages, refused, strict=True)]

    with Registry(settings.registry_url) as registry, monkeypatch.context() as patched:
        crash(patched, "keep", "train.masked", "after")
        grid.push_messages = push
        with pytest.raises(Crashed):
            Rounds(grid, settings, registry=registry, key=KEY, clock=time.clock, wall=time.wall).run()
    grid.push_messages = plain
    with Registry(settings.registry_url) as registry:
        Rounds(grid, settings, registry=registry, key=KEY, clock=time.clock, wall=time.wall).run()
        [entry] = registry.rounds()
        assert (entry.state, entry.people) == ("done", 9)
    for person in people:
        assert [kind for kind, _ in person.heard].count("train.masked") == 1


def test_a_round_whose_deadline_passed_is_ended_without_asking_anybody(settings, registry, monkeypatch):
    people, time = crowd(6), FakeTime()
    with monkeypatch.context() as patched:
        crash(patched, "finish", "train.shares", "after")
        with pytest.raises(Crashed):
            start(people, settings, registry, time).run()
    for person in people:
        person.awake = False
    time.sleep(len(ACTIONS) * settings.deadline_seconds)
    start(people, replace(settings, patience_seconds=1.0), registry, time).run()
    [entry] = registry.rounds()
    assert (entry.state, entry.exchange) == ("aborted", "train.masked")
    assert "deadline passed" in entry.reason
    assert not any(person.given for person in people)
    assert left(registry) == 0


def test_the_process_that_lost_a_round_can_write_to_it_no_more(settings, registry):
    people, time = crowd(4), FakeTime()
    run = start(people, settings, registry, time)
    call = run._call("object", 4)
    now = datetime.now(UTC)
    first = registry.open_round(call, [1, 2], started=now, deadline=now + timedelta(seconds=9), shard="a")
    assert registry.take_up("b") == []
    [second] = registry.take_up("a")
    assert (second.call, second.nodes, second.started, second.deadline) == (call, (1, 2), now, first.deadline)
    with pytest.raises(StaleRoundError, match="taken up by another process"):
        first.keep("train.keys", {1: {"reply": b"x"}})
    with pytest.raises(StaleRoundError, match="taken up by another process"):
        first.finish("train.keys", {})
    second.keep("train.keys", {1: {"reply": b"x"}, 2: {"no": b""}})
    second.keep("train.keys", {1: {"reply": b"y"}})
    assert second.replies("train.keys") == {1: {"reply": b"x"}}, "the first answer counts"
    assert second.failures("train.keys") is None
    second.finish("train.keys", {"silent": 1})
    assert second.failures("train.keys") == {"silent": 1}


def test_one_shard_leaves_the_open_rounds_of_another_alone(settings, registry, monkeypatch):
    people, time = crowd(4), FakeTime()
    with monkeypatch.context() as patched:
        crash(patched, "finish", "train.keys", "after")
        with pytest.raises(Crashed):
            start(people, replace(settings, shard="north"), registry, time).run()
    start([], replace(settings, shard="south", patience_seconds=1.0), registry, time).run()
    assert len(registry.open_rounds()) == 1
    start(people, replace(settings, shard="north"), registry, time).run()
    assert [(entry.state, entry.shard) for entry in registry.rounds()] == [("done", "north")]


def test_two_shards_feed_one_registry_and_every_sum_is_in_the_last_version(settings, registry, monkeypatch):
    """The second shard publishes while the first is fitting, so the first fits anew."""
    north, south, time = crowd(4), crowd(5, seed=2), FakeTime()
    plain, once = Registry.publish, []

    def publish(self, signed, fit=None):
        if not once:
            once.append(1)
            start(south, replace(settings, shard="south"), registry, time).run()
        plain(self, signed, fit)

    monkeypatch.setattr(Registry, "publish", publish)
    start(north, replace(settings, shard="north"), registry, time).run()
    versions = [decode_prior(signed.payload) for signed in registry.versions(BACKBONE, "object")]
    assert versions[-1].people == 9
    assert len(versions[-1].rounds) == 2


def test_a_round_is_booked_once(settings, registry):
    run = start(crowd(3), settings, registry, FakeTime())
    call, now = run._call("object", 3), datetime.now(UTC)
    journal = registry.open_round(call, [1], started=now, deadline=now)
    run._book(journal, Progress(reason="nobody"))
    with pytest.raises((ConfigError, StaleRoundError)):
        run._book(journal, Progress(reason="nobody"))
    assert len(registry.rounds()) == 1


def test_an_answer_that_is_an_error_is_not_written_down(settings, registry):
    class Failing:
        def __call__(self, message):
            return Message(Error(code=2, reason="ValueError"), reply_to=message)

    people = [*crowd(4), Failing()]
    start(people, settings, registry, FakeTime()).run()
    assert [(entry.state, entry.people) for entry in registry.rounds()] == [("done", 4)]


def test_of_a_round_that_is_over_no_reply_is_left_in_the_file(settings, monkeypatch):
    kept, plain = [], Journal.keep

    def keep(self, action, answers):
        kept.extend(fields["reply"] for fields in answers.values())
        plain(self, action, answers)

    monkeypatch.setattr(Journal, "keep", keep)
    with Registry(settings.registry_url) as registry:
        start(crowd(5), settings, registry, FakeTime()).run()
        assert registry.rounds()[0].state == "done"
    files = b"".join(path.read_bytes() for path in settings.state_folder.glob("registry.sqlite*"))
    assert len(kept) == 25
    assert [reply for reply in kept if reply[-48:] in files] == []
