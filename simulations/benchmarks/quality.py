"""``quality``: do pictures drawn with learned tokens look like the person's, and do they follow the rest of the prompt?

The tokens are those of `forwards`, out of the same files: the published algorithm's, ours without and with a prior, and
gradient-based textual inversion's. An object is drawn in styles that the person has no picture of it in, a style on
things that the person has no picture of; the real pictures of just that are the ceiling. The shuffled control holds
pictures against the next person's own, and against what the next person asked for.
"""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from torch import nn

from client.backbone.engine import fingerprint
from client.generate import add_concepts
from client.taught import Taught, said_at
from simulations.benchmarks.features import features, load_classifier
from simulations.benchmarks.forwards import learned_by_crowd, priors
from simulations.benchmarks.framework import Bar, Report, Value
from simulations.benchmarks.gallery import PATH
from simulations.benchmarks.intervals import share_interval
from simulations.benchmarks.likeness import (
    Styles,
    colour_likeness,
    fit_styles,
    object_likeness,
    plain_cosine,
    style_agreement,
    style_likeness,
    thing_agreement,
    with_style,
)
from simulations.benchmarks.promises import AS_MUCH, SCORES, SHUFFLED, SOFTER, Scores, at_strength, held
from simulations.benchmarks.retrieval import Features, Gallery, load_gallery
from simulations.benchmarks.searches import KEPT, Search, Trial, found, is_kept, searcher
from simulations.benchmarks.ways import (
    ALONE,
    FULL,
    GRADIENT,
    KINDS,
    REFERENCE,
    SMALL,
    Kind,
    Size,
    largest,
    longer_searches,
    trial_of,
)
from simulations.demo import MODEL
from simulations.pictograms.data import HELD_OUT_STYLE
from simulations.pictograms.sampling import Sampling, draw, load_pipeline
from simulations.population import ARCHIVE, Person, people
from simulations.workers import workers

UNTAUGHT, REAL = "untaught (class word)", "real pictures"
PROMPTS: Final[dict[Kind, int]] = {"object": 2, "style": 8}
"""Prompts at most for each newcomer's token: of objects a third have one picture alone that the person did not have."""
PICTURES: Final[dict[Kind, int]] = {"object": 48, "style": 16}
"""Of a newcomer's in each way, prompts by turns, from noises of their own: with six a share of the gradient's agreement
was known to a fifth either way, with 16 to a seventh. Objects are asked for in few ways, so that the noise matters."""
OTHERS: Final = 200
"""Real pictures whose mean is the held-out style's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One picture that is asked for."""

    prompt: str
    """``{}`` where the token stands."""
    other: str
    """What else the prompt names: a style for an object, a thing for a style."""
    real: str
    """The archive's picture of just that."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scorer:
    """What pictures are judged by."""

    gallery: Gallery
    classifier: nn.Module
    archive: zipfile.ZipFile

    def real(self, members: Sequence[str]) -> Features:
        """Return features of the archive's pictures."""
        return features(self.classifier, pixels(self.archive, members))


def run(
    *,
    full: bool,
    seed: int,
    kept: Path = KEPT,
    out: Path = Path("build/bench"),
    kinds: Sequence[Kind] = KINDS,
    noise: int | None = None,
) -> Report:
    """Draw with everybody's tokens, or those of one kind, and score; writes ``quality.png`` beside the table.

    ``noise`` draws from other noise than the seed's.
    """
    size, told = FULL if full else SMALL, Console(stderr=True)
    pictures = PICTURES if full else dict.fromkeys(KINDS, 2)
    drawn_from = seed if noise is None else noise
    trial = trial_of(size, kept)
    searcher(kept)
    newcomers = people(size.newcomers, size.newcomers, seed)
    rows: list[dict[str, Value]] = []
    bars: list[Bar] = []
    sheets: list[NDArray[np.uint8]] = []
    with zipfile.ZipFile(ARCHIVE) as archive, workers(2) as pool:
        scorer = Scorer(gallery=load_gallery(PATH), classifier=load_classifier(), archive=archive)
        for kind in kinds:
            asks = {person: wanted(person, scorer, seed) for person in newcomers if person.kind == kind}
            asks = {person: some for person, some in asks.items() if some}
            some, tokens = learned(pool, trial, list(asks), newcomers, size, seed, told)
            asked = [list(islice(cycle(asks[person]), pictures[kind])) for person in some]
            begun = {
                way: pool.submit(draw_all, some[: len(each)], each, asked[: len(each)], drawn_from)
                for way, each in tokens.items()
            }
            drawn = {way: each.result() for way, each in begun.items()}
            told.print(f"{len(tokens)} times {sum(map(len, asked))} pictures drawn, {kind}")
            scores = score(some, asked, drawn, scorer)
            rows += table(kind, scores, seed)
            bars += held(kind, scores, next(way for way in tokens if way.startswith(largest(size))), seed)
            sheets.append(sheet(some, drawn, archive))
    write_sheet(sheets, out / "quality.png")
    return Report(name="quality", seed=seed, full=full, rows=rows, bars=bars, notes=_notes(size, pictures, drawn_from))


def learned(
    pool: ProcessPoolExecutor,
    trial: Trial,
    some: list[Person],
    newcomers: Sequence[Person],
    size: Size,
    seed: int,
    told: Console,
) -> tuple[list[Person], dict[str, Sequence[NDArray[np.float32] | None]]]:
    """Return some newcomers of a kind and every way's tokens for them.

    They are those who ran ours and the gradient's search in `forwards`, or all where nobody did; those who ran the
    published algorithm's too come first, those who ran it for longer before them, and only they have tokens of it.
    There is no token for the untaught, whom prompts name by the class word.
    """
    kind = some[0].kind
    others = learned_by_crowd(pool, trial, kind, newcomers, size, seed, told)
    last = largest(size)
    prior = [search for search in priors(others, kind, trial, size, seed) if search.name == last]
    ours = [
        Search(name=ALONE, way="ours"),
        *(prior or [Search(name=f"{last} (none yet)", way="ours")]),
    ]
    gradient, published = Search(name=GRADIENT, way="gradient"), Search(name=REFERENCE, way="published")
    longer = longer_searches(size, kind).values()

    def those(*ways: Search) -> list[Person]:
        return [person for person in some if all(is_kept(trial, person, way) for way in ways)]

    searched = those(gradient, *ours)
    some = searched or some
    ran = {person: sum(is_kept(trial, person, way) for way in (published, *longer)) for person in some}
    some = sorted(some, key=lambda person: -ran[person])
    rivals = [(published, those(published) if searched else some), *((way, those(published, way)) for way in longer)]
    rivals = [(way, each) for way, each in rivals if len(each) >= size.fewest]
    whose = [(gradient, some), *rivals, *((way, some) for way in ours)]
    tokens: dict[str, list[NDArray[np.float32]]] = {}
    for way, each in whose:
        told.print(f"tokens of {way.name}, {kind}")
        found_by = pool.map(found, [trial] * len(each), each, [way] * len(each))
        tokens[way.name] = [one.token for one in found_by]
    best = ours[-1].name
    for strength in SOFTER[kind]:
        tokens[at_strength(best, strength)] = [
            said_at(strength, token, searcher(trial.kept).anchor(person.class_word).numpy())
            for person, token in zip(some, tokens[best], strict=True)
        ]
    return some, {UNTAUGHT: [None] * len(some), **tokens}


def wanted(person: Person, scorer: Scorer, seed: int) -> list[Asked]:
    """Choose what is asked for: other words than the person's pictures show, of which there is a real picture."""
    members = scorer.archive.namelist()
    chooser = random.Random(f"{person.number}/{seed}")  # noqa: S311 - a reproducible choice, no secret
    if person.kind == "object":
        folder = f"object/{person.class_word}/{person.subject}/"
        left = sorted(m for m in members if m.startswith(folder) and m not in person.pictures)
        return [
            Asked(prompt=f"{{}}, {PurePosixPath(m).stem} style", other=PurePosixPath(m).stem, real=m)
            for m in chooser.sample(left, min(PROMPTS[person.kind], len(left)))
        ]
    own, known = {PurePosixPath(m).stem for m in person.pictures}, set(scorer.gallery.concepts)
    left = sorted(
        m
        for m in members
        if m.startswith("style/") and PurePosixPath(m).stem in known and PurePosixPath(m).stem not in own
    )
    return [
        Asked(prompt=f"{PurePosixPath(m).stem}, {{}} style", other=PurePosixPath(m).stem, real=m)
        for m in chooser.sample(left, PROMPTS[person.kind])
    ]


def draw_all(
    newcomers: Sequence[Person],
    tokens: Sequence[NDArray[np.float32] | None],
    asked: Sequence[Sequence[Asked]],
    seed: int,
) -> list[NDArray[np.uint8]]:
    """Draw everybody's pictures, uint8 (pictures, side, side, 3) each, on one thread; every way from the same noise."""
    torch.set_num_threads(1)
    pipeline: Any = load_pipeline(MODEL)
    own = fingerprint(MODEL)
    names = [f"w{person.number}" for person in newcomers]
    add_concepts(
        pipeline,
        MODEL,
        [
            Taught(name=name, backbone=own, token=token)
            for name, token in zip(names, tokens, strict=True)
            if token is not None
        ],
    )
    prompts, counts = [], []
    for person, token, name, some in zip(newcomers, tokens, names, asked, strict=True):
        counts.append(len(some))
        prompts += [said(each.prompt, person, None if token is None else f"<{name}>") for each in some]
    return np.split(draw(pipeline, prompts, seed, Sampling()), np.cumsum(counts)[:-1])


def said(prompt: str, person: Person, name: str | None) -> str:
    """Return a prompt with the token in it, or without: an object's class word, a style left out."""
    if name is None and person.kind == "style":
        return prompt.removesuffix(", {} style")
    return prompt.format(name or person.class_word)


def score(
    newcomers: Sequence[Person],
    asked: Sequence[Sequence[Asked]],
    drawn: dict[str, list[NDArray[np.uint8]]],
    scorer: Scorer,
) -> Scores:
    """Score every way's pictures, the real ones that were asked for, and ours held against somebody else's."""
    shown = {REAL: [pixels(scorer.archive, [each.real for each in some]) for some in asked]} | drawn
    theirs = [pixels(scorer.archive, person.pictures) for person in newcomers]
    seen = {way: [features(scorer.classifier, each) for each in pictures] for way, pictures in shown.items()}
    own = [features(scorer.classifier, each) for each in theirs]
    spoken = {each.real for some in asked for each in some} | {m for p in newcomers for m in p.pictures}
    free = sorted(m for m in scorer.archive.namelist() if m.startswith("style/") and m not in spoken)
    others = scorer.real(free[:: max(1, len(free) // OTHERS)])
    gallery = with_style(scorer.gallery, HELD_OUT_STYLE, others)
    styles = fit_styles(gallery, HELD_OUT_STYLE, others)
    found: Scores = {}
    for way, each in seen.items():
        count = len(each)  # the first of them may be all who drew
        colours = colour_likeness(shown[way], theirs)
        found[way] = _judged(gallery, styles, each, colours, asked[:count], own[:count], newcomers[:count])
    if len(newcomers) == 1:  # there is nobody to take another's place
        return found
    turned = ([*newcomers[1:], newcomers[0]], [*asked[1:], asked[0]], [*own[1:], own[0]])
    colours = colour_likeness(drawn[GRADIENT], [*theirs[1:], theirs[0]])
    found[SHUFFLED] = _judged(gallery, styles, seen[GRADIENT], colours, turned[1], turned[2], turned[0])
    return found


def _judged(
    gallery: Gallery,
    styles: Styles,
    drawn: Sequence[Features],
    colours: NDArray[np.float64],
    asked: Sequence[Sequence[Asked]],
    own: Sequence[Features],
    newcomers: Sequence[Person],
) -> NDArray[np.float64]:
    """Return the `SCORES` of each newcomer, shape (newcomers, 4)."""
    rows = []
    for pictures, colour, some, theirs, person in zip(drawn, colours, asked, own, newcomers, strict=True):
        words = [each.other for each in some][: len(pictures)]
        pictures = pictures[: len(words)]  # noqa: PLW2901 - shuffled people may have been asked for fewer
        cosine = plain_cosine(pictures, theirs)
        if person.kind == "object":
            drawn_in = [PurePosixPath(m).stem for m in person.pictures]
            likeness = object_likeness(gallery, pictures, words, theirs, drawn_in)
            rows.append((cosine, likeness, colour, style_agreement(styles, pictures, words)))
        else:
            agreement = thing_agreement(gallery, pictures, HELD_OUT_STYLE, words)
            rows.append((cosine, style_likeness(styles, pictures, theirs), colour, agreement))
    return np.array(rows)


def table(kind: Kind, scores: Scores, seed: int) -> list[dict[str, Value]]:
    """Return a row for every way: means with bootstrap intervals over newcomers."""
    rows: list[dict[str, Value]] = []
    for way, each in scores.items():
        row: dict[str, Value] = {"kind": kind, "pictures": way}
        for column, what in enumerate(SCORES):
            middle, low, high = share_interval(each[:, column].tolist(), seed)
            row |= {what: middle, f"{what} low": low, f"{what} high": high}
        rows.append(row | {"of": len(each)})
    return rows


def sheet(
    newcomers: Sequence[Person], drawn: dict[str, list[NDArray[np.uint8]]], archive: zipfile.ZipFile
) -> NDArray[np.uint8]:
    """Return a line a newcomer: a picture of their own, then the first that each way drew."""
    lines = []
    for row, person in enumerate(newcomers):
        blank = np.full_like(drawn[GRADIENT][row][:1], 255)
        ways = [each[row][:1] if row < len(each) else blank for each in drawn.values()]
        pictures = [pixels(archive, person.pictures[:1]), *ways]
        lines.append(np.concatenate([np.pad(p[0], ((2, 2), (2, 2), (0, 0)), constant_values=255) for p in pictures], 1))
    return np.concatenate(lines)


def write_sheet(sheets: Sequence[NDArray[np.uint8]], path: Path) -> None:
    """Write the kinds' lines side by side."""
    height = max(len(each) for each in sheets)
    padded = [np.pad(each, ((0, height - len(each)), (0, 16), (0, 0)), constant_values=255) for each in sheets]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(padded, 1)).save(path, optimize=True)


def pixels(archive: zipfile.ZipFile, members: Sequence[str]) -> NDArray[np.uint8]:
    """Return the archive's pictures, uint8 (n, side, side, 3)."""
    return np.stack([np.asarray(Image.open(io.BytesIO(archive.read(m))).convert("RGB")) for m in members])


def _notes(size: Size, pictures: dict[Kind, int], noise: int) -> list[str]:
    return [
        "cosine: of EfficientNet-Lite0's features as they are, to the person's own pictures",
        "likeness and agreement: simulations/benchmarks/likeness.py; means over newcomers, bootstrap intervals (95 %)",
        (
            "colours: the cosine of how they leave the average with how the person's own do; they and likeness are "
            "held to a bound only where they tell the gradient's pictures from the shuffled"
        ),
        "less published: on those who ran both",
        f"pictures a newcomer and way: {_several(pictures)}; every way from the same noise ({noise})",
        (
            "tokens as benchmark forwards learned them; strength: so much of the way from the class word to the token; "
            f"{AS_MUCH}: between the strengths that were drawn means are taken for a line"
        ),
        f"searches of {size.forwards} forwards, the published algorithm's of {size.published} or as its name says",
        "real pictures: the very pictures that were asked for, by their artists",
        "shuffled: the gradient's pictures held against the next newcomer's own and the next prompt's other words",
        (
            "quality.png: a picture of the person's own, then untaught, gradient, published (with longer budgets after "
            "it, where it had them), ours, ours with the prior, and at lower strengths"
        ),
    ]


def _several(pictures: dict[Kind, int]) -> str:
    return ", ".join(f"{count} of {PROMPTS[kind]} prompts at most ({kind})" for kind, count in pictures.items())
