"""The law of a contribution: whoever you are, you move the sum by at most S, and count as one."""

from __future__ import annotations

import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.contribution import Announcement, contribution
from common.mixture import responsibilities
from common.prior import Cohort
from common.statistics import blocks, clip, sensitivity, split, svec, unsvec

DIMENSIONS = st.integers(1, 64)
BOUNDS = st.floats(1e-6, 1e3)
ANYTHING = st.floats(allow_nan=True, allow_infinity=True)


def rows(dimensions):
    """Vectors of every size: any float64 at all, and ones around the bounds in use."""
    return hnp.arrays(np.float64, dimensions, elements=ANYTHING | st.floats(-10, 10))


@st.composite
def shares(draw, most=5):
    """A point of the simplex, corners included."""
    weights = np.array(draw(st.lists(st.floats(0, 1), min_size=1, max_size=most)))
    weights = weights if weights.sum() > 0 else np.ones(len(weights))
    return weights / weights.sum()


@st.composite
def mixtures(draw, dimensions, most=4):
    """Cohorts at the edges of what `check_cohorts` lets through."""
    seed, count = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, most))
    rng = np.random.default_rng(seed)
    variance = st.sampled_from([1e-12, 1e-3, 1.0, 1e6])
    found = []
    for _ in range(count):
        directions = draw(st.integers(0, dimensions))
        found.append(
            Cohort(
                weight=1 / count,
                mean=rng.normal(size=dimensions) * draw(st.sampled_from([0.0, 1.0, 50.0])),
                basis=np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0][:, :directions],
                spectrum=np.full(directions, draw(variance)),
                residual=draw(variance),
            )
        )
    return tuple(found)


@given(data=st.data(), dimensions=DIMENSIONS, r=shares(), bound=BOUNDS)
def test_one_person_moves_the_sum_by_at_most_s(data, dimensions, r, bound):
    vector = blocks(data.draw(rows(dimensions)), r, bound)
    assert np.linalg.norm(vector) <= sensitivity()


@given(data=st.data(), dimensions=st.integers(1, 16), bound=BOUNDS)
def test_nothing_that_leaves_a_device_is_larger_than_s(data, dimensions, bound):
    """The same law at the door itself: whatever was learned, whatever the server announced."""
    width = dimensions + data.draw(st.integers(0, 8))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    announced = Announcement(
        round_id="r",
        backbone="ab" * 32,
        kind="object",
        prior_version=1,
        public_basis=np.linalg.qr(rng.normal(size=(width, dimensions)))[0],
        cohorts=data.draw(st.just(()) | mixtures(dimensions)),
        clip=bound,
    )
    delta = data.draw(hnp.arrays(np.float64, width, elements=st.floats(-1e150, 1e150)))
    vector = contribution(delta, announced)
    assert np.all(np.isfinite(vector))
    assert np.linalg.norm(vector) <= sensitivity()
    people = [moments.people for moments in split(vector, dimensions, max(1, len(announced.cohorts)), bound)]
    assert sum(people) == pytest.approx(1, abs=1e-12)


@given(data=st.data(), dimensions=st.integers(1, 8), people=st.integers(1, 12), bound=BOUNDS)
def test_a_sum_tells_how_many_people_are_in_it(data, dimensions, people, bound):
    cohorts = data.draw(mixtures(dimensions))
    vectors = []
    for _ in range(people):
        x = clip(data.draw(rows(dimensions)), bound)
        vectors.append(blocks(x, responsibilities(x, cohorts), bound))
    read = split(np.sum(vectors, axis=0), dimensions, len(cohorts), bound)
    assert math.fsum(moments.people for moments in read) == pytest.approx(people, rel=1e-12)


@given(data=st.data(), dimensions=DIMENSIONS, bound=BOUNDS)
def test_clipping_bounds_the_norm_keeps_the_direction_and_is_idempotent(data, dimensions, bound):
    x = data.draw(rows(dimensions))
    clipped = clip(x, bound)
    assert np.linalg.norm(clipped) <= bound
    np.testing.assert_allclose(clip(clipped, bound), clipped, rtol=1e-14, atol=0)
    kept = np.where(np.isfinite(x), x, 0.0)
    assert np.all(np.abs(clipped) <= np.abs(kept))
    assert np.all(np.sign(clipped) * np.sign(kept) >= 0)


@given(data=st.data(), dimensions=st.integers(1, 20))
@settings(max_examples=50)
def test_svec_keeps_norms_and_comes_back(data, dimensions):
    half = data.draw(hnp.arrays(np.float64, (dimensions, dimensions), elements=st.floats(-1e6, 1e6)))
    matrix = half + half.T
    assert np.linalg.norm(svec(matrix)) == pytest.approx(np.linalg.norm(matrix), rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(unsvec(svec(matrix)), matrix, rtol=1e-15, atol=0)
