"""Makes a backbone's lexicon: asks the backbone what its words draw, and how strongly it answers to each direction."""

from __future__ import annotations

import torch
from torch import Tensor

from client.backbone.engine import Engine, TorchEngine
from client.backbone.latents import Batch
from client.backbone.lexicon import SEED, Foresight, Lexicon, mean_pictures, noisiest
from client.learn.estimator import forward_jacobian
from client.learn.sketch import sketched
from client.learn.subspace import principal_directions, root_of, vocabulary_covariance

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

AT_ONCE = 128
"""Tokens whose text states are in memory together."""

TRAINED = 1.5
"""A word belongs to the lexicon if its embedding is this much longer than the shortest half's: pieces of words that
training never met keep the length that they were drawn with."""


VIEWS = 64
"""r, principal directions of what is drawn: they hold 98 % of what Pictograms' words draw."""

BETWEEN = 2000
"""Tokens between and around words whose pictures are asked for besides the words' own."""

SCENES, STYLES = 500, 8
"""Words that are asked for in a style, and tokens that are each one's style: a token does other things there."""

AROUND = 1.5
"""Most that such a token is from its word, in the words' spread: people's tokens lie as far from any word."""

TOLD_RIDGE = 0.03
"""Penalty on what the U-Net is told, in shares of its mean variance: held-out pictures are foretold best."""


@torch.inference_mode()
def make_lexicon(engine: TorchEngine) -> Lexicon:
    """Compute a backbone's lexicon.

    It costs a forward pass for each of its words, `BETWEEN` and `SCENES` times `STYLES` ones for tokens that are no
    words, and `PROBED` times p + 1 for the curvature.
    """
    generator = torch.Generator().manual_seed(SEED)
    torch.randn(1, *engine.latent_shape, generator=generator)  # every picture's noise; what follows is apart from it
    table = engine.vocabulary()
    numbers = known(table)
    words = table[numbers].float()
    told, pictures = as_things(engine, words)
    centre = pictures.mean(dim=0)
    _, singular, rows = torch.linalg.svd(pictures - centre, full_matrices=False)
    count = min(FEATURES, len(singular))
    features = (rows[:count] / (singular[:count, None] / len(words) ** 0.5)).contiguous()
    basis, spread = (x.float().contiguous() for x in principal_directions(vocabulary_covariance(table), DIRECTIONS))
    curvature = _curvature(engine, words, pictures, basis * spread, generator) / torch.outer(spread, spread)
    more_told, more_drawn = _scenes(engine, words, engine.spelled(numbers), generator)
    return Lexicon(
        centre=centre,
        features=features,
        weights=_ridge((pictures - centre) @ features.T, words),
        basis=basis,
        curvature=curvature,
        foresight=fitted(torch.cat([told, more_told]), torch.cat([pictures, more_drawn])),
    )


def known(table: Tensor) -> Tensor:
    """Return which rows of a table of embeddings, shape (V, width), training met; the first if lengths do not tell."""
    lengths = table.float().norm(dim=1)
    met: Tensor = (lengths > TRAINED * lengths.sort().values[: max(1, len(table) // 2)].median()).nonzero()[:, 0]
    return (met if len(met) > 4 * FEATURES else torch.arange(len(table)))[:MOST_WORDS]


def as_things(engine: TorchEngine, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the U-Net is told of each token as a thing, sketched, and what it draws.

    Shapes (tokens, s) and (tokens, entries): a forward pass each.
    """
    return _told(engine, tokens, "object"), mean_pictures(engine, tokens, "object", engine.latent_shape)


def as_styles(engine: TorchEngine, tokens: Tensor, thing: str) -> tuple[Tensor, Tensor]:
    """Return the same of each token as a thing's style."""
    captions = (f"{thing.replace('{}', '')}, {engine.texts('style')[0]}",)
    drawn = mean_pictures(engine, tokens, "style", engine.latent_shape, captions=captions)
    return _told(engine, tokens, "style", captions), drawn


def _told(engine: Engine, tokens: Tensor, kind: str, captions: tuple[str, ...] = ()) -> Tensor:
    return torch.cat([sketched(engine.states(some, kind, [0], captions)[:, 0]) for some in tokens.split(AT_ONCE)])


def _scenes(engine: TorchEngine, words: Tensor, names: list[str], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return what the U-Net is told of tokens that are no words and what it draws, as things and as styles of things.

    Shapes (tokens, s) and (tokens, entries).
    """
    spread = root_of(vocabulary_covariance(words)).float()
    things = as_things(engine, between(words, spread, BETWEEN, generator))
    places = torch.randint(len(names), (SCENES,), generator=generator).tolist()
    styles = (as_styles(engine, between(words, spread, STYLES, generator), names[place]) for place in places)
    told, drawn = zip(things, *styles, strict=True)
    return torch.cat(told), torch.cat(drawn)


def between(words: Tensor, spread: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return tokens between two words or around one, in turns, shape (count, width).

    ``spread`` is `root_of` the words' covariance.
    """
    one, other = words[torch.randint(len(words), (2, count), generator=generator)]
    share = torch.rand(count, 1, generator=generator)
    away = torch.randn(count, words.shape[1], generator=generator) @ spread.T
    even = (torch.arange(count) % 2 == 0)[:, None]
    return torch.where(even, share * one + (1 - share) * other, one + AROUND * share * away)


def fitted(told: Tensor, drawn: Tensor) -> Foresight:
    """Fit what is drawn, shape (n, entries), to what the U-Net is told, shape (n, s)."""
    centre, mean = told.mean(dim=0), drawn.mean(dim=0)
    views = torch.linalg.svd(drawn - mean, full_matrices=False)[2][:VIEWS].contiguous()
    given, seen = told - centre, (drawn - mean) @ views.T
    alike = (given.T @ given).double()
    alike += TOLD_RIDGE * alike.diagonal().mean() * torch.eye(len(alike))
    slopes = torch.linalg.solve(alike, (given.T @ seen).double()).T.float().contiguous()
    return Foresight(told=centre, drawn=mean, views=views, slopes=slopes)


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
