from __future__ import annotations

import pytest
import torch

from client.backbone.lexicon import Lexicon
from client.learn.subspace import LEADING, MOST, as_wide, shaped

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


@pytest.mark.parametrize("length", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("lexicon", [None, curved([2.0, 1.0, 0.5, 0.25])], ids=["no lexicon", "a lexicon"])
def test_however_far_others_went_a_search_looks_their_way_and_no_farther(length, lexicon):
    public, others = torch.eye(WIDTH), torch.diag(torch.tensor([0.1, 4.0] + [0.2] * (WIDTH - 2)))
    alone = shaped(public, torch.zeros(WIDTH), lexicon)
    shape = shaped(as_wide(length**2 * others, public, lexicon), torch.zeros(WIDTH), lexicon)
    torch.testing.assert_close(shape.axes, shaped(as_wide(others, public, lexicon), shape.origin, lexicon).axes)
    assert shape.axes[0].abs().argmax() == 1
    answers = torch.ones(WIDTH) if lexicon is None else torch.cat([lexicon.curvature.diag(), torch.zeros(WIDTH - 4)])
    gains = [float((each.axes.square() * answers).sum()) for each in (alone, shape)]
    assert gains[1] == pytest.approx(gains[0], rel=0.05)  # a few axes that are worth little are left out


def test_of_people_who_never_moved_a_search_learns_nothing():
    assert as_wide(torch.zeros(WIDTH, WIDTH), torch.eye(WIDTH), None).equal(torch.eye(WIDTH))


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
