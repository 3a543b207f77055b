"""``foresight``: how well a backbone's words foretell what tokens draw that nobody asked for.

A line is fitted as a lexicon's is (`client.backbone.probing`), to four fifths of the words, of tokens between and
around them, and of words that tokens are the style of; the last fifth tells how well it holds. Beside it a line through
the words' embeddings, fitted alike: what that lacks is what the text encoder bends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from client.backbone import probing
from client.backbone.engine import TorchEngine
from client.backbone.lexicon import Foresight
from client.learn.subspace import root_of, vocabulary_covariance
from simulations.benchmarks.framework import Report, Value
from simulations.demo import MODEL

ONE_IN = 5
"""One scene in so many is held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many are asked for, a forward pass each."""

    words: int
    between: int
    """Tokens between and around words."""
    scenes: int
    """Words that are asked for in `styles` styles each."""
    styles: int


SMALL = Size(words=120, between=100, scenes=20, styles=4)
FULL = Size(words=probing.MOST_WORDS, between=probing.BETWEEN, scenes=probing.SCENES, styles=probing.STYLES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What tokens drew, by scenes: of a style, the tokens that are each the style of one word; else each alone."""

    given: Tensor
    """What pictures are foretold from, shape (scenes, tokens, s)."""
    drawn: Tensor
    """Shape (scenes, tokens, entries), as latents."""

    def parted(self) -> tuple[Self, Self]:
        """Return the scenes that a line is fitted to, and those held out."""
        out = torch.arange(len(self.given)) % ONE_IN == 0
        first, last = (type(self)(given=self.given[rows], drawn=self.drawn[rows]) for rows in (~out, out))
        return first, last


def run(*, full: bool, seed: int) -> Report:
    """Measure it on Pictograms, in floating point as lexicons are made."""
    size, generator = FULL if full else SMALL, torch.Generator().manual_seed(seed)
    engine = TorchEngine(MODEL, int8=False)
    numbers = probing.known(engine.vocabulary())
    numbers = numbers[torch.randperm(len(numbers), generator=generator)[: size.words]]
    words = engine.vocabulary()[numbers].float()
    alone, others, styles = asked(engine, words, engine.spelled(numbers), size, generator)
    embedded = Seen(given=words[:, None], drawn=alone.drawn)
    through, along = line([alone, others, styles]), line([embedded])
    rows: list[dict[str, Value]] = []
    for what, by, fitted, seen, within in (
        ("words", "their embeddings", along, embedded, False),
        ("words", "what the U-Net is told", through, alone, False),
        ("tokens between and around words", "what the U-Net is told", through, others, False),
        ("words in a style", "what the U-Net is told", through, styles, False),
        ("what a style changes in a word", "what the U-Net is told", through, styles, True),
    ):
        left = seen.parted()[1]
        share = foretold(fitted, left, within=within)
        rows.append({"what": what, "by": by, "held out": left.drawn.shape[:2].numel(), "foretold": share})
    notes = [
        f"one word, token and styled word in {ONE_IN} is held out; {len(through.views)} views; float32",
        "foretold: share of how held-out pictures differ, squared; what a style changes: of how one word's do",
    ]
    return Report(name="foresight", seed=seed, full=full, rows=rows, notes=notes)


def asked(
    engine: TorchEngine, words: Tensor, names: list[str], size: Size, generator: torch.Generator
) -> tuple[Seen, Seen, Seen]:
    """Ask for the words, for tokens that are none, and for the first words in styles; what is given is what is told."""
    spread = root_of(vocabulary_covariance(words)).float()
    alone = probing.as_things(engine, words)
    others = probing.as_things(engine, probing.between(words, spread, size.between, generator))
    scenes = [
        probing.as_styles(engine, probing.between(words, spread, size.styles, generator), name)
        for name in names[: size.scenes]
    ]
    told, drawn = (torch.stack(each) for each in zip(*scenes, strict=True))
    first, second = (Seen(given=given[:, None], drawn=pictures[:, None]) for given, pictures in (alone, others))
    return first, second, Seen(given=told, drawn=drawn)


def line(seen: list[Seen]) -> Foresight:
    """Fit a line to all but what is held out."""
    learned = [each.parted()[0] for each in seen]
    given, drawn = ([getattr(each, name).flatten(0, 1) for each in learned] for name in ("given", "drawn"))
    return probing.fitted(torch.cat(given), torch.cat(drawn))


def foretold(fitted: Foresight, seen: Seen, *, within: bool) -> float:
    """Return the share of how pictures differ that a line foretells, squared: from their mean, or within scenes."""
    found = (seen.given - fitted.told) @ fitted.slopes.T @ fitted.views + fitted.drawn
    over = (1,) if within else (0, 1)
    differ, missed = seen.drawn - seen.drawn.mean(over, keepdim=True), found - seen.drawn
    if within:
        missed = missed - missed.mean(over, keepdim=True)
    return 1 - float(missed.square().sum() / differ.square().sum())
