"""Parts of the denoising, each of which may have a token of its own: the noisiest first, as pictures are drawn.

ProSpect (Zhang et al., ACM TOG 2023, arXiv:2305.16225) cuts a model's thousand timesteps into ten equal stages, because
layout, content and material are settled one after the other. Here the backbone's own range [T_L, T_U) is cut, where
text steers it; the first and the last stage hold on drawing for what lies above and below.
"""

from __future__ import annotations

from itertools import pairwise


def stages_of(timesteps: tuple[int, int], count: int) -> list[tuple[int, int]]:
    """Return ``count`` intervals [low, high) of timesteps, the noisiest first, which together are all of them."""
    low, high = timesteps
    bounds = [high - round(i * (high - low) / count) for i in range(count + 1)]
    return [(lower, upper) for upper, lower in pairwise(bounds)]


def stage_at(timestep: float, timesteps: tuple[int, int], count: int) -> int:
    """Return the number, 0 to count - 1, of the stage that a timestep belongs to, whatever model draws it."""
    bounds = [lower for lower, _ in stages_of(timesteps, count)]
    return next((number for number, lower in enumerate(bounds) if timestep >= lower), count - 1)
