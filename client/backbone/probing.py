"""Makes a backbone's lexicon: asks the backbone what its words draw, and how strongly it answers to each direction."""

from __future__ import annotations

import torch
from torch import Tensor

from client.backbone.engine import Engine
from client.backbone.latents import Batch
from client.backbone.lexicon import Lexicon, noisiest
from client.learn.estimator import forward_jacobian
from client.learn.subspace import principal_directions, vocabulary_covariance

FEATURES = 16
"""q, principal directions of what words draw: more fit words better and unseen pictures worse."""

MOST_WORDS = 2000
"""Words asked at most: the first of the table, which in byte-pair vocabularies are the most frequent."""

RIDGE = 0.5
"""Penalty on whitened features. Few words share a picture, so most of an embedding is not in it."""

DIRECTIONS = 64
"""p, principal directions of the vocabulary along which the curvature is measured: as the public basis has."""

PROBED = 24
"""Words at which the curvature is measured, on one draw each."""

PROBE = 0.5
"""Length of a probe, in standard deviations of the vocabulary along its direction."""

TRAINED = 1.5
"""A word belongs to the lexicon if its embedding is this much longer than the shortest half's: pieces of words that
training never met keep the length that they were drawn with."""


@torch.inference_mode()
def make_lexicon(engine: Engine, seed: int = 0) -> Lexicon:
    """Compute a backbone's lexicon; costs a forward pass for each of its words, and `PROBED` times p + 1 more."""
    generator = torch.Generator().manual_seed(seed)
    table = engine.vocabulary()
    words = table[known(table)].float()
    pictures = _pictures(engine, words, generator)
    centre = pictures.mean(dim=0)
    _, singular, rows = torch.linalg.svd(pictures - centre, full_matrices=False)
    count = min(FEATURES, len(singular))
    features = (rows[:count] / (singular[:count, None] / len(words) ** 0.5)).contiguous()
    basis, spread = (x.float().contiguous() for x in principal_directions(vocabulary_covariance(table), DIRECTIONS))
    return Lexicon(
        centre=centre,
        features=features,
        weights=_ridge((pictures - centre) @ features.T, words),
        basis=basis,
        curvature=_curvature(engine, words, pictures, basis * spread, generator) / torch.outer(spread, spread),
    )


def known(table: Tensor) -> Tensor:
    """Return which rows of a table of embeddings, shape (V, width), training met; the first if lengths do not tell."""
    lengths = table.float().norm(dim=1)
    met: Tensor = (lengths > TRAINED * lengths.sort().values[: max(1, len(table) // 2)].median()).nonzero()[:, 0]
    return (met if len(met) > 4 * FEATURES else torch.arange(len(table)))[:MOST_WORDS]


def _pictures(engine: Engine, words: Tensor, generator: torch.Generator) -> Tensor:
    """Return what each word draws at the noisiest timestep, shape (words, entries), as latents."""
    last = engine.timesteps[1] - 1
    noise = torch.randn(1, *engine.latent_shape, generator=generator)
    draw = Batch(
        latents=torch.zeros_like(noise), noise=noise, timesteps=torch.tensor([last]), templates=torch.zeros(1).long()
    )
    return engine.drawn(engine.residuals(words, draw, "object")[:, 0], last)


def _ridge(features: Tensor, words: Tensor) -> Tensor:
    """Return the regression of words, shape (words, width), on features and a one."""
    given = torch.cat([features, features.new_ones(len(features), 1)], dim=1)
    penalty = RIDGE * torch.eye(given.shape[1])
    penalty[-1, -1] = 1e-6
    weights: Tensor = torch.linalg.solve(given.T @ given / len(given) + penalty, given.T @ words / len(given))
    return weights


def _curvature(engine: Engine, words: Tensor, pictures: Tensor, axes: Tensor, generator: torch.Generator) -> Tensor:
    """Return the mean of JᵀJ over entries along axes, shape (width, p), at some words and their own pictures."""
    low, high = noisiest(engine.timesteps)
    chosen = torch.randperm(len(words), generator=generator)[:PROBED].tolist()
    total = torch.zeros(axes.shape[1], axes.shape[1])
    for word in chosen:
        draw = Batch(
            latents=pictures[word].view(1, *engine.latent_shape),
            noise=torch.randn(1, *engine.latent_shape, generator=generator),
            timesteps=torch.randint(low, high, (1,), generator=generator),
            templates=torch.zeros(1).long(),
        )

        def residuals(places: Tensor, word: Tensor = words[word], draw: Batch = draw) -> Tensor:
            return engine.residuals(word + places @ axes.T, draw, "object")[:, 0]

        _, slopes = forward_jacobian(residuals, torch.zeros(axes.shape[1]), PROBE)
        total += slopes @ slopes.T / slopes.shape[1]
    return total / len(chosen)
