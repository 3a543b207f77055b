"""Medians with bootstrap intervals, of numbers some of which are beyond all bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 2000
LEVEL: Final = 0.95
TAILS: Final = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
"""Shares of resamples below an interval's bounds."""


def _people(count: int, seed: int) -> NDArray[np.int64]:
    """Draw resamples of so many people, by number, shape (resamples, people)."""
    return np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))


def median_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Return the median and its percentile bootstrap interval (Efron 1979) over whoever was measured.

    Args:
        values: infinite for a search that never met its target: it counts as later than all that did.
        seed: of the resampling.

    Returns:
        Median, lower and upper bound; infinite where half and more of (a resample of) the values are.
    """
    numbers = np.asarray(values, dtype=np.float64)
    medians = _medians(numbers[_people(len(numbers), seed)])
    low, high = np.quantile(medians, TAILS[0], method="lower"), np.quantile(medians, TAILS[1], method="higher")
    return float(_medians(numbers[None])[0]), float(low), float(high)


def _medians(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row's median; halfway between a number and infinity is infinity, not a warning."""
    ordered = np.sort(rows, axis=1)
    count = ordered.shape[1]
    found: NDArray[np.float64] = (ordered[:, (count - 1) // 2] + ordered[:, count // 2]) / 2
    return found


def medians_interval(
    mine: Sequence[float],
    other: Sequence[float],
    compare: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return two medians compared and the bootstrap interval, whoever was measured drawn with both numbers of theirs.

    Args:
        mine: shape (n,); may be infinite.
        other: what the same were otherwise, shape (n,); finite.
        compare: of medians of resamples, shape (resamples,) each: `numpy.divide`, `numpy.subtract`.
        seed: of the resampling.
    """
    pairs = np.asarray(mine, np.float64), np.asarray(other, np.float64)
    rows = _people(len(pairs[0]), seed)
    value = compare(*(_medians(each[None]) for each in pairs))
    low, high = np.quantile(compare(*(_medians(each[rows]) for each in pairs)), TAILS, method="nearest")
    return float(value[0]), float(low), float(high)


def share_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Return the mean and its bootstrap interval, as `median_interval` does for the median."""
    numbers = np.asarray(values, dtype=np.float64)
    means = numbers[_people(len(numbers), seed)].mean(axis=1)
    low, high = np.quantile(means, TAILS)
    return float(numbers.mean()), float(low), float(high)


def traded_interval(mine: NDArray[np.float64], other: NDArray[np.float64], seed: int = 0) -> tuple[float, float, float]:
    """Return how much more of one thing there is where there is as much of another, which it is given up for.

    Args:
        mine: both, of the same people, at several levels, shape (levels, n, 2): what is to be as much, then what is
            asked. Between levels the means are taken for a line.
        other: shape (n, 2).
        seed: of the resampling.

    Returns:
        A difference of means and its bootstrap interval. Where every level has more of the first than the other, the
        level with the least of it is compared, and where every level has less, the difference is minus infinity.
    """
    people = _people(mine.shape[1], seed)
    levels, others = mine[:, people].mean(axis=2), other[people].mean(axis=1)
    drawn = [_traded(levels[:, row], others[row]) for row in range(len(people))]
    low, high = np.quantile(drawn, TAILS, method="nearest")
    return _traded(mine.mean(axis=1), other.mean(axis=0)), float(low), float(high)


def _traded(levels: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    order = np.argsort(levels[:, 0])
    return float(np.interp(other[0], levels[order, 0], levels[order, 1], right=-np.inf) - other[1])


def ratio_interval(mine: Sequence[float], other: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Return a ratio of means and its bootstrap interval, whoever was measured drawn with both numbers of theirs.

    Args:
        mine: shape (n,).
        other: what the same were otherwise, shape (n,); not a number comes of means that are nought or below.
        seed: of the resampling.
    """
    pairs = np.stack([np.asarray(mine, np.float64), np.asarray(other, np.float64)])
    rows = _people(pairs.shape[1], seed)
    over, under = pairs.mean(axis=1)
    if not under > 0:
        return float("nan"), float("nan"), float("nan")
    drawn = pairs[:, rows].mean(axis=2)
    ratios = np.where(drawn[1] > 0, drawn[0] / np.maximum(drawn[1], np.finfo(float).tiny), np.inf)
    low, high = np.quantile(ratios, TAILS, method="nearest")
    return float(over / under), float(low), float(high)
