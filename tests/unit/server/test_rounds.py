from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import ConfigRecord, Error, Message, RecordDict

from common.errors import ConfigError
from common.mixture import responsibilities
from common.prior import open_prior
from common.statistics import blocks
from server.exchange import Clock
from server.registry import Registry
from server.rounds import Rounds, load_basis
from server.settings import RunSettings
from simulations.memory import MemoryGrid

WIDTH, DIMENSIONS, CLIP = 12, 3, 2.0
BACKBONE = "ab" * 32
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


class FakeTime:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self):
        self.seconds = 0.0
        self.naps = []

    def sleep(self, seconds):
        self.naps.append(seconds)
        self.seconds += seconds
        assert self.seconds < 1e5, "waits for ever"

    @property
    def clock(self):
        return Clock(now=lambda: self.seconds, sleep=self.sleep)

    def wall(self):
        return datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)


class Person:
    """Contributes its x once, for as long as it is awake; keeps what it was asked."""

    def __init__(self, x, *, awake=True):
        self.x, self.awake, self.given, self.heard = np.asarray(x, float), awake, False, []

    def __call__(self, message):
        fields = dict(message.content["fields"])
        action = message.metadata.message_type
        self.heard.append((action, fields))
        if action == "query.ready":
            answer = {"ready": self.awake and not self.given}
        elif action == "query.prior":
            answer = {"stored": True}
        else:
            self.given = True
            answer = self.contribute(fields)
        return answer if answer is None or isinstance(answer, Message) else reply(message, answer)

    def contribute(self, _):
        vector = blocks(self.x, responsibilities(self.x, ()), CLIP)
        return {"contribution": vector.astype("<f8").tobytes()}


def reply(message, fields):
    return Message(RecordDict({"fields": ConfigRecord(fields)}), reply_to=message)


@pytest.fixture
def settings(tmp_path):
    np.save(tmp_path / "basis.npy", np.linalg.qr(np.random.default_rng(0).standard_normal((WIDTH, DIMENSIONS)))[0])
    return RunSettings(
        state_folder=tmp_path,
        backbone=BACKBONE,
        public_basis=tmp_path / "basis.npy",
        kinds=("object",),
        rounds=1,
        minimum_people=3,
        clip=CLIP,
        cohorts=1,
        poll_seconds=5.0,
        deadline_seconds=10.0,
        patience_seconds=60.0,
    )


@pytest.fixture
def registry(settings):
    with Registry(settings.registry_url) as registry:
        yield registry


def rounds(people, settings, registry, time=None):
    time = time or FakeTime()
    grid = MemoryGrid(dict(enumerate(people, start=1)))
    return Rounds(grid, settings, registry=registry, key=KEY, clock=time.clock, wall=time.wall)


def published(registry):
    signed = registry.latest(BACKBONE, "object")
    return signed and open_prior(signed, public_key=KEY.public_key(), backbone=BACKBONE, width=WIDTH)


def books(registry):
    with registry._engine.connect() as connection:
        return connection.execute(sa.text("SELECT state, people, sum IS NULL AS closed FROM rounds")).all()


def crowd(count, seed=1):
    return [Person(x) for x in np.random.default_rng(seed).uniform(-0.5, 0.5, (count, DIMENSIONS))]


def test_the_mean_of_the_prior_is_the_plain_mean(settings, registry):
    people = crowd(5)
    rounds(people, settings, registry).run()
    prior = published(registry)
    assert (prior.version, prior.people) == (1, 5)
    np.testing.assert_allclose(prior.cohorts[0].mean, np.mean([person.x for person in people], axis=0), atol=1e-12)


def test_everybody_hears_of_the_prior_even_those_who_gave_nothing(settings, registry):
    asleep = Person(np.zeros(DIMENSIONS), awake=False)
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
    idle = Person(np.zeros(DIMENSIONS), awake=False)
    run = rounds([idle], settings, registry)
    run.look("object")
    run.look("object")
    assert [action for action, _ in idle.heard] == ["query.prior", "query.ready", "query.ready"]


def test_the_second_round_builds_on_the_first(settings, registry):
    first, second = crowd(3), crowd(4, seed=2)
    rounds(first, settings, registry).run()
    rounds(second, settings, registry).run()
    prior = published(registry)
    assert (prior.version, prior.people, len(prior.rounds)) == (2, 7, 2)
    expected = np.mean([person.x for person in first + second], axis=0)
    np.testing.assert_allclose(prior.cohorts[0].mean, expected, atol=1e-12)
    call = next(fields for action, fields in second[0].heard if action == "train.contribute")
    assert (call["prior_version"], call["public_basis"]) == (1, b"")


class Hostile(Person):
    def __init__(self, answer):
        super().__init__(np.zeros(DIMENSIONS))
        self.answer = answer

    def contribute(self, _):
        return self.answer


LENGTH = 1 + DIMENSIONS + DIMENSIONS * (DIMENSIONS + 1) // 2
HOSTILE = {
    "too short": {"contribution": np.zeros(LENGTH - 1).tobytes()},
    "too long": {"contribution": np.zeros(LENGTH + 1).tobytes()},
    "nan": {"contribution": np.full(LENGTH, np.nan).tobytes()},
    "infinite": {"contribution": np.full(LENGTH, np.inf).tobytes()},
    "too heavy": {"contribution": np.full(LENGTH, 1.0).tobytes()},
    "text": {"contribution": "0"},
    "another field": {"prior": b""},
    "more fields": {"contribution": np.zeros(LENGTH).tobytes(), "name": "my-dog"},
    "nothing": {},
}


@pytest.mark.parametrize("why", HOSTILE)
def test_a_hostile_reply_is_dropped_and_counted(settings, registry, caplog, why):
    people = crowd(3)
    with caplog.at_level(logging.INFO, logger="flwr.shoal"):
        caplog.handler.setLevel(logging.INFO)
        logging.getLogger("flwr.shoal").addHandler(caplog.handler)
        rounds([*people, Hostile(HOSTILE[why])], settings, registry).run()
    logging.getLogger("flwr.shoal").removeHandler(caplog.handler)
    prior = published(registry)
    assert prior.people == 3
    np.testing.assert_allclose(prior.cohorts[0].mean, np.mean([person.x for person in people], axis=0), atol=1e-12)
    assert "3 people, {'refused': 1}" in caplog.text


def test_an_error_and_silence_are_dropouts_and_an_errors_text_is_not_logged(settings, registry, caplog):
    class Failing(Person):
        def __call__(self, message):
            if message.metadata.message_type != "train.contribute":
                return super().__call__(message)
            return Message(Error(code=2, reason="ValueError: the token is 0.123"), reply_to=message)

    class Silent(Person):
        def __call__(self, message):
            return None if message.metadata.message_type == "train.contribute" else super().__call__(message)

    zeros = np.zeros(DIMENSIONS)
    time = FakeTime()
    logging.getLogger("flwr.shoal").addHandler(caplog.handler)
    rounds([*crowd(3), Failing(zeros), Silent(zeros)], settings, registry, time).run()
    logging.getLogger("flwr.shoal").removeHandler(caplog.handler)
    assert published(registry).people == 3
    assert "0.123" not in caplog.text
    assert 10.0 <= time.seconds < 15.0  # one deadline, for the silent one


def test_below_the_minimum_the_sum_is_not_kept(settings, registry):
    people = [*crowd(2), Hostile({})]
    rounds(people, settings, registry).run()
    assert published(registry) is None
    assert [tuple(row) for row in books(registry)] == [("aborted", 0, 1)]


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
    run.run()  # `Person` gives once, to whichever kind asks first
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
    class Slow(Person):
        def __call__(self, message):
            time.seconds += 2.0
            return super().__call__(message)

    time = FakeTime()
    slow = Slow(np.zeros(DIMENSIONS), awake=False)
    rounds([slow], settings, registry, time).run()
    assert set(time.naps) == {8.0}
    assert len(slow.heard) < 10
