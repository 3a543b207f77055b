"""Searches of many people side by side, whose looks at the U-Net go through it together.

A forward pass of few rows costs nearly what one of many costs: on Pictograms fifteen people's steps of three forwards
each take four times one's. Nobody's search knows of the others, and each finds what it would have found alone, but for
the rounding of a batch of another size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Condition, Lock
from typing import Any, TypeVar, cast

import torch
from numpy.typing import NDArray
from torch import Tensor

from client.backbone.engine import Engine
from client.backbone.latents import Batch, Latents

T = TypeVar("T")


def in_lockstep(engine: Engine, searches: Sequence[Callable[[Engine], T]]) -> list[T]:
    """Run searches that take single draws, each of as many candidates; return what they return.

    Whenever all that still run wait for their losses on one draw, all are told together. What a search asks of several
    draws it is told alone. Every search has a thread, and the engine this one: threads that took turns at it would each
    have its memory from the system anew.
    """
    meeting = _Meeting(engine, len(searches))

    def run(seat: int) -> T:
        try:
            return searches[seat](cast("Engine", _Seat(engine, meeting, seat)))
        finally:
            meeting.leave()

    with ThreadPoolExecutor(len(searches)) as pool:
        seated = [pool.submit(run, seat) for seat in range(len(searches))]
        try:
            meeting.tell()
        except BaseException:  # Ctrl-C: whoever waits would wait for ever
            meeting.break_off()
            raise
    return [each.result() for each in seated]


Asked = tuple[Tensor, Batch, str]
"""Candidates, what they are scored on, and in which kind of prompts."""


@dataclass(slots=True)
class _Meeting:
    """Where searches wait until all have asked."""

    engine: Engine
    here: int
    """How many searches still run."""
    changed: Condition = field(default_factory=Condition)
    asked: dict[int, Asked] = field(default_factory=dict)
    told: dict[int, Tensor | Exception] = field(default_factory=dict)
    broken_off: bool = False
    encoding: Lock = field(default_factory=Lock)
    """Networks that are loaded by several threads at once come out without their weights (diffusers 0.42)."""

    def ask(self, seat: int, asked: Asked) -> Tensor:
        """Wait to be told the losses of a search's candidates, shape (candidates,)."""
        with self.changed:
            self.asked[seat] = asked
            self.changed.notify_all()
            self.changed.wait_for(lambda: seat in self.told or self.broken_off)
            if self.broken_off:
                raise CancelledError
            told = self.told.pop(seat)
        if isinstance(told, Exception):
            raise told
        return told

    def leave(self) -> None:
        """Let the others go on without one."""
        with self.changed:
            self.here -= 1
            self.changed.notify_all()

    def break_off(self) -> None:
        """End all searches as soon as they ask."""
        with self.changed:
            self.broken_off = True
            self.changed.notify_all()

    def tell(self) -> None:
        """Tell losses until nobody is left."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.here == 0 or self._next())
                if self.here == 0:
                    return
                seats = self._next()
                asked = [self.asked.pop(seat) for seat in seats]
            told: list[Tensor] | list[Exception]
            try:
                told = _losses_of(self.engine, asked)
            except Exception as error:  # noqa: BLE001 - whoever waits is to raise it
                told = [error] * len(seats)
            with self.changed:
                self.told.update(zip(seats, told, strict=True))
                self.changed.notify_all()

    def _next(self) -> list[int]:
        """Return who is to be told next: one that asked of several draws, or all when all have asked."""
        alone = [seat for seat, (_, batch, _) in self.asked.items() if len(batch) > 1]
        if alone:
            return alone[:1]
        return list(self.asked) if len(self.asked) == self.here else []


class _Seat:
    """The engine as one search sees it."""

    def __init__(self, engine: Engine, meeting: _Meeting, seat: int) -> None:
        self._engine, self._meeting, self._seat = engine, meeting, seat

    def losses(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return each candidate's mean loss, of a single draw together with the other searches'."""
        return self._meeting.ask(self._seat, (candidates, batch, kind))

    def encode(self, pixels: NDArray[Any]) -> Latents:
        """Encode photos, one search's at a time."""
        with self._meeting.encoding:
            return self._engine.encode(pixels)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the engine has
        """Be the engine in all else."""
        return getattr(self._engine, name)


def _losses_of(engine: Engine, asked: Sequence[Asked]) -> list[Tensor]:
    """Return what each asked for, from one call."""
    candidates, draws, kinds = zip(*asked, strict=True)
    if len(draws[0]) > 1:
        return [engine.losses(candidates[0], draws[0], kinds[0])]
    losses = engine.losses_of_many(torch.stack(candidates, dim=1), _joined(draws), kinds[0])
    return list(losses.unbind(dim=1))


def _joined(draws: Sequence[Batch]) -> Batch:
    """Return single draws as one batch."""
    captioned = [draw.captions[int(draw.templates)] for draw in draws if draw.captions]
    return replace(
        draws[0],
        latents=torch.cat([draw.latents for draw in draws]),
        noise=torch.cat([draw.noise for draw in draws]),
        timesteps=torch.cat([draw.timesteps for draw in draws]),
        templates=torch.arange(len(draws)) if captioned else torch.cat([draw.templates for draw in draws]),
        captions=tuple(captioned),
    )
