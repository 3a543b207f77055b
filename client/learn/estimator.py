"""Slopes from forward passes alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Losses = Callable[[Tensor], Tensor]
"""Maps candidates, shape (candidates, width), to losses, shape (candidates,), on one common batch of draws."""

Residuals = Callable[[Tensor], Tensor]
"""Maps candidates, shape (candidates, width), to what their predictions miss, shape (candidates, entries)."""


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


def forward_jacobian(residuals: Residuals, place: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Return the residuals at a place and their slopes along every axis, from k + 1 forward passes.

    Args:
        residuals: what each candidate's predictions miss on common draws.
        place: shape (k,).
        step: the finite-difference step μ, in units of the axes.

    Returns:
        Residuals, shape (entries,), and J by rows, shape (k, entries), exact as μ → 0.
    """
    values = residuals(torch.cat([place[None], place + step * torch.eye(len(place))]))
    return values[0], (values[1:] - values[0]) / step
