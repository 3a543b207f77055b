from __future__ import annotations

import numpy as np
import pytest

from common.errors import ConfigError, PriorError, ProtocolError
from common.mixture import responsibilities
from common.statistics import blocks
from server.update import RoundSum, divide, next_prior, pool

BACKBONE = "ab" * 32
DIMENSIONS = 3


def encode(rows, cohorts=(), name="r", clip=50.0):
    vectors = [blocks(x, responsibilities(x, cohorts), clip) for x in rows]
    return RoundSum(round_id=name, total=np.sum(vectors, axis=0), clip=clip)


def update(previous, sums, **changes):
    settings = {
        "backbone": BACKBONE,
        "kind": "object",
        "public_basis": np.eye(5)[:, :DIMENSIONS],
        "minimum_people": 4,
        "max_directions": 2,
        "cohorts": 1,
        "created": "2025-01-31T12:00:00Z",
    }
    return next_prior(previous, sums, **(settings | changes))


def people(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, DIMENSIONS)) * np.array([2.0, 1.0, 0.5])


def test_no_prior_below_the_minimum_and_one_at_it():
    assert update(None, []) is None
    assert update(None, [encode(people(3))]) is None
    assert update(None, [encode(people(4))]).people == 4
    assert update(None, [encode(people(2), name="a"), encode(people(2), name="b")]).rounds == ("a", "b")


def test_rounds_under_different_clips_add_up():
    rows = people(12)
    prior = update(None, [encode(rows[:5], clip=20.0), encode(rows[5:], clip=70.0)])
    np.testing.assert_allclose(prior.cohorts[0].mean, rows.mean(axis=0), rtol=1e-10, atol=1e-12)


def test_versions_count_up():
    first = update(None, [encode(people(6))])
    second = update(first, [encode(people(6)), encode(people(6, seed=1))])
    assert (first.version, second.version) == (1, 2)


def test_two_groups_of_people_are_found_over_the_rounds():
    """The first split is across the leading direction; EM on new people then finds each group."""
    rng = np.random.default_rng(3)
    centres = np.array([[4.0, 3.0, 0.0], [-4.0, -3.0, 0.0]])
    sums, prior = [], None
    for index in range(8):
        rows = np.concatenate([centre + 0.5 * rng.normal(size=(15, DIMENSIONS)) for centre in centres])
        sums.append(encode(rows, prior.cohorts if prior else (), f"r{index}"))
        prior = update(prior, sums, cohorts=2)
    assert len(prior.cohorts) == 2
    found = sorted((cohort.mean for cohort in prior.cohorts), key=lambda mean: -mean[0])
    np.testing.assert_allclose(found, centres, atol=0.6)
    assert [cohort.weight for cohort in prior.cohorts] == pytest.approx([0.5, 0.5], abs=0.02)


def test_a_cohort_more_is_made_only_when_there_are_twenty_people_for_each():
    assert len(update(None, [encode(people(39))], cohorts=4).cohorts) == 1
    assert len(update(None, [encode(people(40))], cohorts=4).cohorts) == 2
    assert len(update(None, [encode(people(200))], cohorts=4).cohorts) == 2, "one more with each version"
    assert len(update(None, [encode(people(200))], cohorts=1).cohorts) == 1


def test_a_cohort_is_divided_only_along_a_direction_that_is_none_of_the_noise():
    """The same 200 people, alike in all directions or not, under the same noise."""
    noise = np.random.default_rng(1).normal(size=10)
    for scales, cohorts in ((np.full(3, 2.0), 1), (np.array([3.5, 1.0, 1.0]), 2)):
        rows = 2.0 + np.random.default_rng(2).normal(size=(200, 3)) * scales
        plain = encode(rows, clip=12.0)
        noised = RoundSum(round_id="r", total=plain.total + noise, clip=12.0, people=200, noise_variance=1.0)
        assert len(update(None, [noised], cohorts=2).cohorts) == cohorts


def test_dividing_keeps_the_place_of_every_other_cohort():
    pooled = pool([encode(people(9))], dimensions=DIMENSIONS)
    two = divide(pooled)
    three = divide([two[0]._replace(people=1.0), two[1]])
    assert [group.people for group in three] == [1.0, 2.25, 2.25]
    np.testing.assert_allclose(three[1].sum_x + three[2].sum_x, two[1].sum_x, rtol=1e-12)


def test_people_before_a_division_are_divided_as_in_the_version_that_was_announced():
    early = encode(people(40), name="early")
    announced = update(None, [early], cohorts=2)
    late = encode(people(10, seed=1), announced.cohorts, "late")
    pooled = pool([late, early], dimensions=DIMENSIONS)
    halves = divide(pool([early], dimensions=DIMENSIONS))
    read = pool([late], dimensions=DIMENSIONS)
    for group, half, new in zip(pooled, halves, read, strict=True):
        np.testing.assert_allclose(group.sum_x, half.sum_x + new.sum_x, rtol=1e-12)
        assert group.people == pytest.approx(half.people + new.people, rel=1e-12)


@pytest.mark.parametrize("total", [np.zeros(7), np.zeros(0), np.full(10, np.nan)])
def test_a_sum_of_wrong_length_or_not_finite_is_refused(total):
    with pytest.raises(ProtocolError):
        update(None, [RoundSum(round_id="r", total=total, clip=1.0)])


def test_a_sum_that_no_people_could_make_is_not_published():
    good = encode(people(8))
    scaled = good.total.copy()
    scaled[1:] *= 1e9
    with pytest.raises(PriorError):
        update(None, [RoundSum(round_id="r", total=scaled, clip=good.clip)])


@pytest.mark.parametrize(
    "changes",
    [
        {"minimum_people": 1},
        {"max_directions": 0},
        {"cohorts": 0},
        {"cohorts": 17},
        {"public_basis": np.ones((5, 3))},
        {"public_basis": np.full((5, 3), np.nan)},
    ],
)
def test_unusable_settings_are_refused(changes):
    with pytest.raises(ConfigError):
        update(None, [encode(people(8))], **changes)
