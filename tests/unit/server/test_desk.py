"""What an operator types: versions and rounds listed, compared, accepted, rolled back, exported and verified."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from common.errors import ConfigError
from common.prior import SignedPrior, decode_prior, open_prior, sign_prior
from server.cli import app
from server.config import FILE
from server.rounds import Rounds
from simulations.bare import BACKBONE, CLIP, DIMENSIONS, KEY, WIDTH, Device, FakeTime, crowd
from simulations.memory import MemoryGrid


@pytest.fixture
def state(settings, tmp_path, sign_key):
    """A state folder whose key is that of the bare federation."""
    folder = tmp_path
    (folder / FILE).write_text(
        f'[rounds]\nbackbone = "{BACKBONE}"\nkinds = "object"\nminimum-people = 3\ncohorts = 1\n', encoding="utf-8"
    )
    return folder


@pytest.fixture
def hold(settings, registry):
    time = FakeTime()

    def run(people, **changes):
        grid = MemoryGrid(dict(enumerate(people, start=1)))
        mine = replace(settings, **changes)
        Rounds(grid, mine, registry=registry, key=KEY, clock=time.clock, wall=time.wall).run()
        time.sleep(3600.0)

    return run


def tell(*words):
    """Type a command; give what it says as JSON."""
    result = CliRunner().invoke(app, [str(word) for word in (*words, "--json")])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def say(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def poison(count):
    return [Device(np.eye(DIMENSIONS)[0] * CLIP) for _ in range(count)]


def test_versions_are_listed_shown_and_compared(state, hold):
    hold(crowd(5))
    hold(crowd(7, seed=2))
    listed = tell("priors", "list", state)
    assert [(row["version"], row["people"], row["rounds"]) for row in listed] == [(1, 5, 1), (2, 12, 2)]
    shown = tell("priors", "show", state, "object")
    assert (shown["version"], len(shown["round_ids"]), len(shown["cohort_list"])) == (2, 2, 1)
    assert tell("priors", "show", state, "object", 1)["people"] == 5
    found = tell("priors", "diff", state, "object", 1, 2)
    assert (found["people"], len(found["rounds_added"]), found["rounds_removed"]) == (7, 1, [])
    same = tell("priors", "diff", state, "object", 2, 2)
    assert (same["mean_moved"], same["variance_ratio"]) == (0.0, 1.0)
    assert same["angle"] < 1e-3
    assert "12" in say("priors", "list", state)


def test_a_withheld_round_is_listed_and_accepted(state, hold):
    hold(crowd(8))
    hold(poison(8))
    [row] = tell("rounds", "list", state, "--only", "withheld")
    assert "cut off by the clip" in row["reason"]
    assert tell("rounds", "accept", state, row["round"]) == {"round": row["round"], "version": 2}
    assert tell("priors", "show", state, "object")["people"] == 16
    assert tell("rounds", "list", state)[-1]["state"] == "accepted"


def test_a_withheld_round_is_rejected_and_publish_finds_nothing_new(state, hold):
    hold(crowd(8))
    hold(poison(8))
    [row] = tell("rounds", "list", state, "--only", "withheld")
    tell("rounds", "reject", state, row["round"], "--reason", "not people")
    assert tell("rounds", "list", state)[-1]["reason"] == "not people"
    assert tell("priors", "publish", state, "object") == {"version": None}
    assert tell("priors", "publish", state, "object", "--accept", row["round"])["version"] == 2


def test_a_rollback_and_what_it_leaves_verify(state, hold):
    hold(crowd(8))
    hold(crowd(4, seed=2))
    assert tell("priors", "rollback", state, "object", 1)["version"] == 3
    found = tell("priors", "verify", state)
    assert [row["version"] for row in found] == [1, 2, 3]
    assert all("to the last byte" in row["verdict"] for row in found)


def test_numbers_that_no_sum_gives_do_not_verify(state, hold, registry):
    hold(crowd(8))
    prior = decode_prior(registry.latest(BACKBONE, "object").payload)
    changed = replace(prior, version=2, cohorts=(replace(prior.cohorts[0], mean=prior.cohorts[0].mean + 0.01),))
    registry.publish(sign_prior(changed, KEY), registry.fit_of(BACKBONE, "object", 1))
    with pytest.raises(ConfigError, match="1 of 2 versions do not verify"):
        tell("priors", "verify", state)


def test_another_signature_does_not_verify(state, hold, registry):
    hold(crowd(8))
    prior = decode_prior(registry.latest(BACKBONE, "object").payload)
    registry.publish(sign_prior(replace(prior, version=2), Ed25519PrivateKey.generate()))
    with pytest.raises(ConfigError, match="1 of 2 versions do not verify"):
        tell("priors", "verify", state)


def test_a_sum_changed_behind_the_triggers_does_not_verify(state, hold, registry):
    hold(crowd(8))
    with registry._database._engine.begin() as connection:
        connection.execute(sa.text("DROP TRIGGER rounds_stay"))
        size = connection.execute(sa.text("SELECT length(sum) FROM rounds")).scalar()
        connection.execute(sa.text("UPDATE rounds SET sum = :sum"), {"sum": np.full(size // 8, 0.1).tobytes()})
    with pytest.raises(ConfigError, match="do not verify"):
        tell("priors", "verify", state)


def test_what_is_exported_is_what_a_device_opens(state, hold, tmp_path):
    hold(crowd(6))
    tell("priors", "export", state, "object", "--out", tmp_path / "it.prior")
    signed = SignedPrior((tmp_path / "it.prior").read_bytes(), (tmp_path / "it.prior.sig").read_bytes())
    prior = open_prior(signed, public_key=KEY.public_key(), backbone=BACKBONE, width=WIDTH)
    assert prior.people == 6


def test_the_budget_adds_up_and_says_where_there_was_no_noise(state, hold):
    assert tell("budget", state)["kinds"] == [
        {"kind": "object", "rounds": 0, "dearest": 0.0, "together": 0.0, "ahead": 0.0}
    ]
    hold(crowd(9), unprotected_simulation=False, minimum_people=8, epsilon=1.0)
    [one] = tell("budget", state)["kinds"]
    assert 0.5 < one["dearest"] == one["together"] <= 1.0
    hold(crowd(9, seed=3), unprotected_simulation=False, minimum_people=8, epsilon=1.0)
    [two] = tell("budget", state)["kinds"]
    assert two["rounds"] == 2
    assert one["together"] < two["together"] < 2 * one["together"]
    assert two["together"] < two["ahead"]
    hold(crowd(4, seed=4))
    [three] = tell("budget", state)["kinds"]
    assert three["together"] is None
    assert "no noise" in say("budget", state)


def test_a_round_that_ended_before_anything_left_costs_nothing(state, hold):
    class Mute(Device):
        def __call__(self, message):
            return None if message.metadata.message_type == self.x_silent else super().__call__(message)

    for action, cost in (("train.shares", False), ("train.masked", False), ("train.confirm", True)):
        people = []
        for x in np.zeros((9, DIMENSIONS)):
            people.append(Mute(x))
            people[-1].x_silent = action
        hold(people, unprotected_simulation=False, minimum_people=8, patience_seconds=1.0)
        rounds = tell("budget", state)["kinds"][0]["rounds"]
        assert bool(rounds) == (cost or action == "train.masked")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("priors", "show", "object"), "no object prior"),
        (("priors", "show", "portrait"), "choose among object"),
        (("priors", "rollback", "object", "1"), "no earlier version 1"),
        (("rounds", "accept", "nobody"), "no round nobody"),
        (("priors", "diff", "object", "1", "2"), "no object prior 1"),
    ],
)
def test_what_is_not_there_is_named_with_the_remedy(state, registry, words, said):
    first, second, *rest = words
    with pytest.raises(ConfigError, match=said):
        tell(first, second, state, *rest)


def test_a_folder_without_configuration_says_how_to_make_one(state):
    shutil.rmtree(state)
    with pytest.raises(ConfigError, match="shoal-server init"):
        tell("priors", "list", state)
