"""Where a search begins: decided on the person's own photos, at a bounded price.

The device scores the class word, the start that the lexicon gives, and each cohort's mean on a few common draws
(cohort by evidence). Where a cohort's mean is best, the search starts there and takes its shape; elsewhere it goes on
as without a prior, and what was asked in vain has cost at most ``settings.overhead`` of the budget (no regret). Which
one was chosen stays on the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from client.learn.descent import Descent
from client.learn.subspace import cohort_mean
from client.learn.task import Task
from common.prior import Prior

DRAWS = 4
"""Draws that a start is scored on; photos take turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a search begins, and what finding out cost."""

    descent: Descent
    name: str
    """``anchor``, ``words``, ``known`` or ``cohort 0``, ...; stays on the device."""
    anchor: Tensor
    """What displacements are counted from, whatever the search began with, shape (vectors * d,): what the lexicon gives
    for the photos, or the class word where it gives nothing."""
    forwards: int
    overhead: int = 0
    """Forwards of these that a search without a prior would not have spent."""


def choose_start(
    task: Task, word: Tensor, prior: Prior | None, generator: torch.Generator, known: Tensor | None = None
) -> Start:
    """Score the starts there are and choose; with a budget too small for asking about a prior, as without one.

    Args:
        task: what is learned.
        word: the class word's embedding, shape (vectors * d,).
        prior: of this backbone and kind, or None.
        generator: of the draws.
        known: a token that may do for a start, as of the stage before, shape (vectors * d,).
    """
    vectors = task.engine.vectors
    named = task.anchors(word)
    names, starts = [name for name, _ in named], [start for _, start in named]
    anchor = starts[-1]
    if known is not None:
        starts, names = [*starts, known], [*names, "known"]
    cohorts = [] if prior is None else [(prior, cohort) for cohort in prior.cohorts]
    alone = len(starts)
    overhead = _scoring(task, alone + len(cohorts)) - _scoring(task, alone)
    if overhead > task.settings.overhead * task.settings.forwards:
        cohorts, overhead = [], 0
    starts += [anchor + cohort_mean(*each).repeat(vectors) for each in cohorts]
    names += [f"cohort {number}" for number in range(len(cohorts))]
    best = 0
    if len(starts) > 1:
        scores = task.losses(torch.stack(starts), task.draws(DRAWS, generator))
        if cohorts:
            scores[:alone] += task.trust
        best = int(scores.argmin())
    covariance = task.covariance(cohorts[best - alone] if best >= alone else None)
    return Start(
        descent=Descent(task=task, shape=task.shape(covariance, starts[best])),
        name=names[best],
        anchor=anchor,
        forwards=_scoring(task, len(starts)),
        overhead=overhead,
    )


def _scoring(task: Task, starts: int) -> int:
    """Return the forwards that choosing among so many starts costs: an only one is taken unscored."""
    return starts * task.costs(DRAWS) if starts > 1 else 0
