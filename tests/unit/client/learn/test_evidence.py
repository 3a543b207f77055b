from __future__ import annotations

import pytest
import torch

from client.learn.estimator import forward_jacobian
from client.learn.evidence import DOUBT, LONGEST, PRECISION, Quadratic

ENTRIES = 400


@pytest.fixture
def linear():
    """Residuals that are linear in the place, and the place where they are least."""
    generator = torch.Generator().manual_seed(5)
    slopes = torch.randn(ENTRIES, 6, generator=generator)
    goal = torch.tensor([1.0, -0.5, 0.3, 0.0, 0.8, -1.0])
    return lambda places: (places - goal) @ slopes.T, slopes, goal


def test_slopes_of_linear_residuals_are_exact(linear):
    residuals, slopes, goal = linear
    missed, found = forward_jacobian(residuals, torch.zeros(6), 0.5)
    torch.testing.assert_close(missed, -slopes @ goal, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found, slopes.T, atol=1e-4, rtol=1e-4)


def test_one_draw_of_linear_residuals_leads_to_the_bottom_less_what_the_shape_holds_back(linear):
    residuals, slopes, goal = linear
    evidence = Quadratic(axes=6)
    loss = evidence.look(residuals, torch.zeros(6), 0.5)
    assert loss == pytest.approx(float((slopes @ goal).square().mean()), rel=1e-4)
    hessian = slopes.T @ slopes / ENTRIES
    expected = torch.linalg.solve(hessian + (PRECISION + DOUBT) * torch.eye(6), hessian @ goal)
    torch.testing.assert_close(evidence.best(torch.zeros(6)), expected, atol=1e-3, rtol=1e-3)


def test_doubt_falls_as_draws_add_up(linear):
    residuals, _, goal = linear
    few, many = Quadratic(axes=6), Quadratic(axes=6)
    few.look(residuals, torch.zeros(6), 0.5)
    for _ in range(10):
        many.look(residuals, torch.zeros(6), 0.5)
    held = [float((evidence.best(torch.zeros(6)) - goal).norm()) for evidence in (few, many)]
    assert held[1] < 0.6 * held[0]


def test_no_step_is_longer_than_the_model_reaches():
    evidence = Quadratic(axes=2)
    evidence.look(lambda places: 10 * (places - 1000) @ torch.ones(2, 50), torch.zeros(2), 0.5)
    assert float(evidence.best(torch.zeros(2)).norm()) == pytest.approx(LONGEST, rel=1e-4)


def test_what_was_said_of_axes_that_turn_away_is_forgotten_and_the_rest_allows_for_it(linear):
    residuals, _, goal = linear
    evidence, place = Quadratic(axes=6), torch.zeros(6)
    for _ in range(30):
        evidence.look(residuals, place, 0.5)
        place = evidence.best(place)
    later = torch.arange(6) >= 3
    moved = place.clone()
    evidence.forget(later, place)
    assert not evidence.information[later].any()
    assert not evidence.pull[later].any()
    place[later] = 0
    found = evidence.best(place)
    torch.testing.assert_close(found[:3], goal[:3], atol=0.02, rtol=0)
    assert moved[later].any()
