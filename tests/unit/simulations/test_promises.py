"""What learned tokens' pictures are held to."""

from __future__ import annotations

import numpy as np
import pytest

from client.placeholder import PROPOSED
from simulations.benchmarks.promises import AS_MUCH, BOUND, SCORES, SHUFFLED, SOFTER, at_strength, held
from simulations.benchmarks.ways import GRADIENT, REFERENCE

PEOPLE = 40
RNG = np.random.default_rng(0)
OURS = "ours"


def scores_of(likeness_of_others):
    """Ours has 0.9 of the gradient's agreement; somebody else's pictures are as said alike.

    Fewer ran the published algorithm, which is 0.1 below ours in likeness, and above in agreement. Colours tell nobody.
    """
    columns = (0.7 + 0 * np.arange(PEOPLE), RNG.normal(0.3, 0.1, PEOPLE), np.zeros(PEOPLE), RNG.uniform(0, 1, PEOPLE))
    gradient = np.stack(columns, 1)
    others = gradient.copy()
    others[:, 1] = RNG.normal(likeness_of_others, 0.1, PEOPLE)
    ours = gradient * [1, 1, 1, 0.9]
    published = ours[: PEOPLE // 2] + np.array([0, -0.1, 0, 0.1])
    return {GRADIENT: gradient, REFERENCE: published, OURS: ours, SHUFFLED: others}


def names_of(bars, beside):
    return [bar.what.split(": ")[1].split(",")[0] for bar in bars if beside in bar.what]


@pytest.mark.parametrize("beside", ["over the gradient's", "less published"])
def test_cosine_and_agreement_are_promised_and_likeness_where_it_tells_people_apart(beside):
    assert names_of(held("style", scores_of(0.1), OURS, 0), beside) == ["cosine", "likeness", "agreement"]
    assert names_of(held("style", scores_of(0.3), OURS, 0), beside) == ["cosine", "agreement"]


def test_colours_that_tell_people_apart_are_held_against_the_published_algorithms_alone():
    scores = scores_of(0.3)
    told = SCORES.index("colours")
    for way in (GRADIENT, OURS):
        scores[way][:, told] = RNG.normal(0.3, 0.1, PEOPLE)
    bars = held("style", scores, OURS, 0)
    assert "colours" not in names_of(bars, "over the gradient's")
    [bar] = [bar for bar in bars if "colours" in bar.what]
    assert (bar.bound, bar.holds) == (0, True)
    assert bar.value == pytest.approx(0.3, abs=0.1)


def test_a_promise_is_a_share_of_the_gradients():
    cosine, _, agreement = (bar for bar in held("object", scores_of(0.1), OURS, 0) if "gradient" in bar.what)
    assert (cosine.value, cosine.bound, cosine.holds) == (pytest.approx(1), BOUND, True)
    assert (agreement.value, agreement.interval, agreement.holds) == (
        pytest.approx(0.9),
        (pytest.approx(0.9), pytest.approx(0.9)),
        False,
    )


def test_what_the_published_algorithm_has_more_is_told_of_those_who_ran_both():
    cosine, likeness, agreement = (
        bar for bar in held("object", scores_of(0.1), OURS, 0) if f"less {REFERENCE}" in bar.what
    )
    assert (cosine.value, cosine.holds) == (pytest.approx(0), True)
    assert (likeness.value, likeness.holds) == (pytest.approx(0.1), True)
    assert (agreement.value, agreement.interval, agreement.holds) == (
        pytest.approx(-0.1),
        (pytest.approx(-0.1), pytest.approx(-0.1)),
        False,
    )


def test_one_newcomer_alone_is_held_to_all():
    found = {way: rows[:1] for way, rows in scores_of(0.3).items() if way != SHUFFLED}
    bars = held("object", found, OURS, 0)
    assert (len(names_of(bars, "gradient")), len(names_of(bars, "published"))) == (3, 4)


def test_a_style_said_more_softly_is_held_where_it_shows_as_much_of_the_thing(monkeypatch):
    monkeypatch.setitem(SOFTER, "style", (0.5,))
    scores = scores_of(0.1)
    colours, agreement = SCORES.index("colours"), SCORES.index("agreement")
    for way in (GRADIENT, OURS):
        scores[way][:, colours] = 0.4
    scores[REFERENCE] = np.tile([0.7, 0.0, 0.1, 0.6], (PEOPLE, 1))
    scores[OURS][:, agreement] = 0.5
    scores[at_strength(OURS, 0.5)] = scores[OURS] + np.array([0, 0, -0.2, 0.2])
    bars = [bar for bar in held("style", scores, OURS, 0) if AS_MUCH in bar.what]
    assert names_of(bars, "less published") == ["cosine", "likeness", "colours"]
    assert (bars[-1].value, bars[-1].bound) == (pytest.approx(0.3 - 0.1), 0)


def test_a_style_is_held_as_it_is_proposed_too_and_an_object_is_not():
    scores = scores_of(0.3)
    agreement = SCORES.index("agreement")
    softly = at_strength(OURS, PROPOSED["style"])
    scores[softly] = scores[OURS].copy()
    scores[softly][:, agreement] += 0.3  # the published algorithm has 0.1 more than ours
    found = {bar.what: bar for bar in held("style", scores, OURS, 0)}
    bar = found[f"style: agreement, {softly}, less {REFERENCE}"]
    assert (bar.value, bar.bound, bar.holds) == (pytest.approx(0.2), 0, True)
    assert not found[f"style: agreement, {OURS}, less {REFERENCE}"].holds
    assert not any(softly in bar.what for bar in held("object", scores, OURS, 0))
