"""Rebuilds the committed gallery of real pictures' features that the backbone's benchmark scores against.

    python -m simulations.pictograms.data build/pictograms
    python -m simulations.benchmarks.gallery build/pictograms/data.npz

The 200 concepts are the first by a public hash among the names that have a (name, style) pair left out of training;
nobody picked them by hand.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
from torch import nn

from simulations.benchmarks.features import features, load_classifier
from simulations.benchmarks.retrieval import Gallery, fit_metric, save_gallery
from simulations.pictograms.data import TRAINING_SETS, Pictograms, load

CONCEPTS = 200
PROBES = 8
PATH = Path(__file__).parent / "data" / "gallery.npz"


def order(key: str) -> str:
    """Order by a public hash, so that a choice never depends on a library's random generator."""
    return hashlib.sha256(f"benchmark-1/{key}".encode()).hexdigest()


def choose(data: Pictograms) -> list[str]:
    """Return the names of the gallery, shape (200,), in the order in which benchmarks take them."""
    return sorted({data.names[i] for i in data.where("unseen")}, key=order)[:CONCEPTS]


def build(data: Pictograms, classifier: nn.Module) -> Gallery:
    """Compute the features and fit the metric; about eight minutes on one core."""
    chosen = {name: place for place, name in enumerate(choose(data))}
    styles = list(TRAINING_SETS.values())
    rows = [i for i, name in enumerate(data.names) if name in chosen and data.styles[i] in styles]
    rows.sort(key=lambda i: (chosen[data.names[i]], styles.index(data.styles[i])))
    apart = [i for i in data.where("train") if data.names[i] not in chosen]
    others = features(classifier, data.pixels[apart])
    style_of = np.array([data.styles[i] for i in apart])
    means = np.stack([others[style_of == style].mean(axis=0) for style in styles])
    centred = others - means[[styles.index(str(style)) for style in style_of]]
    return Gallery(
        features=features(classifier, data.pixels[rows]).astype(np.float16),
        names=np.array([data.names[i] for i in rows]),
        styles=np.array([data.styles[i] for i in rows]),
        split=np.array([data.split[i] for i in rows]),
        mean_styles=np.array(styles),
        means=means.astype(np.float16),
        projection=fit_metric(centred, [data.names[i] for i in apart]).astype(np.float16),
        probes=data.pixels[rows[:PROBES]],
    )


if __name__ == "__main__":
    source = Path(sys.argv[1] if len(sys.argv) > 1 else "build/pictograms/data.npz")
    save_gallery(build(load(source), load_classifier()), PATH)
    print(f"{PATH}: {PATH.stat().st_size / 1e6:.2f} MB", file=sys.stderr)
