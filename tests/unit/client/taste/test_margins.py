from __future__ import annotations

import pytest
import torch

from client.taste.margins import LONGEST, Margins, preference_loss


@pytest.fixture
def some():
    margins, generator = Margins(pairs=5, axes=3), torch.Generator().manual_seed(0)
    for pair in range(4):  # the fifth is not looked at
        margins.look(pair, 0.3 * pair, torch.randn(3, generator=generator), torch.zeros(3))
    return margins


def posterior(margins, place):
    lines = margins.constants[:4] + margins.slopes[:4] @ place
    return 4 * preference_loss(lines) + place.square().sum() / 2


def test_the_best_place_is_where_the_posterior_is_flat_and_highest(some):
    best = some.best(torch.zeros(3))
    slope = torch.func.grad(lambda place: posterior(some, place))(best)
    assert slope.abs().max() < 1e-4
    assert posterior(some, best) < posterior(some, torch.zeros(3))


def test_the_precision_is_the_posteriors_curvature(some):
    place = torch.tensor([0.2, -0.1, 0.4])
    assert torch.allclose(some.precision(place), torch.func.hessian(lambda p: posterior(some, p))(place), atol=1e-5)


def test_before_any_look_nothing_is_known():
    margins = Margins(pairs=2, axes=3)
    assert (margins.best(torch.zeros(3)) == 0).all()
    assert (margins.precision(torch.zeros(3)) == torch.eye(3)).all()


def test_a_step_is_bounded_however_sure_the_choices_are():
    margins = Margins(pairs=1, axes=2)
    margins.look(0, -1e4, torch.tensor([1e3, 0.0]), torch.zeros(2))
    assert margins.best(torch.zeros(2)).norm() == pytest.approx(LONGEST, abs=1e-4)


def test_a_look_says_what_it_says_wherever_it_was_taken():
    here, there, slope = Margins(pairs=1, axes=2), Margins(pairs=1, axes=2), torch.tensor([0.5, -1.0])
    here.look(0, 0.25, slope, torch.zeros(2))
    place = torch.tensor([2.0, 1.0])
    there.look(0, 0.25 + float(slope @ place), slope, place)
    assert torch.allclose(here.best(torch.zeros(2)), there.best(torch.zeros(2)), atol=1e-6)


def test_later_looks_weigh_more():
    margins = Margins(pairs=1, axes=1)
    for value in (0.0, 1.0):
        margins.look(0, value, torch.zeros(1), torch.zeros(1))
    assert 0.5 < float(margins.constants[0]) < 1


def test_what_is_forgotten_of_an_axis_leaves_the_margins_here_as_they_were(some):
    place, turned = torch.tensor([0.5, -0.3, 0.8]), torch.tensor([False, True, False])
    before = some.constants + some.slopes @ place
    some.forget(turned, place)
    left = torch.where(turned, torch.zeros(3), place)
    assert torch.allclose(some.constants + some.slopes @ left, before, atol=1e-6)
    assert (some.slopes[:, 1] == 0).all()


def test_all_state_is_kept(some):
    other = Margins(pairs=5, axes=3)
    other.restore({name: tensor.clone() for name, tensor in some.tensors().items()})
    assert (other.best(torch.zeros(3)) == some.best(torch.zeros(3))).all()
