"""The ways that newcomers search in, by the names that tables have, and for how long.

`forwards` runs them, `quality` draws with what they found.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from client.learn.published import PUBLISHED_FORWARDS
from simulations.benchmarks.searches import Search, Trial

Kind = Literal["object", "style"]
KINDS: Final[tuple[Kind, ...]] = ("object", "style")
GRADIENT, REFERENCE, ALONE = "gradient", "published (ZOODiP)", "ours, no prior"
WHOLE = f"{REFERENCE}, its own budget"
"""The published algorithm for as many forwards as its paper spends."""
BORROWED = "others' token, unsearched"
"""What others can know of a style at most: the gradient's token of many pictures of it, none of them a newcomer's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many people, and how long their searches."""

    others: tuple[int, ...]
    """Sizes of the priors; each is of the first so many of the same people."""
    redrawn: tuple[int, ...]
    """Sizes of priors of more people than learned: drawn from them with replacement."""
    epsilons: tuple[float, ...]
    borrowed: int
    """Pictures of the style that one token is learned from, for everybody to take as it is."""
    newcomers: int
    """Of each kind."""
    foremost: int
    """When everybody has searched by the gradient, as published (for longer too, but for its own budget), and with and
    without priors that nothing was added to, so many search in every other way too; then the others."""
    fewest: int
    """Newcomers who ran another way too that anything is promised beside it by: of fewer it tells nothing."""
    descent: int
    """Steps of the gradient."""
    forwards: int
    published: int
    """Budget of the published algorithm and of evolution."""
    patient: dict[Kind, tuple[int, ...]]
    """By kind, longer budgets of the published algorithm, the shortest first; `PUBLISHED_FORWARDS` is its own."""
    abreast: int
    """Newcomers of a kind who search as published in step with each other, for a U-Net call of many rows takes hardly
    longer than one of few: two lots of fifteen on two cores have `PUBLISHED_FORWARDS` in two hours."""
    taught: dict[str, int]
    """Budget of the people whom priors are made of."""
    minutes: float
    """No search is begun later: what is missing then is left out, and the next run goes on with it."""


SMALL = Size(
    others=(8,),
    redrawn=(),
    epsilons=(1.0,),
    borrowed=12,
    newcomers=1,
    foremost=1,
    fewest=1,
    descent=30,
    forwards=240,
    published=240,
    patient={},
    abreast=1,
    taught={"object": 104, "style": 104},
    minutes=60,
)
FULL = Size(
    others=(30, 100, 300),
    redrawn=(1000,),
    epsilons=(1.0, 4.0, 8.0),
    borrowed=100,
    newcomers=30,
    foremost=5,
    fewest=4,
    descent=120,
    forwards=1000,
    published=3000,
    patient={"style": (20_000, PUBLISHED_FORWARDS)},
    abreast=15,
    taught={"object": 160, "style": 240},
    minutes=90,
)


FIRST: Final = (
    Search(name=GRADIENT, way="gradient"),
    Search(name=ALONE, way="ours"),
    Search(name=REFERENCE, way="published"),
    Search(name="ours, no lexicon", way="no lexicon"),
)
LATER: Final = (Search(name="ours, random axes", way="random axes"), Search(name="evolution (CMA-ES)", way="evolution"))


def trial_of(size: Size, kept: Path) -> Trial:
    """Return how long everybody searches."""
    return Trial(kept=kept, descent=size.descent, forwards=size.forwards, published=size.published, taught=size.taught)


def longer_searches(size: Size, kind: Kind) -> dict[int, Search]:
    """Return the published algorithm's searches with longer budgets than the first, by budget."""
    return {
        forwards: Search(name=as_published(forwards), way="published", patience=forwards)
        for forwards in size.patient.get(kind, ())
    }


def as_published(forwards: int) -> str:
    """Return the name of the published algorithm's search with a longer budget than the first."""
    return WHOLE if forwards == PUBLISHED_FORWARDS else f"{REFERENCE}, {forwards:,} forwards"


def largest(size: Size) -> str:
    """Return the name of the search with the prior of the most people who learned."""
    return with_prior(size.others[-1])


def without_noise(size: Size) -> list[str]:
    """Return the names of the searches with priors that no noise was added to."""
    return [*map(with_prior, size.others), *(with_prior(count, redrawn=True) for count in size.redrawn)]


def with_prior(count: int, *, redrawn: bool = False) -> str:
    """Return the name of the search with a prior of so many people."""
    return f"ours, prior of {count:,}" + (" (redrawn)" if redrawn else "")
