from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa
from flwr.app import Error, Message

from common.errors import ConfigError, PriorError
from common.prior import open_prior
from common.privacy import central, decode, epsilon, noise_variance, reduce
from server.rounds import Rounds, load_basis
from simulations.bare import BACKBONE, DIMENSIONS, KEY, WIDTH, Device, FakeTime, crowd
from simulations.memory import MemoryGrid


def rounds(people, settings, registry, time=None):
    time = time or FakeTime()
    grid = MemoryGrid(dict(enumerate(people, start=1)))
    return Rounds(grid, settings, registry=registry, key=KEY, clock=time.clock, wall=time.wall)


def published(registry):
    signed = registry.latest(BACKBONE, "object")
    return signed and open_prior(signed, public_key=KEY.public_key(), backbone=BACKBONE, width=WIDTH)


def books(registry):
    with registry._database._engine.connect() as connection:
        columns = "state, exchange, called, people, sum IS NULL"
        return connection.execute(sa.text(f"SELECT {columns} FROM rounds ORDER BY ended")).all()  # noqa: S608 - ours


def test_the_mean_of_the_prior_is_the_plain_mean(settings, registry):
    people = crowd(5)
    rounds(people, settings, registry).run()
    prior = published(registry)
    assert (prior.version, prior.people) == (1, 5)
    np.testing.assert_allclose(prior.cohorts[0].mean, np.mean([person.x for person in people], axis=0), atol=1e-5)


def test_everybody_hears_of_the_prior_even_those_who_gave_nothing(settings, registry):
    asleep = Device(np.zeros(DIMENSIONS), awake=False)
    people = [*crowd(3), asleep]
    rounds(people, settings, registry).run()
    for person in people:
        assert [action for action, _ in person.heard].count("query.prior") == 1
    assert not asleep.given


def test_a_newcomer_hears_of_the_prior_that_is_there(settings, registry):
    rounds(crowd(3), settings, registry).run()
    newcomers = crowd(3, seed=2)
    run = rounds(newcomers, replace(settings, patience_seconds=1.0), registry)
    run.run()
    assert newcomers[0].heard[0][0] == "query.prior"
    assert newcomers[0].heard[1] == ("query.ready", {"kind": "object", "backbone": BACKBONE, "prior_version": 1})


def test_nobody_hears_the_same_prior_twice(settings, registry):
    rounds(crowd(3), settings, registry).run()
    idle = Device(np.zeros(DIMENSIONS), awake=False)
    run = rounds([idle], settings, registry)
    run.look("object")
    run.look("object")
    assert [action for action, _ in idle.heard] == ["query.prior", "query.ready", "query.ready"]


def test_of_many_idle_devices_those_are_asked_that_were_not_asked_for_longest(settings, registry, monkeypatch):
    monkeypatch.setattr("server.rounds.MOST_ASKED", 4)
    people, time = [Device(np.zeros(DIMENSIONS), awake=False) for _ in range(10)], FakeTime()
    run = rounds(people, settings, registry, time)
    for asked in (4, 8, 10, 10, 10):
        run.look("object")
        time.clock.sleep(1.0)
        assert sum(bool(person.heard) for person in people) == asked
    assert sum(len(person.heard) for person in people) == 5 * 4


def test_the_second_round_builds_on_the_first(settings, registry):
    first, second = crowd(3), crowd(4, seed=2)
    rounds(first, settings, registry).run()
    rounds(second, settings, registry).run()
    prior = published(registry)
    assert (prior.version, prior.people, len(prior.rounds)) == (2, 7, 2)
    expected = np.mean([person.x for person in first + second], axis=0)
    np.testing.assert_allclose(prior.cohorts[0].mean, expected, atol=1e-5)
    call = next(fields for action, fields in second[0].heard if action == "train.keys")
    assert (call["prior_version"], call["public_basis"]) == (1, b"")


class Hostile(Device):
    """Honest up to one exchange, where it says something else."""

    def __init__(self, exchange, answer):
        super().__init__(np.zeros(DIMENSIONS))
        setattr(self, exchange, lambda _: answer)


GARBAGE = {
    "bytes": {"reply": b"\xff" * 300},
    "no bytes": {"reply": b""},
    "text": {"reply": "0"},
    "another field": {"prior": b""},
    "more fields": {"reply": b"", "name": "my-dog"},
    "nothing": {},
}
EXCHANGES = ("keys", "shares", "masked", "confirm", "unmask")


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, logger="flwr.shoal")
    logging.getLogger("flwr.shoal").addHandler(caplog.handler)
    yield caplog
    logging.getLogger("flwr.shoal").removeHandler(caplog.handler)


@pytest.mark.parametrize(
    ("exchange", "why"), [*((exchange, "bytes") for exchange in EXCHANGES), *(("masked", why) for why in GARBAGE)]
)
def test_a_hostile_reply_is_dropped_and_counted_and_harms_nobody_else(settings, registry, log, why, exchange):
    people = crowd(4)
    rounds([*people, Hostile(exchange, GARBAGE[why])], settings, registry).run()
    prior = published(registry)
    # Whoever gave its vector before it turned hostile is in the sum.
    given = [*(person.x for person in people), *([np.zeros(DIMENSIONS)] if exchange in {"confirm", "unmask"} else [])]
    assert prior.people == len(given)
    np.testing.assert_allclose(prior.cohorts[0].mean, np.mean(given, axis=0), atol=1e-5)
    assert '"refused": 1' in log.text or f'"train.{exchange} refused": 1' in log.text


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_an_error_and_silence_are_dropouts_and_an_errors_text_is_not_logged(settings, registry, log, exchange):
    class Failing(Device):
        def __call__(self, message):
            if message.metadata.message_type != f"train.{exchange}":
                return super().__call__(message)
            return Message(Error(code=2, reason="ValueError: the token is 0.123"), reply_to=message)

    class Silent(Device):
        def __call__(self, message):
            return None if message.metadata.message_type == f"train.{exchange}" else super().__call__(message)

    zeros, time = np.zeros(DIMENSIONS), FakeTime()
    rounds([*crowd(8), Failing(zeros), Silent(zeros)], settings, registry, time).run()
    assert published(registry).people == (10 if exchange in {"confirm", "unmask"} else 8)
    assert "0.123" not in log.text
    assert 10.0 <= time.seconds < 15.0  # one deadline, for the silent one


@pytest.mark.parametrize(
    ("exchange", "expected"),
    [
        ("keys", ("aborted", "train.keys", 0, 0, 1)),
        ("shares", ("aborted", "train.shares", 4, 0, 1)),
        ("masked", ("aborted", "train.masked", 4, 0, 1)),
        ("confirm", ("aborted", "train.confirm", 4, 0, 1)),
        ("unmask", ("aborted", "train.unmask", 4, 0, 1)),
    ],
)
def test_with_too_few_left_no_sum_is_opened_and_the_books_say_how_far_it_came(settings, registry, exchange, expected):
    people = [*crowd(2), Hostile(exchange, {}), Hostile(exchange, {})]
    rounds(people, settings, registry).run()
    assert published(registry) is None
    assert tuple(books(registry)[0]) == expected
    assert registry.sums(BACKBONE, "object", load_basis(settings.public_basis)) == []


def test_the_sum_is_that_of_the_integers_exactly_and_the_books_know_its_noise(settings, registry):
    people = crowd(8)
    protected = replace(settings, unprotected_simulation=False, epsilon=1.0, minimum_people=8)
    rounds(people, protected, registry).run()
    [found] = registry.sums(BACKBONE, "object", load_basis(settings.public_basis))
    call, state = people[0].call, people[0].state
    mechanism = call.mechanism()
    assert mechanism.share_variance > 0
    expected = reduce(np.sum([person.sent.astype(np.int64) for person in people], axis=0), mechanism)
    np.testing.assert_array_equal(found.total, decode(expected, mechanism, seed=state.transcript))
    assert found.people == 8
    assert found.noise_variance == noise_variance(mechanism, 8)


def test_the_noise_is_planned_for_those_who_must_stay_without_those_who_may_collude(settings, registry):
    people = crowd(12)
    protected = replace(settings, unprotected_simulation=False, epsilon=0.5, minimum_people=8)
    rounds(people, protected, registry).run()
    call = people[0].call
    assert call.minimum_people == 9
    honest = central(call.mechanism(), survivors=9, colluders=3)
    assert 0.49 < epsilon([honest], delta=1e-6) <= 0.5


def test_a_sum_of_which_no_prior_can_be_made_is_rejected_and_enters_no_later_fit(settings, registry, monkeypatch):
    def refuse(*_, **__):
        raise PriorError("out of bounds")

    with monkeypatch.context() as patched:
        patched.setattr("server.publication.next_prior", refuse)
        rounds(crowd(3), settings, registry).run()
    assert published(registry) is None
    people = crowd(4, seed=2)
    rounds(people, settings, registry).run()
    assert [row.state for row in books(registry)] == ["rejected", "done"]
    prior = published(registry)
    assert (prior.people, len(prior.rounds)) == (4, 1)
    np.testing.assert_allclose(prior.cohorts[0].mean, np.mean([person.x for person in people], axis=0), atol=1e-5)


def test_a_sum_that_was_booked_just_before_a_crash_becomes_a_prior_at_the_next_start(settings, registry, monkeypatch):
    def crash(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("server.publication.next_prior", crash)
        with pytest.raises(KeyboardInterrupt):
            rounds(crowd(3), settings, registry).run()
    assert published(registry) is None
    rounds([], replace(settings, patience_seconds=1.0), registry).run()
    assert published(registry).people == 3


def test_a_round_without_noise_is_announced_loudly(settings, registry, log):
    rounds([], replace(settings, patience_seconds=1.0), registry).run()
    assert "UNPROTECTED SIMULATION" in log.text
    log.clear()
    rounds([], replace(settings, patience_seconds=1.0, unprotected_simulation=False), registry).run()
    assert "UNPROTECTED" not in log.text


def test_after_a_round_that_failed_everybody_gets_a_moment_and_the_run_still_ends(settings, registry):
    people, time = [*crowd(2), Hostile("keys", {}), Hostile("keys", {})], FakeTime()
    rounds(people, settings, registry, time).run()
    called = [action for action, _ in people[0].heard].count("train.keys")
    assert 2 <= called <= 7  # every 10 s for 60 s
    assert 60.0 < time.seconds < 80.0


def test_a_round_waits_for_the_whole_wave(settings, registry):
    people = crowd(5)
    late = people[4]
    late.awake = False
    time = FakeTime()
    run = rounds(people, replace(settings, wave_size=(5,)), registry, time)
    run.look("object")
    assert published(registry) is None
    late.awake = True
    run.run()
    assert published(registry).people == 5
    # Who said yes is not asked again: waiting costs little.
    assert [action for action, _ in people[0].heard].count("query.ready") == 1


def test_when_patience_is_over_the_minimum_is_enough(settings, registry):
    people = crowd(4)
    time = FakeTime()
    rounds(people, replace(settings, wave_size=(5,)), registry, time).run()
    assert published(registry).people == 4
    assert 60.0 < time.seconds < 80.0


def test_a_run_in_which_nothing_happens_ends(settings, registry):
    time = FakeTime()
    rounds(crowd(2), settings, registry, time).run()
    assert published(registry) is None
    assert 60.0 < time.seconds < 80.0


def test_kinds_go_their_own_ways(settings, registry):
    people = crowd(4)
    run = rounds(people, replace(settings, kinds=("object", "style")), registry)
    run.run()  # `Device` gives once, to whichever kind asks first
    assert published(registry).people == 4
    assert registry.latest(BACKBONE, "style") is None


def test_a_change_of_basis_is_refused(settings, registry):
    rounds(crowd(3), settings, registry).run()
    np.save(settings.public_basis, np.eye(WIDTH, DIMENSIONS))
    with pytest.raises(ConfigError, match="not the basis"):
        rounds(crowd(3), settings, registry)


@pytest.mark.parametrize("found", [np.ones((WIDTH, 2)), np.zeros(3), np.array(["a"]), np.full((4, 2), np.nan)])
def test_an_unusable_basis_is_refused(tmp_path, found):
    np.save(tmp_path / "basis.npy", found)
    with pytest.raises(ConfigError, match=r"basis\.npy"):
        load_basis(tmp_path / "basis.npy")
    with pytest.raises(ConfigError, match="missing"):
        load_basis(tmp_path / "missing.npy")


def test_a_look_that_takes_long_is_followed_by_a_longer_rest(settings, registry):
    class Slow(Device):
        def __call__(self, message):
            time.seconds += 2.0
            return super().__call__(message)

    time = FakeTime()
    slow = Slow(np.zeros(DIMENSIONS), awake=False)
    rounds([slow], settings, registry, time).run()
    assert set(time.naps) == {8.0}
    assert len(slow.heard) < 10
