"""Simulated people with hidden preferences, and the judge who knows them.

A preference is a weight for each of some attributes of pictures that the Pictograms backbone can express: of style, of
colour, of shape and of subject. Choices are made by the judge; learners see nothing else of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simulations.benchmarks.features import features, load_classifier
from simulations.benchmarks.gallery import PATH
from simulations.benchmarks.retrieval import load_gallery

STYLES: Final = ("ink", "studio")
"""Styles that the backbone draws so that a probe tells them from the others: black lines, and shaded solids."""
ATTRIBUTES: Final = (*STYLES, "light", "warm", "vivid", "full", "busy", "face")
"""Style; light, warm and vivid colours; how much of the picture is covered and how busy its outlines are; a face."""

FACES: Final = ("face", "person", "people", "man", "woman", "boy", "girl", "baby", "cat", "dog", "monkey", "bear")
"""Words in names of gallery pictures that have a face."""

CHOOSING: Final = (
    "cat", "house", "flower", "ship", "tree", "castle", "fish", "apple",
    "car", "guitar", "crown", "umbrella", "star", "heart", "clock", "key",
)  # fmt: skip
"""What people are shown pictures of while they choose."""
HELD_OUT: Final = ("dog", "mushroom", "rocket", "bird", "cake", "moon", "book", "hat", "butterfly", "lamp")
"""What is drawn to see whether their taste was met."""

RIDGE: Final = 100.0
CARE: Final = 4.0
"""How surely the better of two pictures is chosen: by a logistic function of utilities that differ by one spread."""

COMMON: Final = np.array([0.5, 0.8, -1.0, 0.9, 0.6, 0.4, -0.5, 0.5])
"""What people tend to like, by attribute: shaded, dark, warm, vivid, full and calm pictures with faces."""
OWN: Final = 0.7
"""Spread of each person's own weights around that."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Person:
    """One simulated person."""

    number: int
    weights: NDArray[np.float64]
    """Of `ATTRIBUTES`, of length 1; nobody but the judge knows them."""

    def prefers(self, first: NDArray[np.float64], second: NDArray[np.float64], chance: np.random.Generator) -> bool:
        """Say whether the first of two pictures is chosen, by their attributes."""
        margin = CARE * float(self.weights @ (first - second))
        return bool(chance.random() < 1 / (1 + np.exp(-margin)))

    def better(self, one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Say of each picture whether it suits the person better than its counterpart; both (n, attributes)."""
        found: NDArray[np.bool_] = (one - other) @ self.weights > 0
        return found


def tastes(count: int, seed: int) -> list[Person]:
    """Draw people."""
    chance = np.random.default_rng(seed)
    rows = COMMON + OWN * chance.standard_normal((count, len(ATTRIBUTES)))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return [Person(number=number, weights=row) for number, row in enumerate(rows)]


class Judge:
    """Measures pictures' attributes, in spreads of what the backbone draws of one prompt."""

    def __init__(self) -> None:
        """Fit the probes of styles and faces to real pictures (ridge regression on EfficientNet-Lite0 features)."""
        self._classifier = load_classifier()
        gallery = load_gallery(PATH)
        found = gallery.features.astype(np.float64)
        self._mean, self._spread = found.mean(axis=0), found.std(axis=0)
        faces = np.array([any(word in name.split() for word in FACES) for name in gallery.names])
        wanted = np.stack([*(gallery.styles == style for style in STYLES), faces], axis=1).astype(np.float64)
        rows = self._rows(found)
        normal = rows.T @ rows + RIDGE * np.eye(rows.shape[1])
        self._probes = np.linalg.solve(normal, rows.T @ (wanted - wanted.mean(axis=0)))
        self.scale = np.ones(len(ATTRIBUTES))
        """Each attribute's unit; ones before `calibrate`."""

    def calibrate(self, pictures: Sequence[Sequence[Image.Image]]) -> None:
        """Take as each attribute's unit its spread among pictures of one prompt, over several prompts."""
        self.scale = np.ones(len(ATTRIBUTES))
        measured = [self.measure(group) for group in pictures]
        centred = np.concatenate([rows - rows.mean(axis=0) for rows in measured])
        self.scale = np.sqrt(np.square(centred).mean(axis=0)).clip(1e-6)

    def measure(self, pictures: Sequence[Image.Image]) -> NDArray[np.float64]:
        """Return the attributes of pictures, shape (n, attributes)."""
        pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
        probed = self._rows(features(self._classifier, pixels).astype(np.float64)) @ self._probes
        seen = pixels.astype(np.float64) / 255
        ink = seen.min(axis=3) < 0.93  # paper is white
        drawn = ink.sum(axis=(1, 2)) + 1

        def over_ink(values: NDArray[np.float64]) -> NDArray[np.float64]:
            mean: NDArray[np.float64] = (values * ink).sum(axis=(1, 2)) / drawn
            return mean

        light = seen.mean(axis=3)
        edges = sum(np.abs(np.diff(light, axis=axis)).mean(axis=(1, 2)) for axis in (1, 2))
        full = ink.mean(axis=(1, 2))
        columns = [
            *(probed[:, number] for number in range(len(STYLES))),
            over_ink(light),
            over_ink(seen[..., 0] - seen[..., 2]),
            over_ink(seen.max(axis=3) - seen.min(axis=3)),
            full,
            edges / full.clip(0.05),
            probed[:, -1],
        ]
        return np.stack(columns, axis=1) / self.scale

    def _rows(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([(found - self._mean) / self._spread, np.ones((len(found), 1))], axis=1)
