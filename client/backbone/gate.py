"""No engine learns before its slopes were compared with float32's: output errors do not predict them.

A search follows differences of losses between candidates a step μ apart. Two engines whose losses agree to a percent
may have slopes that have nothing to do with each other (docs/engines.md). So on every backbone, once, each engine's
slopes along random directions are laid beside those of float32 on the model's own weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from client.backbone.latents import Batch
from client.files import write_whole
from common.errors import BackboneError

LEAST_COSINE = 0.95
"""An engine below is refused. At 0.95 a third of a slope's length is noise, which lengthens a search by a tenth."""

STEP = 1e-3
"""μ as published, which the reference uses; our own search probes further, where engines follow more easily."""

DIRECTIONS, AT_ONCE, TIMES = 6, 2, (0.3, 0.7)
"""Random directions, how many a batch holds (as a step of a search does), and places within the timesteps."""

LARGEST_SIDE = 32
"""Side of the gate's latents at most: U-Nets take any, and float32 is slow."""


class Scored(Protocol):
    """What the gate needs of an engine."""

    width: int
    timesteps: tuple[int, int]
    latent_shape: tuple[int, int, int]

    def anchor(self, word: str) -> Tensor:
        """Return a word's embedding."""
        ...

    def losses(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return the candidates' losses."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate found of one engine on one backbone."""

    cosine: float

    @property
    def passes(self) -> bool:
        """Whether the engine may learn; a cosine that is not a number does not pass."""
        return self.cosine >= LEAST_COSINE


def slopes(engine: Scored, step: float = STEP, seed: int = 0) -> Tensor:
    """Return the losses' slopes along random directions at a word's embedding, shape (draws * directions,)."""
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = engine.latent_shape
    shape = (1, channels, min(height, LARGEST_SIDE), min(width, LARGEST_SIDE))
    token = engine.anchor("dog")
    found = []
    for time in TIMES:
        low, high = engine.timesteps
        batch = Batch(
            latents=torch.randn(shape, generator=generator),
            noise=torch.randn(shape, generator=generator),
            timesteps=torch.tensor([int(low + time * (high - low))]),
            templates=torch.zeros(1, dtype=torch.long),
        )
        directions = torch.randn(DIRECTIONS, len(token), generator=generator)
        for some in directions.split(AT_ONCE):
            losses = engine.losses(torch.cat([token[None], token + step * some]), batch, "object").double()
            found.append((losses[1:] - losses[0]) / step)
    return torch.cat(found)


def cosine(ours: Tensor, theirs: Tensor) -> float:
    """Return the cosine between two vectors of slopes; 0 where one vanishes."""
    return float(torch.nan_to_num(ours @ theirs / (ours.norm() * theirs.norm())))


def judged(name: str, engine: Callable[[], Scored], exact: Callable[[], Scored], place: Path, machine: str) -> Verdict:
    """Return the verdict on an engine, measured once and kept.

    Args:
        name: of the engine.
        engine: opens it; called only when nothing is kept yet.
        exact: opens float32 on the model's own weights; the same.
        place: the file of verdicts on this backbone.
        machine: what the arithmetic depends on: device and version of PyTorch.
    """
    kept = _kept(place)
    key = f"{name} on {machine}"
    if key not in kept:
        kept[key] = round(cosine(slopes(engine()), slopes(exact())), 6)
        write_whole(place, (json.dumps(kept, indent=1) + "\n").encode(), replace=True)
    return Verdict(cosine=kept[key])


def refusal(name: str, verdict: Verdict) -> BackboneError:
    """Return what is said of an engine that did not pass."""
    return BackboneError(
        f"engine {name} follows this model's slopes with cosine {verdict.cosine:.3f}, below {LEAST_COSINE}: "
        "a search would run after noise; leave --engine out, or choose quanto"
    )


def _kept(place: Path) -> dict[str, float]:
    """Return the verdicts so far; a damaged file is measured again."""
    try:
        found = json.loads(place.read_text())
        return {str(key): float(value) for key, value in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
