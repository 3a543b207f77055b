from __future__ import annotations

import pytest
import torch

from client.learn.estimator import forward_difference

WIDTH = 10


def quadratic():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(WIDTH, WIDTH, generator=generator)
    matrix, linear = root @ root.T, torch.randn(WIDTH, generator=generator)
    return (lambda c: 0.5 * ((c @ matrix) * c).sum(dim=1) + c @ linear), (lambda x: matrix @ x + linear), matrix


def test_mean_of_many_estimates_is_the_gradient_of_a_quadratic():
    losses, gradient, _ = quadratic()
    point = torch.linspace(-1, 1, WIDTH)
    directions = torch.randn(40_000, WIDTH, generator=torch.Generator().manual_seed(1))
    found, _ = forward_difference(losses, point, directions, 1e-3)
    # Standard error of each entry is about |g| sqrt((1 + 1) / 40000): five of them.
    bound = 5 * float(gradient(point).norm()) * (2 / 40_000) ** 0.5
    assert (found - gradient(point)).abs().max() < bound


def test_a_step_too_long_sees_curvature():
    losses, gradient, matrix = quadratic()
    point, direction = torch.linspace(-1, 1, WIDTH), torch.eye(WIDTH)[:1]
    found, _ = forward_difference(losses, point, direction, 0.5)
    assert float(found[0]) == pytest.approx(float(gradient(point)[0]) + 0.25 * float(matrix[0, 0]), rel=1e-4)


def test_all_candidates_of_a_step_are_one_call():
    calls = []

    def losses(candidates):
        calls.append(len(candidates))
        return candidates.sum(dim=1)

    forward_difference(losses, torch.zeros(WIDTH), torch.eye(WIDTH)[:3], 0.1)
    assert calls == [4]
