"""Keeps a concept's meaning near its class's while it is learned: `shoal learn --preserve-class`.

ClassDiffusion (Huang et al., ICLR 2025, arXiv:2405.17532), semantic preservation loss: the cosine distance in the text
encoder between phrases with the concept and phrases with its class alone, each taken at the end of the text. Without
it a learned word drifts away from "dog" and composes worse than "dog" does. It costs passes of the text encoder alone.

With unit vectors û and ĉ of the two phrases 1 − cos = ½ |û − ĉ|²: a sum of squares, as the denoising loss is one, so
that a Gauss-Newton search takes it in as further residuals. What differs from the paper: the state is not projected
(Stable Diffusion's encoder has no projection), and phrases are both "a <rex>", as concepts stand in our prompts, and
the paper's "a <rex> dog".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from client.backbone.engine import Engine

PRESERVING = 0.1
"""λ of `shoal learn --preserve-class`, chosen on Pictograms: docs/engines.md tells what it keeps and what it costs."""

PHRASES = ("a {}", "a {} CLASS")
CLASS_PHRASE = "a {} CLASS"
"""Without the concept this is what both are compared with: "a dog"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preservation:
    """What a concept of a class should still mean."""

    engine: Engine
    class_word: str
    weight: float
    """λ, against a denoising loss that is a mean of squares."""
    meaning: Tensor
    """Of the class, shape (width,), of length 1."""

    def residuals(self, candidates: Tensor) -> Tensor:
        """Return numbers whose squares sum to `penalty`, shape (candidates, phrases * width)."""
        found = [self.engine.meanings(candidates, _phrase(text, self.class_word)) for text in PHRASES]
        missed = torch.stack([_unit(one) - self.meaning for one in found], dim=1)
        rows: Tensor = (self.weight / 2 / len(PHRASES)) ** 0.5 * missed.flatten(1)
        return rows

    def penalty(self, candidates: Tensor) -> Tensor:
        """Return λ times the mean cosine distance to the class, shape (candidates,)."""
        return self.residuals(candidates).square().sum(dim=1)


def preservation(engine: Engine, class_word: str, weight: float) -> Preservation | None:
    """Return what a class word means; None without a weight or a word."""
    if not weight or not class_word:
        return None
    nothing = torch.zeros(1, 0)
    meaning = _unit(engine.meanings(nothing, _phrase(CLASS_PHRASE, class_word)))[0]
    return Preservation(engine=engine, class_word=class_word, weight=weight, meaning=meaning)


def _phrase(text: str, class_word: str) -> str:
    return text.replace("CLASS", class_word.replace("{", "").replace("}", ""))


def _unit(states: Tensor) -> Tensor:
    unit: Tensor = states / states.norm(dim=-1, keepdim=True)
    return unit
