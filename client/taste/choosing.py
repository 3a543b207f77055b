"""Learning from choices: the preference loss of pairs of pictures, and the draws that it is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from client.backbone.engine import Engine
from client.backbone.latents import Batch, Latents, draw_batch
from client.learn.estimator import forward_jacobian
from client.learn.settings import Settings
from client.learn.subspace import REACH, Shape, cohort_covariance, shaped, vocabulary_covariance
from client.taste.margins import BETA, Margins, preference_loss
from common.prior import Cohort, Prior

KIND: Final = "taste"

TRUST = 3.0
"""Nats: everybody's taste is left where the choices are 20 times likelier without it."""

LOOKS = 2
"""Draws of each picture in one look; even, each noise is also drawn reversed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two pictures of one prompt."""

    chosen: Tensor
    """Latents, shape (channels, height, width), as the backbone drew them."""
    other: Tensor
    caption: str
    """What was asked for, with ``{}`` where a taste may stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """The same noise and timesteps for both pictures of each pair, one batch a pair: the chosen one first."""

    batches: tuple[Batch, ...]
    before: Tensor
    """Losses at the anchor, shape (pairs, 2)."""

    def __len__(self) -> int:
        """Return the forward passes of a candidate."""
        return sum(len(batch) for batch in self.batches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choosing:
    """A `client.learn.task.Task`: to draw what a person chooses, rather than what was not chosen."""

    engine: Engine
    pairs: Sequence[Pair]
    anchor: Tensor
    """What a taste is counted from, shape (d,): `middle` of the taste words."""
    spread: Tensor
    """How tastes are spread as far as is publicly known, shape (d, d)."""
    settings: Settings
    kind: str = KIND

    @property
    def trust(self) -> float:
        """Few choices say little: other people's taste is left only where all of them together speak against it."""
        return TRUST / len(self.pairs)

    def draws(self, count: int, generator: torch.Generator, *, whole: bool = False) -> Draws:
        """Return draws of all pairs: about ``count`` of each picture in all, and two at least."""
        del whole  # what a taste changes shows at all timesteps
        batches = tuple(self._batch(pair, self._each(count), generator) for pair in self.pairs)
        before = torch.stack([self._halves(self.anchor[None], batch)[0] for batch in batches])
        return Draws(batches=batches, before=before)

    def costs(self, count: int) -> int:
        """Return the length of so many draws."""
        return 2 * self._each(count) * len(self.pairs)

    def _each(self, count: int) -> int:
        """Return how many draws each picture has of ``count``: an even number."""
        return max(LOOKS, count // len(self.pairs) // 2 * 2)

    def losses(self, candidates: Tensor, draws: Draws) -> Tensor:
        """Return each candidate's preference loss, shape (candidates,)."""
        found = [
            self._halves(candidates, batch) - base for batch, base in zip(draws.batches, draws.before, strict=True)
        ]
        margins = torch.stack([BETA * (each[:, 1] - each[:, 0]) for each in found], dim=1)
        return preference_loss(margins)

    def anchors(self, word: Tensor) -> list[tuple[str, Tensor]]:
        """Return the middle of the taste words: a taste has no class word."""
        return [("anchor", word)]

    def covariance(self, known: tuple[Prior, Cohort] | None = None) -> Tensor:
        """Return the spread of taste words, or of a cohort's tastes."""
        return self.spread if known is None else cohort_covariance(*known, self.spread)

    def shape(self, covariance: Tensor, origin: Tensor) -> Shape:
        """Return the coordinates to search in."""
        return shaped(covariance, origin, self.engine.lexicon)

    def evidence(self, axes: int) -> Margins:
        """Return that no pair was looked at yet."""
        return Margins(pairs=len(self.pairs), axes=axes)

    def first(self, evidence: Margins, shape: Shape) -> Tensor:
        """Return the shape's origin."""
        del evidence
        return torch.zeros(shape.size)

    def looks(self, evidence: Margins, axes: int) -> int:
        """Return the forward passes of one look: both pictures, at the place, along each axis, and at the anchor."""
        del evidence
        return _passes(axes)

    def first_validation(self, axes: int) -> int:
        """Return the forwards before the first validation: each pair was looked at by then."""
        return len(self.pairs) * _passes(axes)

    def look(self, evidence: Margins, shape: Shape, place: Tensor, generator: torch.Generator, turn: int) -> float:
        """Look at the pair whose turn it is."""
        pair = turn % len(self.pairs)
        batch = self._batch(self.pairs[pair], LOOKS, generator)
        value, slope = rewards(self.engine, batch, shape, place, self.settings.step, self.anchor)
        margin, slopes = (BETA * (each.unflatten(0, (2, -1)).mean(dim=1)) for each in (value, slope))
        evidence.look(pair, float(margin[0] - margin[1]), slopes[0] - slopes[1], place)
        return float(preference_loss(margin[0] - margin[1][None]))

    def more(self, evidence: Margins, candidates: Tensor) -> Tensor:
        """Return nothing: choices tell all."""
        del evidence
        return torch.zeros(len(candidates))

    def others(self, evidence: Margins) -> list[Tensor]:
        """Return none."""
        del evidence
        return []

    def best(self, evidence: Margins, shape: Shape, place: Tensor) -> Tensor:
        """Return the most probable place, not far from this one."""
        del shape
        return evidence.best(place)

    def _batch(self, pair: Pair, draws: int, generator: torch.Generator) -> Batch:
        """Return draws of both pictures, the chosen one's first, under the same noise at the same timesteps."""
        return same_draws(self.engine, torch.stack([pair.chosen, pair.other]), pair.caption, draws, generator)

    def _halves(self, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the losses of the chosen and of the other picture, shape (candidates, 2)."""
        missed = self.engine.residuals(candidates, batch, KIND).square().mean(dim=2)
        halves: Tensor = missed.unflatten(1, (2, -1)).mean(dim=2)
        return halves


def _passes(axes: int) -> int:
    return 2 * LOOKS * (axes + 2)


def same_draws(engine: Engine, latents: Tensor, caption: str, draws: int, generator: torch.Generator) -> Batch:
    """Return so many draws of each of some pictures of one prompt, all under the same noise at the same timesteps.

    Args:
        engine: of whose timesteps.
        latents: shape (pictures, channels, height, width).
        caption: of all of them, with ``{}`` where a taste may stand.
        draws: even, each noise is also drawn reversed.
        generator: of noise and timesteps.

    Returns:
        ``pictures * draws`` draws, picture by picture.
    """
    one = Latents(mean=latents[:1], spread=torch.zeros_like(latents[:1]), captions=(caption,))
    drawn = draw_batch(one, draws, engine.timesteps, 1, generator, stratified=True, antithetic=True)
    repeated = drawn.some(torch.arange(draws).repeat(len(latents)))
    return replace(repeated, latents=latents.repeat_interleave(draws, dim=0))


def rewards(
    engine: Engine, batch: Batch, shape: Shape, place: Tensor, step: float, anchor: Tensor
) -> tuple[Tensor, Tensor]:
    """Return how much better than the anchor a place's token denoises, and how that grows along each axis.

    The estimator is that of photos: slopes of predictions from k + 1 forward passes, here and at the anchor one more.

    Returns:
        Rewards L(anchor) − L(place), shape (draws,), and their slopes, shape (draws, k).
    """
    at_anchor = torch.empty(0)

    def residuals(places: Tensor) -> Tensor:
        nonlocal at_anchor  # of the same call: some engines' arithmetic is exact only for differences within one
        missed = engine.residuals(torch.cat([shape.token(places), anchor[None]]), batch, KIND)
        at_anchor = missed[-1]
        return missed[:-1].flatten(1)

    here, slopes = (rows.unflatten(-1, (len(batch), -1)) for rows in forward_jacobian(residuals, place, step))
    falls = -2 * (slopes * here).mean(dim=2).T
    return at_anchor.square().mean(dim=1) - here.square().mean(dim=1), falls


def middle(engine: Engine, words: Sequence[str]) -> Tensor:
    """Return the mean of the taste words' embeddings, shape (d,): what displacements of tastes are counted from."""
    return torch.stack([engine.anchor(word) for word in words]).mean(dim=0)


def public_spread(engine: Engine, words: Sequence[str]) -> Tensor:
    """Return how taste words differ, shape (d, d), with a share of the vocabulary's spread: nothing is out of reach."""
    rows = torch.stack([engine.anchor(word) for word in words])
    return vocabulary_covariance(rows) + REACH * vocabulary_covariance(engine.vocabulary())
