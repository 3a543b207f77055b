"""Whether, and where, a prior helps: decided on the person's own photos, at a bounded price.

The device scores the anchor and each cohort's mean on common draws (cohort by evidence) and starts from the best. A
cohort that begins no worse than the anchor lends its shape as well; where none does, the search runs as without a prior
(no regret): asking has cost as many validations as there are cohorts, at most ``settings.overhead`` of the budget. A
race of both searches, which came first, cost 110 to 160 forwards where a whole search takes 200 (docs/learning.md).
Which one won stays on the device.
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
    shape = shaped(vocabulary, anchor)
    return Descent(shape=shape, place=anchor.new_zeros(len(shape.axes)))


def choose_start(task: Task, anchor: Tensor, prior: Prior | None, validation: Batch) -> Start:
    """Score and choose; never for more than the settings' share of the budget on what is not used.

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
    asked = len(prior.cohorts) * len(validation)
    descent, name = alone, "anchor"
    if losses[0] >= losses[best + 1]:
        descent = Descent(shape=shapes[best], place=anchor.new_zeros(len(shapes[best].axes)))
        name = f"cohort {best}"
    return Start(descent=descent, name=name, anchor_loss=float(losses[0]), forwards=spent, overhead=asked)
