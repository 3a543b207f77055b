"""Which two pictures to ask about next: those whose answer would tell most about the taste."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from client.backbone.engine import Engine
from client.backbone.prompts import Sayings
from client.choices import Recipe
from client.generate import ONE_STAGE, Request, drawn_latents
from client.learn.settings import Settings
from client.spoken import Stages
from client.taste.belief import Belief
from client.taste.choosing import LOOKS, rewards, same_draws
from client.taste.margins import BETA
from client.taste.words import middle_of, tasteful

POOL = 4
"""Pictures drawn for a pair; the two that would tell most are shown."""

QUADRATURE = 16
"""Points that an expectation over a margin is taken at (Gauss and Hermite)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Two pictures to choose between."""

    recipes: tuple[Recipe, Recipe]
    latents: Tensor
    """Shape (2, channels, height, width)."""
    information: float
    """Expected, in nats; at most log 2. NaN where nothing was chosen between."""


def offer(
    engine: Engine,
    pipeline: Any,  # noqa: ANN401 - diffusers has no types
    said: Sayings,
    belief: Belief,
    recipe: Recipe,
    *,
    pool: int = POOL,
    caption: str | None = None,
    stages: Stages = ONE_STAGE,
    progress: Callable[[float], None] = lambda _: None,
) -> Offer:
    """Draw some pictures of a prompt and return the two whose comparison is expected to tell most.

    Each is drawn from the same seed with a token that the taste may as well be, by what is known: pictures that differ
    in nothing else tell more of it. Of a pair with the margin
    m ~ N(μ, s²) the answer tells H(E σ(m)) − E H(σ(m)) nats (BALD: Houlsby et al., arXiv:1112.5745, Eq. 2).

    Args:
        engine: measures rewards; only asked where there is a choice, ``pool`` over 2.
        pipeline: draws; with the concepts of the prompt in it.
        said: of the backbone.
        belief: what is known.
        recipe: prompt, seed, steps and the like.
        pool: pictures drawn, at least 2.
        caption: what the engine is told instead of the prompt, in which it does not know concepts.
        stages: of the pipeline's concepts.
        progress: told of steps of one picture; ``pool * steps`` in all.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    tokens = belief.sampled(pool, generator)
    recipes = [replace(recipe, taste=tuple(token.tolist())) for token in tokens]
    latents = torch.cat([redrawn(pipeline, said, each, stages, progress) for each in recipes])
    chosen, information = (0, 1), math.nan
    if pool > 2:
        text = said.tasteful(recipe.prompt if caption is None else caption)
        chosen, information = _most_telling(engine, belief, latents, text, generator)
    rows = list(chosen)
    return Offer(recipes=(recipes[rows[0]], recipes[rows[1]]), latents=latents[rows], information=information)


def redrawn(
    pipeline: Any,  # noqa: ANN401 - as above
    said: Sayings,
    recipe: Recipe,
    stages: Stages = ONE_STAGE,
    progress: Callable[[float], None] = lambda _: None,
) -> Tensor:
    """Return the latents of a recipe's picture, shape (1, channels, height, width): always the same ones."""
    followed = None
    if recipe.taste:
        anchor = middle_of(pipeline, said.tastes)
        followed = tasteful(pipeline, said, recipe.prompt, np.array(recipe.taste, np.float32), anchor)
    request = Request(
        prompt=recipe.prompt,
        negative=recipe.negative,
        seed=recipe.seed,
        steps=recipe.steps,
        guidance=recipe.guidance,
        tasteful=followed,
    )
    return next(drawn_latents(pipeline, request, progress, stages=stages))


def information(mean: Tensor, spread: Tensor) -> Tensor:
    """Return how many nats an answer tells of margins N(mean, spread²), both of shape (n,)."""
    points, weights = (torch.from_numpy(each) for each in np.polynomial.hermite_e.hermegauss(QUADRATURE))
    chances = torch.sigmoid(mean[:, None].double() + spread[:, None].double() * points)
    weights = weights / weights.sum()
    return _entropy(chances @ weights) - _entropy(chances) @ weights


def _entropy(chances: Tensor) -> Tensor:
    return -torch.xlogy(chances, chances) - torch.xlogy(1 - chances, 1 - chances)


@torch.inference_mode()
def _most_telling(
    engine: Engine, belief: Belief, latents: Tensor, caption: str, generator: torch.Generator
) -> tuple[tuple[int, int], float]:
    """Return which two pictures, and what the answer is expected to tell."""
    batch = same_draws(engine, latents, caption, LOOKS, generator)
    found = rewards(engine, batch, belief.shape, belief.place, Settings().step, belief.anchor)
    value, slope = (BETA * each.unflatten(0, (len(latents), -1)).mean(dim=1) for each in found)
    pairs = torch.combinations(torch.arange(len(latents)))
    mean = value[pairs[:, 0]] - value[pairs[:, 1]]
    slopes = slope[pairs[:, 0]] - slope[pairs[:, 1]]
    spread = (slopes * torch.linalg.solve(belief.precision, slopes.T).T).sum(dim=1).clamp(min=0).sqrt()
    told = information(mean, spread)
    best = int(told.argmax())
    first, second = pairs[best].tolist()
    return (first, second), float(told[best])
