"""Gradients from forward passes alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Losses = Callable[[Tensor], Tensor]
"""Maps candidates, shape (candidates, width), to losses, shape (candidates,), on one common batch of draws."""


def forward_difference(losses: Losses, token: Tensor, directions: Tensor, step: float) -> tuple[Tensor, float]:
    """Estimate the gradient of a loss from n + 1 forward passes.

    Randomised gradient estimation, ZOODiP (Seo et al., CVPR 2025, arXiv:2503.14868v1, Eq. 4); here the base
    point and all perturbations are one batch, so that they share noise and timestep.

    Args:
        losses: the loss of each candidate on common draws.
        token: the current embedding, shape (width,).
        directions: rows u_i, shape (n, width), of identity covariance.
        step: the finite-difference step μ, in units of the embedding.

    Returns:
        The estimate, shape (width,), unbiased as μ → 0, and the loss at the token.
    """
    values = losses(torch.cat([token[None], token + step * directions]))
    slopes = (values[1:] - values[0]) / step
    return slopes @ directions / len(directions), float(values[0])


def central_difference(losses: Losses, token: Tensor, directions: Tensor, step: float) -> tuple[Tensor, float]:
    """Estimate the gradient from n pairs of forward passes, exact on quadratics whatever the step.

    Antithetic sampling (Spall 1992; Nesterov & Spokoiny 2017, Eq. 30). Costs 2n forward passes against n + 1, but
    curvature along a direction cancels, so that a step can be large enough to stand above rounding.

    Args and returns as in `forward_difference`; the loss is the mean over the pairs.
    """
    values = losses(torch.cat([token + step * directions, token - step * directions]))
    ahead, behind = values.chunk(2)
    slopes = (ahead - behind) / (2 * step)
    return slopes @ directions / len(directions), float(values.mean())
