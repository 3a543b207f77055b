"""Learning from photos: the denoising loss of ZOODiP's objective, and the draws that it is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from client.backbone.engine import Engine
from client.backbone.latents import Batch, Latents, draw_batch
from client.backbone.lexicon import Foresight, mean_pictures, noisiest
from client.learn.contrast import LATE, Contrast
from client.learn.evidence import Predictions
from client.learn.model import Kept, States
from client.learn.opening import ROUNDS, Opening
from client.learn.preservation import Preservation
from client.learn.settings import Settings
from client.learn.sketch import sketched
from client.learn.subspace import Shape, as_wide, cohort_covariance, shaped, vocabulary_covariance
from common.prior import Cohort, Prior

AXES: Final = {"object": 16, "style": 24}
"""Of a search, by kind: each costs states of the text encoder, no forward pass. The lexicon tells how predictions
answer to things that words draw: for objects few axes hold nearly all gain, styles are found along more."""

PROBES = 12
"""Directions of one look at most: each costs a forward pass. What they leave out other looks tell of."""

NOISIEST_ALONE: Final = {"object": False, "style": True}
"""Whether looks are at the noisiest timesteps alone, by kind: what an object is like in detail is decided later."""

MOVES = 4
"""Times that the model is solved before anything was asked: each solution is a few standard deviations farther."""

OPENED: Final = {"object": True, "style": False}
"""Whether a search begins with mean pictures, by kind: styles that did were sooner half learned and ended lower."""

FORGETTING: Final = {"object": 0.985, "style": 0.97}
"""What a draw is worth when the next one comes, by kind: one of a quieter timestep says less, so more are kept."""

FIRST_VALIDATION: Final = {"object": 96, "style": 192}
"""Forwards before the first validation, by kind: by then most of what a search gains is gained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photos:
    """A `client.learn.task.Task`: to draw what photos show."""

    engine: Engine
    latents: Latents
    kind: str
    settings: Settings
    preserved: Preservation | None = None
    """What the concept should go on meaning."""
    contrast: Contrast | None = None
    """What a style should leave of the things that are drawn in it, once it is found."""

    @property
    def trust(self) -> float:
        """Nothing: photos say much more than other people do."""
        return 0.0

    @property
    def timesteps(self) -> tuple[int, int]:
        """Where looks draw from, [low, high)."""
        return self._telling if NOISIEST_ALONE[self.kind] else self.engine.timesteps

    @property
    def _telling(self) -> tuple[int, int]:
        """Where one draw tells most of what a prompt stands for, [low, high)."""
        return self.engine.timesteps if self.settings.whole_range else noisiest(self.engine.timesteps)

    def draws(self, count: int, generator: torch.Generator, *, whole: bool = False) -> Batch:
        """Return draws in which photos take turns, each with a noise of its own."""
        timesteps = self.engine.timesteps if whole else self._telling
        templates = self.engine.templates(self.kind)
        return draw_batch(self.latents, count, timesteps, templates, generator, stratified=True)

    def costs(self, count: int) -> int:
        """Return the length of so many draws: each is one forward pass."""
        return count

    def losses(self, candidates: Tensor, batch: Batch) -> Tensor:
        """Return what is to fall, shape (candidates,): the denoising loss, and what preserving adds to it."""
        losses = self.engine.losses(candidates, batch, self.kind)
        return losses if self.preserved is None else losses + self.preserved.penalty(candidates)

    def residuals(self, candidates: Tensor, batch: Batch) -> Tensor:
        """Return numbers whose mean square is `losses` on a batch of one draw, shape (candidates, entries)."""
        missed = self.engine.residuals(candidates, batch, self.kind)[:, 0]
        if self.preserved is None:
            return missed
        count = missed.shape[1]
        more = self.preserved.residuals(candidates) * count**0.5
        rows: Tensor = torch.cat([missed, more], dim=1) * ((count + more.shape[1]) / count) ** 0.5
        return rows

    def anchors(self, word: Tensor) -> list[tuple[str, Tensor]]:
        """Return the class word and, of an object, what the lexicon gives for the photos."""
        lexicon, starts = self.engine.lexicon, [("anchor", word)]
        if lexicon is not None and self.kind == "object":  # what a style is drawn on has nothing to do with the style
            starts.append(("words", lexicon.start(self.latents).repeat(self.engine.vectors)))
        return starts

    def covariance(self, known: tuple[Prior, Cohort] | None = None) -> Tensor:
        """Return how the backbone's own words are spread, or a cohort's tokens: they say where to look, not how far."""
        words = vocabulary_covariance(self.engine.vocabulary())
        return words if known is None else as_wide(cohort_covariance(*known, words), words, self.engine.lexicon)

    def shape(self, covariance: Tensor, origin: Tensor) -> Shape:
        """Return the coordinates to search in: more than what most of the gain lies along."""
        return shaped(covariance, origin, self.engine.lexicon, least=AXES[self.kind], most=AXES[self.kind])

    def evidence(self, axes: int) -> Predictions:
        """Return that no draw was seen yet."""
        del axes
        return Predictions(forgetting=FORGETTING[self.kind], opening=self._opening())

    def _opening(self) -> Opening | None:
        """Return what the lexicon foretells of the photos' prompts, where that is what is to be learned.

        It knows tokens of one vector, whole pictures and the noisiest timestep.
        """
        engine, foresight = self.engine, self._foresight
        part = self.settings.whole_range or self.latents.weights is not None or self.preserved is not None
        if not OPENED[self.kind] or foresight is None or engine.vectors > 1 or part:
            return None
        return Opening.foretold(foresight, self.latents, engine.templates(self.kind))

    @property
    def _foresight(self) -> Foresight | None:
        return None if self.engine.lexicon is None else self.engine.lexicon.foresight

    def first(self, evidence: Predictions, shape: Shape) -> Tensor:
        """Return the place that the lexicon foretells, or the shape's origin."""
        place = torch.zeros(shape.size)
        for _ in range(MOVES if evidence.opening is not None else 0):
            place = self.best(evidence, shape, place)
        return place

    def looks(self, evidence: Predictions, axes: int) -> int:
        """Return the forward passes of the next look: one a prompt at first, then here and along each probe."""
        opening = self._opens(evidence)
        return len(opening) if opening is not None else min(PROBES, axes) + 1

    def _opens(self, evidence: Predictions) -> Opening | None:
        """Return the opening if it is not over."""
        opening = evidence.opening
        return opening if opening is not None and opening.asked < ROUNDS else None

    def first_validation(self, axes: int) -> int:
        """Return the forwards before the first validation."""
        del axes
        return FIRST_VALIDATION[self.kind]

    def look(self, evidence: Predictions, shape: Shape, place: Tensor, generator: torch.Generator, turn: int) -> float:
        """Ask what the prompts draw, or look at one photo at a timestep."""
        opening = self._opens(evidence)
        if opening is not None:
            evidence.opening = self._asked(opening, shape, place)
            return evidence.opening.missed
        if evidence.opening is not None:
            turn -= ROUNDS
            evidence.opened = shape.token(place) if evidence.opened is None else evidence.opened
        templates = self.engine.templates(self.kind)
        batch = draw_batch(self.latents, 1, self.timesteps, templates, generator, stratified=True, turn=turn)

        def residuals(places: Tensor) -> Tensor:
            return self.residuals(shape.token(places), batch)

        probes = self._probes(shape, turn, generator)
        prompt = int(batch.templates[0])
        return evidence.look(residuals, self._states(shape), prompt, place, probes, self.settings.step)

    def _asked(self, opening: Opening, shape: Shape, place: Tensor) -> Opening:
        """Return what is known when each prompt was asked what it draws at a place."""
        captions = self.latents.captions
        token, asked = shape.token(place)[None], range(len(opening))
        drawn = [
            mean_pictures(self.engine, token, self.kind, self.latents.mean.shape[1:], prompt=n, captions=captions)
            for n in asked
        ]
        told = sketched(self._states(shape)(place[None], asked)[0])
        return opening.seen(told, torch.cat(drawn))

    def _probes(self, shape: Shape, turn: int, generator: torch.Generator) -> Tensor:
        """Return where to look along, rows of length one: by turns all vectors' leading axes, and a mixture."""
        count = min(PROBES, shape.size)
        if turn % 2 == 0:
            leading = (torch.arange(shape.size) % len(shape.axes)).argsort(stable=True)
            return torch.eye(shape.size)[leading[:count]]
        mixed: Tensor = torch.linalg.qr(torch.randn(shape.size, shape.size, generator=generator))[0][:count]
        return mixed.contiguous()

    def others(self, evidence: Predictions) -> list[Tensor]:
        """Return what asking alone led to: draws are noisy, and some searches never are as good again."""
        return [] if evidence.opened is None else [evidence.opened]

    def more(self, evidence: Predictions, candidates: Tensor) -> Tensor:
        """Return what is added to candidates' losses so late, shape (candidates,): what a style takes from things."""
        held = self._held(evidence)
        return torch.zeros(len(candidates)) if held is None else held.penalty(candidates)

    def _held(self, evidence: Predictions) -> Contrast | None:
        return self.contrast if evidence.drawn >= LATE else None

    def best(self, evidence: Predictions, shape: Shape, place: Tensor) -> Tensor:
        """Return the most probable place, not far from this one."""
        return evidence.best(place, self._states(shape), self._kept(evidence, shape))

    def _kept(self, evidence: Predictions, shape: Shape) -> Kept | None:
        """Return what should be small besides the loss, as a function of places."""
        held = self._held(evidence)
        return None if held is None else lambda places: held.residuals(shape.token(places))

    def _states(self, shape: Shape) -> States:
        """Return what the U-Net is told of places of a shape."""
        captions = self.latents.captions

        def states(places: Tensor, prompts: Sequence[int]) -> Tensor:
            return self.engine.states(shape.token(places), self.kind, prompts, captions)

        return states
