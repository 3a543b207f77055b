"""What the pictures of benchmark ``quality`` are held to: ours beside the gradient's and the published algorithm's."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from client.placeholder import PROPOSED
from simulations.benchmarks.framework import Bar
from simulations.benchmarks.intervals import ratio_interval, share_interval, traded_interval
from simulations.benchmarks.ways import GRADIENT, REFERENCE, Kind

SHUFFLED: Final = "shuffled"
AS_MUCH: Final = "at the strength of as much agreement"
BOUND: Final = 0.97
SCORES: Final = ("cosine", "likeness", "colours", "agreement")
Scores = dict[str, NDArray[np.float64]]
"""By way: the `SCORES` of each newcomer, shape (newcomers, 4)."""
PROMISED: Final = ("cosine", "agreement")
"""What pictures are held to; the rest too, where it tells the gradient's pictures from somebody else's."""
SOFTER: Final[dict[Kind, tuple[float, ...]]] = {"object": (), "style": (0.4, 0.6, 0.8)}
"""Strengths that tokens learned with the prior are said at too (`client.placeholder`): what a softer style gives up of
likeness it gains in what else is asked for."""


def at_strength(way: str, strength: float) -> str:
    """Return the name of a way's tokens said at a strength."""
    return f"{way}, strength {strength:g}"


def held(kind: Kind, scores: Scores, ours: str, seed: int) -> list[Bar]:
    """Hold ours with the prior against the gradient's and the published algorithm's pictures.

    In all that is `PROMISED`, and in what tells people apart: against the gradient's as a share, but of colours, whose
    share of a small cosine says little; against the published algorithm's by what is more, on those who ran both, as
    learned, as it is proposed to say what was learned, and at the strength that has as much agreement as theirs.
    """
    bars = []
    levels = [ours, *(way for strength in SOFTER[kind] if (way := at_strength(ours, strength)) in scores)]
    proposed = [way for way in levels[1:] if way == at_strength(ours, PROPOSED.get(kind, 1))]
    agreement = SCORES.index("agreement")
    for column, what in enumerate(SCORES):
        if what not in PROMISED and not _tells(scores, column, seed):
            continue
        mine, yardstick = (scores[way][:, column] for way in (ours, GRADIENT))
        if what != "colours":
            ratio = ratio_interval(mine.tolist(), yardstick.tolist(), seed)
            bars.append(Bar.known(f"{kind}: {what}, {ours}, over the gradient's", ratio, BOUND, "at least"))
        for rival in (way for way in scores if way.startswith(REFERENCE)):
            theirs = scores[rival][:, column]
            for way in (ours, *proposed):
                more = share_interval((scores[way][: len(theirs), column] - theirs).tolist(), seed)
                bars.append(Bar.known(f"{kind}: {what}, {way}, less {rival}", more, 0.0, "at least"))
            if len(levels) > 1 and column != agreement:
                both = np.stack([scores[way][: len(theirs)][:, [agreement, column]] for way in levels])
                more = traded_interval(both, scores[rival][:, [agreement, column]], seed)
                bars.append(Bar.known(f"{kind}: {what}, {ours}, {AS_MUCH}, less {rival}", more, 0.0, "at least"))
    return bars


def _tells(scores: Scores, column: int, seed: int) -> bool:
    """Say whether the gradient's pictures are scored higher than held against somebody else's, beyond doubt."""
    if SHUFFLED not in scores:  # there is nobody else
        return True
    more = scores[GRADIENT][:, column] - scores[SHUFFLED][:, column]
    return share_interval(more.tolist(), seed)[1] > 0
