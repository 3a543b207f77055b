from __future__ import annotations

import pytest
import torch

from client.learn.estimator import forward_jacobian
from client.learn.evidence import DOUBT, FORGOTTEN, PRECISION, Predictions
from client.learn.model import LONGEST

ENTRIES = 400
HERE = torch.zeros(6)
FORGETTING = 0.97
ALL = torch.eye(6)


def as_they_are(places, prompts):
    return places[:, None].expand(-1, len(prompts), -1)


def bent(places, prompts):
    """Return states that a text encoder's norm may make of places: long ones are told apart by direction alone."""
    moved = places[:, None] + 0.3 + 0.1 * torch.tensor(prompts)[:, None]
    return moved / (0.5 + moved.norm(dim=-1, keepdim=True))


@pytest.fixture
def slopes():
    return torch.randn(ENTRIES, 6, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def goal():
    return torch.tensor([1.0, -0.5, 0.3, 0.0, 0.8, -1.0])


@pytest.fixture
def linear(slopes, goal):
    """Residuals that are linear in the place, and least at the goal."""
    return lambda places: (places - goal) @ slopes.T


def through(states, slopes, goal, prompt=0):
    """Residuals that are linear in what states make of the place, and least at the goal."""
    return lambda places: (states(places, [prompt]) - states(goal[None], [prompt]))[:, 0] @ slopes.T


def test_slopes_of_linear_residuals_are_exact(linear, slopes, goal):
    missed, found = forward_jacobian(linear, HERE, 0.5)
    torch.testing.assert_close(missed, -slopes @ goal, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found, slopes.T, atol=1e-4, rtol=1e-4)


def test_one_draw_of_linear_residuals_leads_to_the_bottom_less_what_the_shape_holds_back(linear, slopes, goal):
    evidence = Predictions(forgetting=FORGETTING)
    loss = evidence.look(linear, as_they_are, 0, HERE, ALL, 0.5)
    assert loss == pytest.approx(float((slopes @ goal).square().mean()), rel=1e-4)
    hessian = slopes.T @ slopes / ENTRIES
    expected = torch.linalg.solve(hessian + (PRECISION + DOUBT) * torch.eye(6), hessian @ goal)
    torch.testing.assert_close(evidence.best(HERE, as_they_are), expected, atol=5e-3, rtol=5e-3)


def test_doubt_falls_as_draws_add_up(linear, goal):
    few, many = Predictions(forgetting=FORGETTING), Predictions(forgetting=FORGETTING)
    faint = lambda places: 0.02 * linear(places)  # noqa: E731 - so that doubt is not drowned
    few.look(faint, as_they_are, 0, HERE, ALL, 0.5)
    for _ in range(10):
        many.look(faint, as_they_are, 0, HERE, ALL, 0.5)
    held = [float((evidence.best(HERE, as_they_are) - goal).norm()) for evidence in (few, many)]
    assert held[1] < 0.6 * held[0]


def test_no_step_is_longer_than_the_model_reaches():
    evidence = Predictions(forgetting=FORGETTING)
    here = torch.zeros(2)
    evidence.look(lambda places: 10 * (places - 1000) @ torch.ones(2, 50), as_they_are, 0, here, torch.eye(2), 0.5)
    assert float(evidence.best(here, as_they_are).norm()) == pytest.approx(LONGEST, rel=1e-4)


def test_what_the_text_encoder_bends_is_no_news_to_the_search(slopes, goal):
    told, untold = Predictions(forgetting=FORGETTING), Predictions(forgetting=FORGETTING)
    residuals = through(bent, slopes, goal)
    told.look(residuals, bent, 0, HERE, ALL, 0.5)
    untold.look(residuals, as_they_are, 0, HERE, ALL, 0.5)
    misses = [
        float(residuals(evidence.best(HERE, states)[None]).square().mean() / residuals(HERE[None]).square().mean())
        for evidence, states in ((told, bent), (untold, as_they_are))
    ]
    assert misses[0] < 0.02
    assert misses[1] > 5 * misses[0]


def test_every_prompt_is_bent_in_its_own_way(slopes, goal):
    evidence, place = Predictions(forgetting=FORGETTING), HERE
    for prompt in (0, 3, 0, 3):
        evidence.look(through(bent, slopes, goal, prompt), bent, prompt, place, ALL, 0.5)
        place = evidence.best(place, bent)
    for prompt in (0, 3):
        residuals = through(bent, slopes, goal, prompt)
        assert residuals(place[None]).square().mean() < 0.02 * residuals(HERE[None]).square().mean()


def test_draws_probed_in_few_directions_each_add_up(linear, goal):
    evidence, generator = Predictions(forgetting=FORGETTING), torch.Generator().manual_seed(0)
    for _ in range(12):
        probes = torch.linalg.qr(torch.randn(6, 6, generator=generator))[0][:2]
        evidence.look(linear, as_they_are, 0, HERE, probes, 0.5)
    # A draw holds its prediction to change along its own probes alone, so that what others say is held back a little.
    assert (evidence.best(HERE, as_they_are) - goal).norm() < 0.5 * goal.norm()


def test_a_draw_is_let_go_when_it_is_worth_little(linear):
    evidence = Predictions(forgetting=FORGETTING)
    for _ in range(200):
        evidence.look(linear, as_they_are, 0, HERE, ALL, 0.5)
    assert FORGETTING ** len(evidence.looks) < FORGOTTEN <= FORGETTING ** (len(evidence.looks) - 1)


@pytest.mark.parametrize("draws", [0, 3])
def test_what_was_restored_leads_to_the_same_place(slopes, goal, draws):
    evidence, again = Predictions(forgetting=FORGETTING), Predictions(forgetting=FORGETTING)
    for prompt in range(draws):
        evidence.look(through(bent, slopes, goal, prompt), bent, prompt, HERE, ALL, 0.5)
    again.restore(evidence.tensors())
    assert [look.prompt for look in again.looks] == list(range(draws))
    if draws:
        assert torch.equal(again.best(HERE, bent), evidence.best(HERE, bent))
