"""A token for each stage of denoising, learned one after the other: `shoal learn --stages N`.

A loss at a timestep depends on no other stage's token, so that learning them one by one is learning them together. What
a stage may begin with, besides the usual starts, is what the stage before it ended with.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from client.backbone.engine import Engine
from client.backbone.latents import Latents
from client.backbone.stages import stages_of
from client.learn.checkpoint import Store, read_checkpoint, write_checkpoint
from client.learn.search import learn
from client.learn.settings import Learned, Progress, Settings
from common.prior import Prior

FINISHED = "finished"
"""The checkpoint of the stages that are learned; a stage that is not has its number's."""


@dataclass(slots=True)
class _Finished:
    """What stages ended with, and where it is kept until all have."""

    place: Store | None
    stages: list[Learned] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.place is None or not self.place.exists():
            return
        tensors, facts = read_checkpoint(self.place)
        found = zip(tensors["tokens"].numpy(), facts["stages"], strict=True)  # type: ignore[call-overload]
        anchor = tensors["anchor"].numpy()
        for token, said in found:
            history = tuple((int(f), float(v)) for f, v in said.pop("history"))
            self.stages.append(Learned(token=token, anchor=anchor, history=history, **said))

    def add(self, learned: Learned) -> None:
        self.stages.append(learned)
        if self.place is None:
            return
        tokens = torch.from_numpy(np.stack([stage.token for stage in self.stages]))
        facts = [{k: v for k, v in asdict(s).items() if k not in {"token", "anchor"}} for s in self.stages]
        write_checkpoint(
            self.place, {"tokens": tokens, "anchor": torch.from_numpy(learned.anchor)}, {"stages": list(facts)}
        )

    @property
    def forwards(self) -> int:
        return sum(stage.forwards for stage in self.stages)


def learn_in_stages(
    engine: Engine,
    latents: Latents,
    *,
    stages: int,
    kind: str,
    class_word: str,
    settings: Settings,
    prior: Prior | None = None,
    store: Callable[[str], Store] | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[int, Tensor], None] = lambda _forwards, _token: None,
) -> Learned:
    """Learn a token for each stage; arguments are those of `client.learn.search.learn`, but for these.

    Args:
        engine: the frozen backbone, whose timesteps are cut.
        latents: the photos.
        stages: how many, at least 1.
        kind: of the concept.
        class_word: a word for it.
        settings: of each stage: a budget is a stage's.
        prior: of concepts that have one token for all timesteps; each stage asks whether it helps.
        store: gives the checkpoint of a name: ``finished``, or a stage's number.
        progress: hears of forwards over all stages.
        stop: asked before every step.
        watch: sees the token of the stage that is being learned.

    Returns:
        Tokens one after the other, the noisiest stage's first, shape (stages * vectors * width,); the one anchor that
        each is counted from, shape (vectors * width,); losses averaged over the stages, forwards summed.
    """
    finished = _Finished(store(FINISHED) if store else None)
    intervals = stages_of(engine.timesteps, stages)
    for number in range(len(finished.stages), stages):
        before = finished.forwards

        def told(progressed: Progress, before: int = before, number: int = number) -> None:
            message = f"stage {number + 1} of {stages}, {progressed.message}"
            total = stages * settings.forwards
            progress(replace(progressed, forwards=before + progressed.forwards, total_forwards=total, message=message))

        def seen(forwards: int, token: Tensor, before: int = before) -> None:
            watch(before + forwards, token)

        learned = learn(
            at_stage(engine, intervals[number]),
            latents,
            kind=kind,
            class_word=class_word,
            settings=replace(settings, whole_range=True),
            prior=prior,
            checkpoint=store(str(number)) if store else None,
            progress=told,
            stop=stop,
            watch=seen,
            known=torch.from_numpy(finished.stages[-1].token) if finished.stages else None,
        )
        if learned.reason == "paused":
            return together([*finished.stages, learned])
        finished.add(learned)
    return together(finished.stages)


def at_stage(engine: Engine, timesteps: tuple[int, int]) -> Engine:
    """Return the same engine, of whose timesteps only a stage's are drawn; it shares all that is loaded."""
    part = copy.copy(engine)
    part.timesteps = timesteps
    return part


def together(stages: list[Learned]) -> Learned:
    """Return one result for all stages; paused, broken or out of budget if one is."""
    reasons = {stage.reason for stage in stages}
    count = len(stages)
    history, before = [], 0
    losses = [stage.start_loss for stage in stages]
    for number, stage in enumerate(stages):
        for forwards, loss in stage.history:
            losses[number] = loss
            history.append((before + forwards, sum(losses) / count))
        before, losses[number] = before + stage.forwards, stage.loss
    return Learned(
        token=np.concatenate([stage.token for stage in stages]),
        anchor=stages[0].anchor,
        start_loss=sum(stage.start_loss for stage in stages) / count,
        loss=sum(stage.loss for stage in stages) / count,
        forwards=before,
        reason=next((reason for reason in ("paused", "broken", "budget") if reason in reasons), "plateau"),
        overhead=sum(stage.overhead for stage in stages),
        start=stages[0].start,
        history=tuple(history),
    )
