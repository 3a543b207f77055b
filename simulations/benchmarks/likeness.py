"""How like a person's own pictures are drawn ones, and do they show the rest of what was asked for?

All by EfficientNet-Lite0's features (`features`), against real pictures (`retrieval`). The first question is answered
by features as they are (`plain_cosine`), which is what others report, and in metrics that tell objects or styles apart.
Likeness and agreement are two different questions, and for objects and styles they change places:

==========  =====================================================  ==============================================
of          likeness                                               agreement
==========  =====================================================  ==============================================
an object   cosine to the person's pictures, each one's style      the style asked for is the nearest of nine
            taken out and what does not tell objects apart muted
a style     cosine to the person's pictures, along what tells      the thing asked for is among the five nearest
            nine styles apart                                      of 200
==========  =====================================================  ==============================================

What a picture shows outweighs its style in plain features: by them the nearest style's mean is right for one real
picture in five, and a style is no more like itself than like others. With a metric fitted on other pictures it is right
for one in two (60 and 120 real pictures of things that the metric never saw), and the held-out style is like itself by
0.53 and like others by 0.07: that is the ceiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simulations.benchmarks.retrieval import Features, Gallery, fit_metric, ranks

NEAREST = 5
"""Of 200 things."""


def with_style(gallery: Gallery, style: str, found: Features) -> Gallery:
    """Return the gallery with one more style's mean, from features of pictures in it, shape (n, width)."""
    return replace(
        gallery,
        mean_styles=np.append(gallery.mean_styles, style),
        means=np.concatenate([gallery.means, found.mean(axis=0, keepdims=True).astype(gallery.means.dtype)]),
    )


def plain_cosine(drawn: Features, own: Features) -> float:
    """Return the mean cosine of features of pictures, shape (n, width), with a person's own, shape (m, width)."""
    return float(np.mean(_unit(drawn) @ _unit(own).T))


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Styles:
    """What tells styles apart, whatever is shown."""

    names: list[str]
    centre: Features
    """Shape (width,)."""
    projection: Features
    """Shape (width, styles - 1)."""
    means: Features
    """Each style's, projected, shape (styles, styles - 1)."""

    def place(self, found: Features) -> Features:
        """Project features, shape (n, width)."""
        return np.asarray((found - self.centre) @ self.projection, np.float32)


def fit_styles(gallery: Gallery, more: str, found: Features) -> Styles:
    """Fit the metric on the gallery's pictures and on those of one more style, features of shape (n, width)."""
    rows = np.concatenate([gallery.features.astype(np.float32), found])
    owner = np.array([*(str(style) for style in gallery.styles), *([more] * len(found))])
    names = sorted(set(owner))
    centre = np.stack([rows[owner == name].mean(axis=0) for name in names]).mean(axis=0)
    projection = fit_metric(rows - centre, owner.tolist())[:, : len(names) - 1]
    placed = (rows - centre) @ projection
    means = np.stack([placed[owner == name].mean(axis=0) for name in names])
    return Styles(names=names, centre=centre, projection=projection, means=means)


def style_likeness(styles: Styles, drawn: Features, own: Features) -> float:
    """Return the mean cosine of pictures to the mean of a person's own, along what tells styles apart."""
    return _cosine(styles.place(drawn), styles.place(own).mean(axis=0))


def colour_likeness(drawn: Sequence[NDArray[np.uint8]], own: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Return for each person whether colours leave the average as their own do: a cosine, 0 by chance.

    Colours are the mean and the spread of red, green and blue in a picture, averaged over a person's pictures; each
    side is taken less its average over people, in units of how much people's own differ. Of one person alone it is 0.

    Args:
        drawn: pictures drawn for people, shape (pictures, side, side, 3).
        own: the pictures of the same people, of whom there may be more than drew: they come first.
    """
    given, meant = _palettes(drawn), _palettes(own)
    unit = np.maximum(meant.std(axis=0), 1e-6)
    left, towards = ((each - each.mean(axis=0)) / unit for each in (given, meant))
    found: NDArray[np.float64] = np.sum(_unit(left) * _unit(towards)[: len(left)], axis=1, dtype=np.float64)
    return found


def _palettes(people: Sequence[NDArray[np.uint8]]) -> Features:
    """Return everybody's colours, shape (people, 6)."""
    rows = [np.concatenate([each.mean(axis=(1, 2)), each.std(axis=(1, 2))], axis=1).mean(axis=0) for each in people]
    return np.asarray(np.stack(rows) / 255, np.float32)


def style_agreement(styles: Styles, drawn: Features, asked: Sequence[str]) -> float:
    """Return the share of pictures whose nearest style, by its mean, is the one asked for."""
    apart = np.linalg.norm(styles.place(drawn)[:, None] - styles.means, axis=2)
    return float(np.mean([styles.names[row] == style for row, style in zip(apart.argmin(axis=1), asked, strict=True)]))


def thing_agreement(gallery: Gallery, drawn: Features, style: str, asked: Sequence[str]) -> float:
    """Return the share of pictures that have the thing asked for among the nearest `NEAREST`."""
    return float(np.mean(ranks(gallery, drawn, [style] * len(drawn), asked) < NEAREST))


def _cosine(rows: Features, one: Features) -> float:
    return float(np.mean(_unit(rows) @ _unit(one[None])[0]))


def _unit(rows: Features) -> Features:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
