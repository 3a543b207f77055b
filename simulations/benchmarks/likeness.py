"""How like a person's own pictures are drawn ones, and do they show the rest of what was asked for?

All by EfficientNet-Lite0's features (`features`), against real pictures (`retrieval`). Two different questions, and for
objects and styles they change places:

==========  =====================================================  ==============================================
of          likeness                                               agreement
==========  =====================================================  ==============================================
an object   cosine to the person's pictures, each one's style      the style asked for is the nearest of eight
            taken out and what does not tell objects apart muted
a style     cosine to the person's pictures, what all styles       the thing asked for is among the five nearest
            share taken out                                        of 200
==========  =====================================================  ==============================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from simulations.benchmarks.retrieval import Features, Gallery, ranks

NEAREST = 5
"""Of 200 things."""


def with_style(gallery: Gallery, style: str, found: Features) -> Gallery:
    """Return the gallery with one more style's mean, from features of pictures in it, shape (n, width)."""
    return replace(
        gallery,
        mean_styles=np.append(gallery.mean_styles, style),
        means=np.concatenate([gallery.means, found.mean(axis=0, keepdims=True).astype(gallery.means.dtype)]),
    )


def object_likeness(
    gallery: Gallery, drawn: Features, asked: Sequence[str], own: Features, own_styles: Sequence[str]
) -> float:
    """Return the mean cosine of pictures to the mean of a person's own, in the metric that tells objects apart.

    Args:
        gallery: whose metric it is.
        drawn: features, shape (n, width).
        asked: the style that each was asked for in.
        own: features of the person's pictures, shape (m, width).
        own_styles: the style of each.
    """
    return _cosine(gallery.whiten(drawn, asked), gallery.whiten(own, own_styles).mean(axis=0))


def style_likeness(gallery: Gallery, drawn: Features, own: Features) -> float:
    """Return the cosine of the mean of pictures to the mean of a person's own, from what all styles have in common.

    Means, since single pictures differ by what they show far more than by their style.
    """
    middle = gallery.means.astype(np.float32).mean(axis=0)
    return _cosine(drawn.mean(axis=0, keepdims=True) - middle, own.mean(axis=0) - middle)


def style_agreement(gallery: Gallery, drawn: Features, asked: Sequence[str]) -> float:
    """Return the share of pictures whose nearest style, by its mean, is the one asked for."""
    means = gallery.means.astype(np.float32)
    middle = means.mean(axis=0)
    nearest = (_unit(drawn - middle) @ _unit(means - middle).T).argmax(axis=1)
    return float(np.mean([str(gallery.mean_styles[row]) == style for row, style in zip(nearest, asked, strict=True)]))


def thing_agreement(gallery: Gallery, drawn: Features, style: str, asked: Sequence[str]) -> float:
    """Return the share of pictures that have the thing asked for among the nearest `NEAREST`."""
    return float(np.mean(ranks(gallery, drawn, [style] * len(drawn), asked) < NEAREST))


def _cosine(rows: Features, one: Features) -> float:
    return float(np.mean(_unit(rows) @ _unit(one[None])[0]))


def _unit(rows: Features) -> Features:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
