"""What is seen is what was put in, less what protects it; on made-up people, so that the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from common.privacy import plan
from simulations.attacks import views
from simulations.attacks.displacements import Displacements

DIMENSIONS = 8
PEOPLE = 40


@pytest.fixture(scope="module")
def halves():
    rng = np.random.default_rng(0)
    concepts = rng.standard_normal((PEOPLE, 16))
    made = Displacements(
        subjects=np.array([str(i) for i in range(PEOPLE)]),
        class_words=np.array(["dog"] * PEOPLE),
        first=concepts + 0.3 * rng.standard_normal((PEOPLE, 16)),
        second=concepts + 0.3 * rng.standard_normal((PEOPLE, 16)),
        public_basis=np.linalg.qr(rng.standard_normal((16, DIMENSIONS)))[0],
    )
    return views.halves(made)


def planned(epsilon):
    length = 1 + DIMENSIONS + DIMENSIONS * (DIMENSIONS + 1) // 2
    return plan(length=length, people=PEOPLE // 2, honest=PEOPLE // 2, epsilon=epsilon, delta=1e-6)


def test_nobody_is_in_the_model_that_attacks_them(halves):
    assert sum(len(half.victims) for half in halves) == PEOPLE
    rows = {row.tobytes() for half in halves for row in half.victims}
    assert len(rows) == PEOPLE


def test_a_bare_contribution_names_its_person(halves):
    found = views.conclude([views.see_bare(half) for half in halves])
    assert found.matched > 0.5
    assert found.detected > 0.5
    assert (found.candidates, found.victims) == (PEOPLE // 2, PEOPLE)


def test_a_masked_one_does_not(halves):
    """20 candidates: more than 11 of 40 right by chance with probability 10⁻⁶."""
    rng = np.random.default_rng(1)
    found = views.conclude([views.see_masked(half, planned(1.0), rng) for half in halves])
    assert found.matched <= 11 / 40


def test_a_sum_without_noise_less_everybody_else_is_the_last_person(halves):
    mechanism = planned(math.inf)
    bare = views.conclude([views.see_bare(half) for half in halves])
    found = views.conclude([views.see_sum_of_friends(half, mechanism) for half in halves])
    assert found.matched == pytest.approx(bare.matched, abs=0.06)  # but for rounding


def test_a_sum_betrays_who_is_in_it_without_noise_and_not_with_it(halves):
    """Of 20 members at most 12 are found where (1, 10⁻⁶) allows e² · 1 %, but with probability 10⁻⁶."""
    quiet, noisy = (planned(epsilon) for epsilon in (math.inf, 1.0))
    assert views.conclude([views.see_sum_of_candidates(half, quiet) for half in halves]).detected > 0.9
    assert views.conclude([views.see_sum_of_candidates(half, noisy) for half in halves]).detected <= 12 / 20
