"""What learned tokens' pictures are held to."""

from __future__ import annotations

import numpy as np
import pytest

from simulations.benchmarks.quality import BOUND, GRADIENT, SHUFFLED, held

PEOPLE = 40
RNG = np.random.default_rng(0)
OURS = "ours"


def scores_of(likeness_of_others):
    """Ours has 0.9 of the gradient's agreement; somebody else's pictures are as said alike."""
    gradient = np.stack([0.7 + 0 * np.arange(PEOPLE), RNG.normal(0.3, 0.1, PEOPLE), RNG.uniform(0, 1, PEOPLE)], 1)
    others = gradient.copy()
    others[:, 1] = RNG.normal(likeness_of_others, 0.1, PEOPLE)
    return {GRADIENT: gradient, OURS: gradient * [1, 1, 0.9], SHUFFLED: others}


def test_cosine_and_agreement_are_promised_and_likeness_where_it_tells_people_apart():
    names = [bar.what.split(": ")[1].split(",")[0] for bar in held("style", scores_of(0.1), OURS, 0)]
    assert names == ["cosine", "likeness", "agreement"]
    names = [bar.what.split(": ")[1].split(",")[0] for bar in held("style", scores_of(0.3), OURS, 0)]
    assert names == ["cosine", "agreement"]


def test_a_promise_is_a_share_of_the_gradients():
    cosine, _, agreement = held("object", scores_of(0.1), OURS, 0)
    assert (cosine.value, cosine.bound, cosine.holds) == (pytest.approx(1), BOUND, True)
    assert (agreement.value, agreement.interval, agreement.holds) == (
        pytest.approx(0.9),
        (pytest.approx(0.9), pytest.approx(0.9)),
        False,
    )


def test_one_newcomer_alone_is_held_to_all():
    found = {way: rows[:1] for way, rows in scores_of(0.3).items() if way != SHUFFLED}
    assert len(held("object", found, OURS, 0)) == 3
