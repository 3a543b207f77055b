"""From sums to versions: what is withheld and what the operator says to it, rollback, and making a version again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.errors import ConfigError, PriorError
from common.prior import decode_prior, encode_prior, sign_prior
from server.publication import Fit, Publisher, latest, remake
from server.rounds import Rounds, load_basis
from simulations.bare import BACKBONE, CLIP, DIMENSIONS, KEY, Device, FakeTime, crowd
from simulations.memory import MemoryGrid

CREATED = "2025-01-31T12:00:00+00:00"


@pytest.fixture
def publisher(settings, registry):
    fit = Fit(minimum_people=3, max_directions=16, cohorts=1)
    basis = load_basis(settings.public_basis)
    return Publisher(registry, KEY, backbone=BACKBONE, public_basis=basis, fit=fit)


@pytest.fixture
def hold(settings, registry):
    time = FakeTime()

    def run(people):
        grid = MemoryGrid(dict(enumerate(people, start=1)))
        Rounds(grid, settings, registry=registry, key=KEY, clock=time.clock, wall=time.wall).run()
        time.sleep(1.0)
        return latest(registry, BACKBONE, "object")

    return run


def poison(count):
    return [Device(np.eye(DIMENSIONS)[0] * CLIP) for _ in range(count)]


def test_a_poisoned_round_is_withheld_and_the_last_good_version_stays(hold, registry):
    good = hold(crowd(8))
    assert hold(poison(8)).version == good.version
    entry = registry.rounds()[-1]
    assert entry.state == "withheld"
    assert "cut off by the clip" in entry.reason
    # Life goes on without it, and it is not looked at again.
    after = hold(crowd(9, seed=3))
    assert (after.version, after.people) == (2, 17)
    assert entry.round_id not in after.rounds


def test_what_the_operator_accepts_is_in_the_next_version(hold, registry, publisher):
    hold(crowd(8))
    hold(poison(8))
    name = registry.rounds()[-1].round_id
    would_be = publisher.candidate("object", CREATED, also=[name])
    registry.accept_round(name)
    prior = publisher.advance("object", CREATED)
    assert (prior.version, prior.people, name in prior.rounds) == (2, 16, True)
    assert encode_prior(prior) == encode_prior(would_be)


def test_what_the_operator_rejects_is_in_none(hold, registry, publisher):
    hold(crowd(8))
    hold(poison(8))
    registry.reject_round(registry.rounds()[-1].round_id)
    assert publisher.advance("object", CREATED) is None
    assert hold(crowd(5, seed=4)).people == 13


def test_nothing_new_makes_no_version(hold, registry, publisher):
    hold(crowd(8))
    assert publisher.advance("object", CREATED) is None
    assert len(registry.versions()) == 1


def test_a_rollback_is_a_new_version_with_the_old_numbers_and_later_rounds_are_out(hold, registry, publisher):
    first, second = hold(crowd(8)), hold(crowd(6, seed=2))
    assert second.version == 2
    back = publisher.roll_back("object", 1, CREATED)
    assert (back.version, back.people, back.rounds) == (3, 8, first.rounds)
    np.testing.assert_array_equal(back.cohorts[0].mean, first.cohorts[0].mean)
    assert [entry.state for entry in registry.rounds()] == ["done", "rejected"]
    third = hold(crowd(5, seed=5))
    assert (third.version, third.people) == (4, 13)
    with pytest.raises(ConfigError, match="choose one from 1 to 3"):
        publisher.roll_back("object", 4, CREATED)


def test_every_version_can_be_made_again_to_the_last_byte(hold, registry, publisher):
    for seed in range(3):
        hold(crowd(5 + seed, seed=seed + 1))
    publisher.roll_back("object", 2, CREATED)
    versions = [decode_prior(signed.payload) for signed in registry.versions()]
    assert len(versions) == 4
    for prior in versions:
        assert encode_prior(remake(registry, prior)) == encode_prior(prior)


def test_a_version_that_its_sums_do_not_give_is_not_made_again(hold, registry):
    """Somebody with the signing key published other numbers."""
    prior = hold(crowd(8))
    cohort = replace(prior.cohorts[0], mean=prior.cohorts[0].mean + 0.01)
    forged = replace(prior, version=2, cohorts=(cohort,))
    registry.publish(sign_prior(forged, KEY), registry.fit_of(BACKBONE, "object", 1))
    assert encode_prior(remake(registry, forged)) != encode_prior(forged)


def test_a_version_whose_sum_is_gone_says_so(hold, registry):
    prior = hold(crowd(8))
    with pytest.raises(ConfigError, match="not in this registry"):
        remake(registry, replace(prior, rounds=("elsewhere",)))
    registry.publish(sign_prior(replace(prior, version=2), KEY))
    with pytest.raises(ConfigError, match="without its settings"):
        remake(registry, replace(prior, version=2))


def test_a_publication_that_never_gets_its_turn_ends(hold, registry, publisher, monkeypatch):
    hold(crowd(8))
    monkeypatch.setattr(publisher, "_publish", lambda _: False)
    monkeypatch.setattr(publisher, "_screen", lambda *_: True)
    monkeypatch.setattr("server.publication.latest", lambda *_: None)
    with pytest.raises(PriorError, match="try again"):
        publisher.advance("object", CREATED)
