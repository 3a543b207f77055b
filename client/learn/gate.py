"""Whether, and where, a prior helps: decided on the person's own photos, at a bounded price.

The device scores the anchor and each cohort's mean on common draws (cohort by evidence). The best cohort's shape,
from the better of the two starts, and the search without a prior then race for a few steps, and the one ahead goes
on. What loses has cost at most ``settings.overhead`` of the budget (no regret). Which one won stays on the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from client.backbone.latents import Batch
from client.learn.descent import Descent, Task
from client.learn.subspace import cohort_shape, shaped, vocabulary_covariance
from common.prior import Prior


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a search begins: its descent, its name, its loss there, and what finding out cost."""

    descent: Descent
    name: str
    anchor_loss: float
    forwards: int
    overhead: int = 0
    """Forwards of these that the search got nothing out of: `settings.overhead` bounds them."""


def free(vocabulary: Tensor, anchor: Tensor) -> Descent:
    """Return the search as it is without a prior: shaped by the vocabulary's covariance alone."""
    return Descent(shape=shaped(vocabulary, anchor), place=torch.zeros_like(anchor))


def choose_start(
    task: Task, anchor: Tensor, prior: Prior | None, validation: Batch, generator: torch.Generator
) -> Start:
    """Score, race, choose; never for more than the settings' share of the budget on what is not used.

    A budget too small for scoring the cohorts at that share is searched as without a prior.
    """
    vocabulary = vocabulary_covariance(task.engine.vocabulary())
    alone = free(vocabulary, anchor)
    if prior is None or len(prior.cohorts) * len(validation) > task.settings.overhead * task.settings.forwards:
        loss = task.engine.losses(anchor[None], validation, task.kind)
        return Start(descent=alone, name="anchor", anchor_loss=float(loss), forwards=len(validation))
    shapes = [cohort_shape(prior, cohort, anchor, vocabulary) for cohort in prior.cohorts]
    starts = torch.stack([anchor, *(shape.origin for shape in shapes)])
    losses = task.engine.losses(starts, validation, task.kind)
    spent = len(starts) * len(validation)
    best = int(losses[1:].argmin())
    nearer = anchor if losses[0] <= losses[best + 1] else shapes[best].origin
    guided = Descent(shape=shapes[best], place=shapes[best].place(nearer))
    arms = [(alone, "anchor"), (guided, f"cohort {best}")]
    steps = _race_steps(task, len(validation), spent)
    scores = [float(losses[0]), float(losses[[0, best + 1]].min())]
    if steps:
        scores = [_run(task, arm, validation, generator, steps) for arm, _ in arms]
        spent += 2 * (steps * task.settings.forwards_of_step + len(validation))
    winner, name = arms[0] if scores[0] < scores[1] else arms[1]
    used = steps * task.settings.forwards_of_step + len(validation)
    return Start(descent=winner, name=name, anchor_loss=float(losses[0]), forwards=spent, overhead=spent - used)


def _race_steps(task: Task, validation: int, spent: int) -> int:
    """Return how many steps the race may take: one arm's steps and all scoring are the overhead."""
    left = task.settings.overhead * task.settings.forwards - spent - validation
    return max(0, min(16, int(left // task.settings.forwards_of_step)))


def _run(task: Task, arm: Descent, validation: Batch, generator: torch.Generator, steps: int) -> float:
    """Run one arm on the same draws as the other and score it."""
    own = torch.Generator().manual_seed(generator.initial_seed() + 1)
    for _ in range(steps):
        arm.step(task, own, 0.0)
    return float(task.engine.losses(arm.token[None], validation, task.kind))
