"""Do the Pictograms backbone's pictures show what their captions say?

Pictures of 200 training captions and of 200 (name, style) pairs that training never saw together are scored by
nearest concept (see `retrieval`), beside real pictures of the same pairs and beside the same generated pictures
with the prompts shuffled among them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from simulations.benchmarks.features import features, load_classifier
from simulations.benchmarks.framework import Bar, Report, Value
from simulations.benchmarks.gallery import PATH, order
from simulations.benchmarks.retrieval import Gallery, family, load_gallery, ranks, recall
from simulations.pictograms.data import caption
from simulations.pictograms.sampling import Sampling, default_folder, draw, load_pipeline

SMALL = 40
"""Concepts of the small form; each is still sought among all 200."""
UNSEEN_BOUND, SHUFFLED_BOUND = 0.5, 0.1


@dataclass(frozen=True, slots=True)
class Pair:
    """One concept in one style, with the row of its real picture in the gallery."""

    name: str
    style: str
    row: int


def pairs(gallery: Gallery, split: str) -> list[Pair]:
    """Choose for each concept one style of a split, by a public hash, where it has one."""
    found: dict[str, list[Pair]] = {name: [] for name in gallery.concepts}
    for row, (name, style, part) in enumerate(zip(gallery.names, gallery.styles, gallery.split, strict=True)):
        if part == split:
            found[str(name)].append(Pair(str(name), str(style), row))
    return [min(options, key=lambda p: order(f"{p.name}/{p.style}")) for options in found.values() if options]


def derangement(chosen: list[Pair], seed: int) -> list[str]:
    """Return the names in an order in which no pair keeps its own: a cycle through a random order."""
    around = np.random.default_rng(seed).permutation(len(chosen))
    names = [""] * len(chosen)
    for here, there in itertools.pairwise([*around, around[0]]):
        names[here] = chosen[there].name
    return names


def score(gallery: Gallery, found: NDArray[np.float32], chosen: list[Pair], names: list[str]) -> dict[str, Value]:
    """Return R@1 and R@5 of queries, and R@5 under plain cosine for comparison."""
    styles = [pair.style for pair in chosen]
    whitened, plain = (ranks(gallery, found, styles, names, whitened=w) for w in (True, False))
    return {"count": len(chosen), "r1": recall(whitened, 1), "r5": recall(whitened, 5), "r5_plain": recall(plain, 5)}


def measure(
    gallery: Gallery,
    pipeline: Any,  # noqa: ANN401 - diffusers' pipelines are untyped
    classifier: nn.Module,
    seed: int,
    count: int,
) -> list[dict[str, Value]]:
    """Return the table's rows for the first ``count`` concepts."""
    seen, unseen = pairs(gallery, "train")[:count], pairs(gallery, "unseen")[:count]
    rows = []
    for what, chosen, offset in (("training captions", seen, 0), ("unseen pairs", unseen, 1)):
        names = [pair.name for pair in chosen]
        real = gallery.features[[pair.row for pair in chosen]].astype(np.float32)
        captions = [caption(pair.name, pair.style) for pair in chosen]
        made = features(classifier, draw(pipeline, captions, 2 * seed + offset, Sampling()))
        rows.append({"pictures": f"real, {what}", **score(gallery, real, chosen, names)})
        rows.append({"pictures": f"generated, {what}", **score(gallery, made, chosen, names)})
    rows.append({"pictures": "generated, prompts shuffled", **score(gallery, made, chosen, derangement(chosen, seed))})
    return rows


def run(*, full: bool, seed: int) -> Report:
    """Draw and score: 400 pictures in full, 80 in small."""
    gallery = load_gallery(PATH)
    pipeline, classifier = load_pipeline(default_folder()), load_classifier()
    rows = measure(gallery, pipeline, classifier, seed, len(gallery.concepts) if full else SMALL)
    r5 = {str(row["pictures"]): float(row["r5"] or 0) for row in rows}
    unseen, shuffled = r5["generated, unseen pairs"], r5["generated, prompts shuffled"]
    families = len({family(str(style)) for style in gallery.styles})
    return Report(
        name="backbone",
        seed=seed,
        full=full,
        rows=rows,
        ratios={"unseen_r5_of_real": unseen / r5["real, unseen pairs"]},
        bars=[
            Bar("R@5 of generated pictures, unseen pairs", unseen, UNSEEN_BOUND, "at least"),
            Bar("R@5 with prompts shuffled", shuffled, SHUFFLED_BOUND, "below"),
        ],
        notes=[
            f"nearest of {len(gallery.concepts)} concepts, by real pictures of the other ones of {families} artworks",
            "R@5 plain: the same features by plain cosine, without the metric fitted on other names",
        ],
    )
