"""No engine learns before its slopes were compared with float32's: output errors do not predict them.

A search follows differences between candidates a step μ apart. Two engines whose losses agree to a percent may have
slopes that have nothing to do with each other (docs/engines.md). So on every backbone, once, each engine's slopes are
laid beside those of float32 on the model's own weights. What is judged is what is used: our search follows slopes of
*predictions* along axes of the vocabulary's spread, the published algorithm slopes of the *loss* along random ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from client.backbone.latents import Batch
from client.files import write_whole
from client.learn.estimator import forward_jacobian
from client.learn.settings import Settings
from client.learn.subspace import principal_directions, vocabulary_covariance
from common.errors import BackboneError

LEAST_COSINE = 0.95
"""An engine below is refused. At 0.95 a third of a slope's length is noise, which lengthens a search by a tenth."""

Judged = Literal["predictions", "losses"]
"""Slopes of what: of our search, or of the published algorithm."""

STEP = 1e-3
"""μ as published, which the reference uses."""

LEADING, MIXED = 4, 2
"""Axes that predictions are judged along: the vocabulary's widest, and random mixtures of all, as a search turns to."""

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

    def vocabulary(self) -> Tensor:
        """Return the table of token embeddings."""
        ...

    def losses(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return the candidates' losses."""
        ...

    def residuals(self, candidates: Tensor, batch: Batch, kind: str) -> Tensor:
        """Return what the candidates' predictions miss."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate found of one engine on one backbone."""

    cosine: float
    error: float = 0.0
    """Length of what its slopes miss, in lengths of float32's."""

    @property
    def passes(self) -> bool:
        """Whether the engine may learn; a cosine that is not a number does not pass."""
        return self.cosine >= LEAST_COSINE


def jacobian(engine: Scored, step: float = Settings().step, seed: int = 0) -> Tensor:
    """Return the predictions' slopes along axes of the vocabulary's spread at a word's embedding.

    Shape (draws * axes * entries,). A step of one is a standard deviation of the words along an axis.
    """
    generator = torch.Generator().manual_seed(seed)
    directions, spread = principal_directions(vocabulary_covariance(engine.vocabulary()), engine.width)
    widest = (directions * spread).T.float()
    mixture = torch.randn(MIXED, len(widest), generator=generator)
    axes = torch.cat([widest[:LEADING], mixture / mixture.norm(dim=1, keepdim=True) @ widest])
    token, found = engine.anchor("dog"), []
    for batch in _draws(engine, generator):

        def residuals(places: Tensor, batch: Batch = batch) -> Tensor:
            return engine.residuals(token + places @ axes, batch, "object")[:, 0]

        _, rows = forward_jacobian(residuals, torch.zeros(len(axes)), step)
        found.append(rows.flatten())
    return torch.cat(found).double()


def slopes(engine: Scored, step: float = STEP, seed: int = 0) -> Tensor:
    """Return the losses' slopes along random directions at a word's embedding, shape (draws * directions,)."""
    generator = torch.Generator().manual_seed(seed)
    token = engine.anchor("dog")
    found = []
    for batch in _draws(engine, generator):
        directions = torch.randn(DIRECTIONS, len(token), generator=generator)
        for some in directions.split(AT_ONCE):
            losses = engine.losses(torch.cat([token[None], token + step * some]), batch, "object").double()
            found.append((losses[1:] - losses[0]) / step)
    return torch.cat(found)


def _draws(engine: Scored, generator: torch.Generator) -> Iterator[Batch]:
    """Yield draws of noise on noise, one at each of the times."""
    channels, height, width = engine.latent_shape
    shape = (1, channels, min(height, LARGEST_SIDE), min(width, LARGEST_SIDE))
    low, high = engine.timesteps
    for time in TIMES:
        yield Batch(
            latents=torch.randn(shape, generator=generator),
            noise=torch.randn(shape, generator=generator),
            timesteps=torch.tensor([int(low + time * (high - low))]),
            templates=torch.zeros(1, dtype=torch.long),
        )


MEASURES: dict[Judged, Callable[[Scored], Tensor]] = {"predictions": jacobian, "losses": slopes}


def compared(ours: Tensor, theirs: Tensor) -> Verdict:
    """Return how closely slopes follow those of float32."""
    error = torch.nan_to_num((ours - theirs).norm() / theirs.norm(), nan=float("inf"))
    return Verdict(cosine=round(cosine(ours, theirs), 6), error=round(float(error), 6))


def cosine(ours: Tensor, theirs: Tensor) -> float:
    """Return the cosine between two vectors of slopes; 0 where one vanishes."""
    return float(torch.nan_to_num(ours @ theirs / (ours.norm() * theirs.norm())))


def judged(
    name: str,
    engine: Callable[[], Scored],
    exact: Callable[[], Scored],
    place: Path,
    machine: str,
    by: Judged = "predictions",
) -> Verdict:
    """Return the verdict on an engine, measured once and kept.

    Args:
        name: of the engine.
        engine: opens it; called only when nothing is kept yet.
        exact: opens float32 on the model's own weights; the same.
        place: the file of verdicts on this backbone.
        machine: what the arithmetic depends on: device and version of PyTorch.
        by: slopes of what.
    """
    kept = _kept(place)
    key = f"{by} of {name} on {machine}"
    if key not in kept:
        measure = MEASURES[by]
        kept[key] = compared(measure(engine()), measure(exact()))
        told = {name: asdict(verdict) for name, verdict in kept.items()}
        write_whole(place, (json.dumps(told, indent=1) + "\n").encode(), replace=True)
    return kept[key]


def refusal(name: str, verdict: Verdict) -> BackboneError:
    """Return what is said of an engine that did not pass."""
    return BackboneError(
        f"engine {name} follows this model's slopes with cosine {verdict.cosine:.3f}, below {LEAST_COSINE}: "
        "a search would run after noise; leave --engine out, or choose quanto"
    )


def _kept(place: Path) -> dict[str, Verdict]:
    """Return the verdicts so far; a damaged file is measured again."""
    try:
        found = json.loads(place.read_text())
        return {str(key): Verdict(**value) for key, value in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
