"""A whole learning by the published algorithm, so that anybody can compare: `shoal learn --reference`."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from client.backbone.engine import Engine
from client.backbone.latents import Latents, draw_batch
from client.learn.reference import ReferenceSettings, published_draws, reference_search
from client.learn.search import LossError
from client.learn.settings import Learned, Progress, Reason, falling

PUBLISHED_FORWARDS = 90_000
"""30,000 steps of three forwards (ZOODiP, arXiv:2503.14868, section 5)."""

VALIDATION_DRAWS = 16
REPORTED_EVERY = 20
"""Reports are this many steps apart; each costs one forward batch that is not counted: the paper has none."""


@torch.inference_mode()
def learn_as_published(
    engine: Engine,
    latents: Latents,
    *,
    kind: str,
    class_word: str,
    forwards: int,
    seed: int,
    progress: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Learned:
    """Learn a token with ZOODiP as published: no prior, no plateau, no checkpoint, the last token is the result.

    Args:
        engine: the frozen backbone.
        latents: the photos, encoded once; the paper encodes anew in every step, which changes nothing it learns.
        kind: which prompts the token is learned in.
        class_word: the word whose embedding is the start.
        forwards: the budget; the published one is `PUBLISHED_FORWARDS`.
        seed: decides directions, noise and timesteps. Where losses become no numbers, the last good token is kept.
        progress: called now and then.
        stop: asked before every step; True ends the learning, which cannot be taken up again.
    """
    settings = ReferenceSettings()
    generator = torch.Generator().manual_seed(seed)
    templates = engine.templates(kind)
    validation = draw_batch(latents, VALIDATION_DRAWS, engine.timesteps, templates, generator, stratified=True)

    next_losses = published_draws(engine, latents, kind, generator)

    def score(token: Tensor) -> float:
        return float(engine.losses(token[None], validation, kind))

    anchor = engine.anchor(class_word)
    token, spent, reason = anchor, 0, _reason(stopped=stop())
    history = [(0, score(anchor))]
    for count, (done, following) in enumerate(reference_search(anchor, next_losses, settings, generator), start=1):
        if not following.isfinite().all():
            reason = "broken"
            break
        spent, token = done, following
        if count % REPORTED_EVERY == 0:
            history.append((spent, score(token)))
            losses = falling(history)
            progress(Progress(forwards=spent, total_forwards=forwards, losses=losses, message="as published"))
        reason = _reason(stopped=stop())
        if reason == "paused" or spent + settings.forwards > forwards:
            break
    history = [*history, (spent, score(token))]
    history = [(forwards, loss) for forwards, loss in history if math.isfinite(loss)]
    if not history:
        raise LossError("the losses are no numbers: try another --engine")
    return Learned(
        token=token.numpy(),
        anchor=anchor.numpy(),
        start_loss=history[0][1],
        loss=history[-1][1],
        forwards=spent,
        reason=reason,
        overhead=0,
        start="anchor",
        history=tuple(history),
    )


def _reason(*, stopped: bool) -> Reason:
    return "paused" if stopped else "budget"
