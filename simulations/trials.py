"""Forwards to target: how many forward passes a search needs on one person's pictures.

Target: the loss that reaches 80 % of the improvement which gradient-based textual inversion attains on the same
pictures, both measured on one fixed set of draws that no search sees.
"""

from __future__ import annotations

import warnings
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from client.backbone.engine import Engine, TorchEngine
from client.backbone.latents import Batch, Latents, draw_batch
from client.learn.reference import ReferenceSettings, published_draws, reference_search
from client.learn.search import learn
from client.learn.settings import Learned, Settings
from client.learn.subspace import shaped, vocabulary_covariance
from common.prior import Prior
from simulations.benchmarks.gradient import GradientSettings, gradient_inversion

SHARE = 0.8
"""Share of the gradient's improvement that counts as reached."""

DRAWS = 32
"""Draws of the evaluation set, stratified over the timesteps that the search uses."""

SPACING = 1.2
"""Ratio between the forwards at which a search's token is measured."""

WIDER = 1.4
"""The same where many searches are raced: measuring one costs more than its steps otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a search must reach on one person's pictures."""

    evaluation: Batch
    anchor_loss: float
    gradient_loss: float
    gradient_token: Tensor

    @property
    def loss(self) -> float:
        """The target loss."""
        return self.anchor_loss - SHARE * (self.anchor_loss - self.gradient_loss)


@dataclass(slots=True)
class Course:
    """Measures a search's token now and then, on the evaluation set, at nobody's expense.

    Where a measurement meets the target and the one before did not, the places between are halved until it is known at
    which of them it was met: forwards to target are true to a step, whatever the spacing.
    """

    engine: Engine
    target: Target
    kind: str
    to_the_end: bool = False
    """Whether a search goes on when it has met the target; it is then measured once more, when it ends."""
    points: list[tuple[int, float]] = field(default_factory=list)
    """(forwards, loss), in the order of forwards."""
    tokens: list[Tensor] = field(default_factory=list)
    next_at: float = 0.0
    passed: list[tuple[int, Tensor]] = field(default_factory=list)
    """(forwards, token) since the last measurement."""

    def watch(self, forwards: int, token: Tensor) -> None:
        """Measure if it is time."""
        if self.to_the_end and self.reached is not None:
            return
        if forwards < self.next_at:
            self.passed.append((forwards, token.clone()))
            return
        self.next_at = max(forwards + 8, forwards * (WIDER if self.to_the_end else SPACING))
        self.measure(forwards, token)

    def measure(self, forwards: int, token: Tensor) -> None:
        """Measure the token that a search has come to, and if it is the first to meet the target, what went before."""
        first = self.reached is None
        met = self._meets(forwards, token)
        passed, self.passed = self.passed, []
        if first and met:
            self._look_back(passed)

    def _look_back(self, passed: list[tuple[int, Tensor]]) -> None:
        unmet, met = 0, len(passed)
        while unmet < met:
            middle = (unmet + met) // 2
            if self._meets(*passed[middle]):
                met = middle
            else:
                unmet = middle + 1

    def _meets(self, forwards: int, token: Tensor) -> bool:
        loss = float(self.engine.losses(token[None], self.target.evaluation, self.kind))
        place = bisect(self.points, forwards, key=lambda point: point[0])
        self.points.insert(place, (forwards, loss))
        self.tokens.insert(place, token.clone())
        return loss <= self.target.loss

    @property
    def reached(self) -> int | None:
        """Forwards at which the target was first met, or None."""
        return next((forwards for forwards, loss in self.points if loss <= self.target.loss), None)

    @property
    def ended(self) -> bool:
        """Whether a search need not go on."""
        return self.reached is not None and not self.to_the_end

    @property
    def share(self) -> float:
        """Share of the gradient's improvement that the last token measured attains."""
        target = self.target
        return (target.anchor_loss - self.points[-1][1]) / (target.anchor_loss - target.gradient_loss)


@torch.inference_mode(mode=False)
def target_of(
    yardstick: TorchEngine,
    engine: Engine,
    latents: Latents,
    anchor: Tensor,
    kind: str,
    seed: int,
    steps: int = GradientSettings().steps,
    watch: Callable[[int, Tensor], None] = lambda _forwards, _token: None,
) -> Target:
    """Run the gradient's yardstick in floating point and measure it on the engine that searches use.

    ``watch`` sees the yardstick's (forward passes, token) as it descends.
    """
    settings = GradientSettings(steps=steps)
    token = gradient_inversion(yardstick, latents, anchor, kind, settings, seed, watch)
    evaluation = evaluation_of(engine, latents, kind, seed)
    start, end = engine.losses(torch.stack([anchor, token]), evaluation, kind).tolist()
    return Target(evaluation=evaluation, anchor_loss=start, gradient_loss=end, gradient_token=token)


def evaluation_of(engine: Engine, latents: Latents, kind: str, seed: int) -> Batch:
    """Return the draws that searches on one person's pictures are measured on, and none of them sees."""
    generator = torch.Generator().manual_seed(10_000 + seed)
    return draw_batch(
        latents, DRAWS, engine.timesteps, engine.templates(kind), generator, stratified=True, antithetic=True
    )


def ours(
    engine: Engine,
    latents: Latents,
    class_word: str,
    kind: str,
    target: Target,
    settings: Settings,
    prior: Prior | None,
    *,
    to_the_end: bool = False,
) -> tuple[Course, Learned]:
    """Run our search, which always goes on to its own end, and measure its course."""
    course = Course(engine, target, kind, to_the_end)
    result = learn(
        engine, latents, kind=kind, class_word=class_word, settings=settings, prior=prior, watch=course.watch
    )
    if to_the_end:
        course.measure(result.forwards, torch.from_numpy(result.token))
    return course, result


def evolution(
    engine: Engine,
    latents: Latents,
    class_word: str,
    kind: str,
    target: Target,
    budget: int,
    seed: int,
    *,
    to_the_end: bool = False,
) -> Course:
    """Run CMA-ES in the vocabulary's leading principal directions until it meets the target or spends the budget.

    Gradient-free textual inversion (Fei et al., arXiv:2304.05818): a fixed subspace from principal components of the
    vocabulary, evolution strategy on its coordinates. Each generation shares one draw, as each step of ours does.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Could not import matplotlib")  # nothing is plotted
        import cma  # noqa: PLC0415 - see above
    course = Course(engine, target, kind, to_the_end)
    generator = torch.Generator().manual_seed(seed)
    shape = shaped(vocabulary_covariance(engine.vocabulary()), engine.anchor(class_word), None)
    strategy = cma.CMAEvolutionStrategy([0.0] * shape.size, 1.0, {"seed": seed + 1, "verbose": -9})
    spent, token = 0, shape.origin
    while spent < budget and not course.ended:
        places = strategy.ask()
        batch = draw_batch(latents, 1, engine.timesteps, engine.templates(kind), generator)
        losses = engine.losses(shape.token(torch.from_numpy(np.stack(places)).float()), batch, kind)
        strategy.tell(places, losses.tolist())
        spent += len(places)
        token = shape.token(torch.from_numpy(strategy.mean).float())
        course.watch(spent, token)
    if to_the_end:
        course.measure(spent, token)
    return course


def reference(
    engine: Engine,
    latents: Latents,
    class_word: str,
    kind: str,
    target: Target,
    budget: int,
    seed: int,
    *,
    to_the_end: bool = False,
) -> Course:
    """Run the published algorithm until it meets the target or spends the budget."""
    course = Course(engine, target, kind, to_the_end)
    generator = torch.Generator().manual_seed(seed)
    settings = ReferenceSettings()

    next_losses = published_draws(engine, latents, kind, generator)
    anchor = engine.anchor(class_word)
    for forwards, token in reference_search(anchor, next_losses, settings, generator):
        course.watch(forwards, token)
        if forwards >= budget or course.ended:
            if to_the_end:
                course.measure(forwards, token)
            return course
    raise AssertionError  # pragma: no cover - the search has no end of its own
