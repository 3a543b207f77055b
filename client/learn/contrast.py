"""Keeps a style from taking the place of the things that it is asked for with.

A style is said with other words, and the token that explains a few photos best leaves less of them: "fox, <mine> style"
draws the fox less often than "fox" does. Photos do not tell, as each shows one thing. The lexicon does: it foretells,
from what the U-Net is told, the mean picture of a tree, a car, a boat in this style. What a token does to all of them
alike is the style; how they differ from each other is the things, and that should stay as it is without the token.

Like `client.learn.preservation` it is a sum of squares, and costs passes of the text encoder alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from client.backbone.engine import Engine
from client.backbone.lexicon import Foresight
from client.backbone.prompts import COMPANY
from client.learn.settings import Settings
from client.learn.sketch import sketched

WEIGHT = 2.0
"""Of the mean square by which things' pictures differ otherwise than without the token, against a denoising loss."""

LATE = 30
"""Draws before it counts: first the style is found. From the start on, it costs a style a tenth of what it gains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """What tells things apart, drawn in a style."""

    engine: Engine
    foresight: Foresight
    apart: Tensor
    """How things' pictures differ from their mean without the token, in the lexicon's views, shape (things, r)."""

    def residuals(self, candidates: Tensor) -> Tensor:
        """Return numbers whose squares sum to `penalty`, shape (candidates, things * r)."""
        lost = _apart(self.engine, self.foresight, candidates) - self.apart
        rows: Tensor = (WEIGHT / len(self.apart) / len(self.foresight.drawn)) ** 0.5 * lost.flatten(1)
        return rows

    def penalty(self, candidates: Tensor) -> Tensor:
        """Return what is added to candidates' losses, shape (candidates,)."""
        return self.residuals(candidates).square().sum(dim=1)


def contrast(engine: Engine, kind: str, class_word: str, settings: Settings) -> Contrast | None:
    """Return how things differ, said with a class word for a style.

    None for what is no style, where there is no lexicon to foretell it, for a stage, as it foretells the noisiest, and
    where a backbone's folder names less than two things.
    """
    foresight = None if engine.lexicon is None else engine.lexicon.foresight
    if kind != "style" or foresight is None or settings.whole_range or engine.templates(COMPANY) < 2:
        return None
    apart = _apart(engine, foresight, engine.anchor(class_word)[None])[0]
    return Contrast(engine=engine, foresight=foresight, apart=apart)


def _apart(engine: Engine, foresight: Foresight, candidates: Tensor) -> Tensor:
    """Return by what each thing's picture differs from the mean of all, shape (candidates, things, r)."""
    told = sketched(engine.states(candidates, COMPANY, range(engine.templates(COMPANY))))
    pictures = told @ foresight.slopes.T
    return pictures - pictures.mean(dim=1, keepdim=True)
