"""A whole learning of a taste: by the same search as photos, from pairs of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from client.backbone.engine import Engine
from client.learn.checkpoint import Store
from client.learn.search import LossError, run, search_for
from client.learn.settings import Learned, Progress, Settings
from client.learn.subspace import cohort_covariance, cohort_mean, shaped
from client.taste.belief import Belief
from client.taste.choosing import Choosing, Pair, middle, public_spread
from common.prior import Prior

OVERHEAD = 0.2
"""Most that asking whether a prior helps may cost, as a share of the budget: every pair is asked, and pairs are few."""

A_PAIR = 160
"""Forwards that each pair adds to the budget: about two looks."""

LEAST = 1200


def taste_settings(pairs: int, *, forwards: int | None = None, seed: int = 0) -> Settings:
    """Return how hard to try with so many pairs."""
    budget = max(LEAST, A_PAIR * pairs) if forwards is None else forwards
    return Settings(forwards=budget, overhead=OVERHEAD, seed=seed)


@torch.inference_mode()
def first_belief(engine: Engine, words: Sequence[str], prior: Prior | None) -> Belief:
    """Return what is known of anybody's taste before a choice: what taste words, or other people, tell.

    With a prior its token is the mean of the largest cohort; without one it is the anchor, which is nobody's taste.
    """
    anchor, spread = middle(engine, words), public_spread(engine, words)
    token = anchor
    if prior is not None:
        token = anchor + cohort_mean(prior, prior.largest)
        spread = cohort_covariance(prior, prior.largest, spread)
    shape = shaped(spread, token, engine.lexicon)
    return Belief(
        shape=shape, place=torch.zeros(shape.size), precision=torch.eye(shape.size), anchor=anchor, token=token
    )


@torch.inference_mode()
def learn_taste(
    engine: Engine,
    words: Sequence[str],
    pairs: Sequence[Pair],
    settings: Settings,
    *,
    prior: Prior | None = None,
    checkpoint: Store | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Learned, Belief]:
    """Learn a taste from at least one pair, with forward passes only.

    The loss is Diffusion-DPO's (Wallace et al., arXiv:2311.12908); start, shape, estimator, checkpoints and the end are
    those of `client.learn.search.learn`. The token is the most probable one under the population's prior of kind
    ``taste``, or under the spread of taste words.

    Args:
        engine: the frozen backbone.
        words: the backbone's taste words.
        pairs: what was chosen.
        settings: from `taste_settings`.
        prior: of other people's tastes; None without one.
        checkpoint: as of photos.
        progress: called after every step.
        stop: asked before every step; True pauses.

    Raises:
        CheckpointError: the checkpoint is damaged or of another learning.
        LossError: the losses are not numbers.
    """
    anchor = middle(engine, words)
    spread = public_spread(engine, words)
    task = Choosing(engine=engine, pairs=pairs, anchor=anchor, spread=spread, settings=settings)
    search = search_for(task, anchor)
    if checkpoint is not None and checkpoint.exists():
        search.restore(checkpoint)
    else:
        search.begin(prior)
    learned = run(search, checkpoint, progress, stop)
    if learned.reason == "broken":
        raise LossError("a preference loss became no number: what was known of the taste is kept; try another --engine")
    descent = search.descent
    belief = Belief(
        shape=descent.shape,
        place=descent.place,
        precision=descent.evidence.precision(descent.place),  # type: ignore[attr-defined] # `Margins`, from `Choosing`
        anchor=anchor,
        token=descent.token,  # the most probable one: of few pairs some token always fits each, which is no taste yet
    )
    return replace(learned, token=belief.token.numpy()), belief
