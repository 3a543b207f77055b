from __future__ import annotations

import torch

from client.backbone.lexicon import Lexicon
from client.learn.subspace import LEADING, MOST, shaped

WIDTH = 12


def curved(strengths):
    return Lexicon(
        centre=torch.zeros(4),
        features=torch.zeros(2, 4),
        weights=torch.zeros(3, WIDTH),
        basis=torch.eye(WIDTH)[:, : len(strengths)],
        curvature=torch.diag(torch.tensor(strengths)),
    )


def test_axes_are_as_long_as_the_spread_and_the_widest_comes_first():
    shape = shaped(torch.diag(torch.arange(1.0, WIDTH + 1)), torch.zeros(WIDTH), None)
    lengths = shape.axes.norm(dim=1)
    torch.testing.assert_close(lengths[0], torch.tensor(WIDTH**0.5))
    assert (lengths.diff() < 0).all()


def test_a_search_looks_where_people_differ_and_predictions_answer():
    spread = torch.tensor([9.0, 4.0, 1.0] + [0.01] * (WIDTH - 3))
    shape = shaped(torch.diag(spread), torch.zeros(WIDTH), curved([0.0, 1.0, 1.0, 1.0]))
    assert len(shape.axes) == 2  # nobody differs along the fourth, and nothing answers to the first
    assert shape.axes[0].abs().argmax() == 1
    torch.testing.assert_close(shape.axes.norm(dim=1), torch.tensor([2.0, 1.0]), atol=1e-4, rtol=0)
    assert len(shape.rest) == 0


def test_a_place_of_several_vectors_moves_each_along_the_same_axes():
    shape = shaped(torch.eye(WIDTH), torch.zeros(2 * WIDTH), curved([1.0, 0.5]))
    assert shape.size == 2 * len(shape.axes) == 4
    token = shape.token(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    assert token[:WIDTH].norm() == 1
    assert not token[WIDTH:].any()


def test_where_axes_do_not_suffice_others_come_in_and_the_token_stays():
    generator = torch.Generator().manual_seed(0)
    shape = shaped(torch.eye(40), torch.zeros(80), None)
    assert (len(shape.axes), len(shape.rest)) == (MOST, 40 - MOST)
    place = torch.randn(shape.size, generator=generator)
    turned, moved = shape.turned(place, generator)
    torch.testing.assert_close(turned.token(moved), shape.token(place))
    torch.testing.assert_close(turned.axes[:LEADING], shape.axes[:LEADING])
    everything = torch.cat([turned.axes, turned.rest])
    torch.testing.assert_close(everything @ everything.T, torch.eye(40), atol=1e-4, rtol=0)
    assert (turned.axes[LEADING:] @ shape.rest.T).abs().max() > 0.1
