"""Forwards to target are true to a step, and cost few measurements."""

from __future__ import annotations

import pytest
import torch

from simulations.trials import Course, Target


class Losses:
    """An engine that takes a token for its loss, and counts."""

    asked = 0

    def losses(self, tokens, _batch, _kind):
        self.asked += len(tokens)
        return tokens[:, 0]


def course_of(losses, *, to_the_end=True, each=13):
    """Watch a search whose loss after every step is as given; the target is 0.2."""
    target = Target(evaluation=None, anchor_loss=1.0, gradient_loss=0.0, gradient_token=torch.zeros(1))
    engine = Losses()
    course = Course(engine, target, "object", to_the_end=to_the_end)
    for number, loss in enumerate(losses):
        course.watch(each * number, torch.tensor([loss]))
    return course, engine


@pytest.mark.parametrize("to_the_end", [True, False])
@pytest.mark.parametrize("met", [1, 2, 30, 31, 37, 40, 70])
def test_the_step_that_met_the_target_is_found_between_measurements(met, to_the_end):
    course, engine = course_of([0.9] * met + [0.1] * (80 - met), to_the_end=to_the_end)
    assert course.reached == 13 * met
    assert [forwards for forwards, _ in course.points] == sorted(forwards for forwards, _ in course.points)
    assert [float(token) for token in course.tokens] == pytest.approx([loss for _, loss in course.points])
    assert engine.asked < 40


def test_a_target_that_is_met_at_once_takes_no_forwards_but_the_start_s():
    assert course_of([0.1] * 20)[0].reached == 0


def test_a_target_that_is_not_met_is_not_looked_for():
    course, engine = course_of([0.9] * 80)
    assert course.reached is None
    assert engine.asked == len(course.points) < 20


def test_what_a_search_ends_with_counts_when_no_place_before_it_met_the_target():
    course, _ = course_of([0.9] * 80)
    course.measure(1040, torch.tensor([0.15]))
    assert (course.reached, course.share) == (1040, pytest.approx(0.85))


def test_the_last_measurement_is_the_share_when_the_target_was_met_long_before():
    course, _ = course_of([0.9] * 20 + [0.1] * 60)
    course.measure(1040, torch.tensor([0.4]))
    assert (course.reached, course.share) == (260, pytest.approx(0.6))
