"""``taste``: how often steered pictures suit a person better than unsteered ones, by pairs chosen between.

Simulated people have hidden preferences (`simulations.tastes`); a population of them chose among pictures and shared
their tastes through the same contribution and update as a federation's, without noise. New people then choose with and
without its prior. The judge compares pictures of prompts that nobody chose among, drawn from the same seed with and
without the taste.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from client.backbone.engine import TorchEngine
from client.backbone.folder import sampling
from client.backbone.prompts import Sayings, sayings
from client.choices import Recipe
from client.generate import Request, decoded, drawn_latents, load_pipeline
from client.quiet import quiet
from client.taste.asking import POOL, offer, redrawn
from client.taste.belief import Belief
from client.taste.choosing import Pair
from client.taste.learning import first_belief, learn_taste, taste_settings
from client.taste.standing import STRENGTH
from client.taste.steering import Steering
from client.taste.words import tasteful
from common.prior import Prior
from simulations.basis import public_basis
from simulations.benchmarks.framework import Bar, Report, Value
from simulations.benchmarks.intervals import share_interval
from simulations.benchmarks.priors import prior_of
from simulations.benchmarks.taste_page import write_page
from simulations.demo import MODEL
from simulations.report import png_address
from simulations.tastes import ATTRIBUTES, CHOOSING, HELD_OUT, Judge, Person, tastes
from simulations.workers import workers

OUT: Final = Path("build/bench")
WON: Final = 0.76
"""PPD's wins from four pairs (arXiv:2501.06655)."""
STEERED_AT: Final = 4
"""Pairs after which steering is tried as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many people, and how long they choose."""

    others: int
    others_pairs: int
    bank: int
    """Pictures of each prompt that the population chooses among."""
    newcomers: int
    counts: tuple[int, ...]
    """Pairs after which a newcomer's taste is judged; 0 is before the first."""
    chance_counts: tuple[int, ...]
    """The same where pairs are left to chance."""
    prompts: int
    particles: int
    forwards: int
    workers: int


SMALL = Size(
    others=3, others_pairs=3, bank=2, newcomers=1, counts=(0, 2), chance_counts=(2,), prompts=2, particles=2,
    forwards=300, workers=1,
)  # fmt: skip
FULL = Size(
    others=32, others_pairs=10, bank=6, newcomers=6, counts=(0, 1, 2, 4, 8, 16), chance_counts=(4, 8), prompts=10,
    particles=4, forwards=800, workers=2,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a newcomer's taste is learned."""

    prior: bool
    chosen: bool
    """Whether pairs are those that tell most; else chance picks them."""

    def __str__(self) -> str:
        return f"{'prior' if self.prior else 'no prior'}, {'telling pairs' if self.chosen else 'pairs by chance'}"


WAYS: Final = tuple(Way(prior=prior, chosen=chosen) for chosen in (True, False) for prior in (True, False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """Pictures that the population chooses among."""

    latents: Tensor
    """Shape (prompts, pictures, channels, height, width)."""
    attributes: NDArray[np.float64]
    """Shape (prompts, pictures, attributes)."""
    scale: NDArray[np.float64]
    """The judge's units, made on these."""


@dataclass(slots=True, kw_only=True)
class Trial:
    """One newcomer's results."""

    wins: dict[tuple[str, str, int], float] = field(default_factory=dict)
    """Share of pictures that suit better than the unsteered, by way, by mode (token, steering, both) and pairs."""
    pictures: dict[str, list[str]] = field(default_factory=dict)
    """``data:`` addresses for the page, by what they show."""
    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


class Room:
    """What one process needs: the model twice, to draw and to score, and the judge."""

    def __init__(self) -> None:
        """Load everything."""
        torch.set_num_threads(1)
        self.engine = TorchEngine(MODEL, int8=True)
        self.pipeline: Any = load_pipeline(MODEL)
        self.said: Sayings = sayings(MODEL)
        self.judge = Judge()
        best = sampling(MODEL)
        self.recipe = Recipe(prompt="", seed=0, steps=best.steps, guidance=best.guidance, backbone="")

    def recipe_of(self, prompt: str, seed: int) -> Recipe:
        """Return the recipe of a plain picture."""
        return replace(self.recipe, prompt=prompt, seed=seed)

    def request(self, prompt: str, seed: int, followed: tuple[str, str] | None = None) -> Request:
        """Return what is asked of the pipeline."""
        recipe = self.recipe
        return Request(
            prompt=prompt,
            seed=seed,
            steps=recipe.steps,
            guidance=recipe.guidance,
            tasteful=followed,
            strength=STRENGTH,
        )

    def attributes(self, latents: Tensor) -> NDArray[np.float64]:
        """Return what the judge sees."""
        return self.judge.measure(decoded(self.pipeline, latents))

    def drawn(self, belief: Belief, prompts: Sequence[str], seeds: Sequence[int], mode: str, particles: int) -> Tensor:
        """Return pictures that follow a taste by the token in the prompt, by steering, or by both."""
        found = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            followed = tasteful(self.pipeline, self.said, prompt, belief.token.numpy(), belief.anchor.numpy())
            request = self.request(prompt, seed, None if mode == "steering" else followed)
            steering = None
            if mode != "token":
                with torch.inference_mode():
                    steering = Steering.towards(self.pipeline, followed, prompt, self.said.timesteps, particles)
            found.append(next(drawn_latents(self.pipeline, request, steering=steering)))
        return torch.cat(found)


@cache
def room() -> Room:
    """Return this process's room."""
    quiet()
    return Room()


def run(*, full: bool, seed: int) -> Report:
    """Run the benchmark."""
    size = FULL if full else SMALL
    everyone = tastes(size.others + size.newcomers, seed)
    others, newcomers = everyone[: size.others], everyone[size.others :]
    with workers(size.workers) as pool:
        bank = draw_bank(size, seed)
        found = list(_told(pool.map(displacement, others, [bank] * len(others), [size] * len(others)), "people choose"))
        engine = room().engine
        prior = prior_of(
            np.stack(found),
            "taste",
            backbone=engine.fingerprint,
            public_basis=public_basis(engine).astype(np.float64),
            seed=seed,
        )
        jobs = (newcomers, [prior] * len(newcomers), [bank] * len(newcomers), [size] * len(newcomers))
        trials = list(_told(pool.map(trial, *jobs), "new people"))
    write_page(OUT / "taste.html", [(one.weights, one.pictures) for one in trials])
    return report(trials, size, seed, full=full, prior=prior)


def _told(results: Iterator[Any], what: str) -> Iterator[Any]:
    for count, result in enumerate(results, 1):
        told = {f"{mode} {pairs}, {way}": won for (way, mode, pairs), won in getattr(result, "wins", {}).items()}
        print(f"{what}: {count} {told or ''}", flush=True)
        yield result


def draw_bank(size: Size, seed: int) -> Bank:
    """Draw the pictures that everybody of the population chooses among; they calibrate the judge too."""
    place = room()
    belief = first_belief(place.engine, place.said.tastes, None)
    generator = torch.Generator().manual_seed(seed)
    latents, pictures = [], []
    for number, prompt in enumerate(CHOOSING):
        tokens = belief.sampled(size.bank, generator)
        recipes = [
            replace(place.recipe_of(prompt, 1000 * seed + number), taste=tuple(token.tolist())) for token in tokens
        ]
        group = torch.cat([redrawn(place.pipeline, place.said, recipe) for recipe in recipes])
        latents.append(group)
        pictures.append(decoded(place.pipeline, group))
    place.judge.calibrate(pictures)
    attributes = np.stack([place.judge.measure(group) for group in pictures])
    return Bank(latents=torch.stack(latents), attributes=attributes, scale=place.judge.scale)


def displacement(person: Person, bank: Bank, size: Size, draws: int = 0) -> NDArray[np.float64]:
    """Let one of the population choose and learn; return what a device would contribute from.

    Other ``draws`` are other noise and timesteps of the learning; the choices are the same.
    """
    place, chance = room(), np.random.default_rng(person.number)
    pairs = []
    for turn in range(size.others_pairs):
        prompt = turn % len(CHOOSING)
        first, second = chance.choice(bank.latents.shape[1], 2, replace=False)
        seen = bank.attributes[prompt]
        if not person.prefers(seen[first], seen[second], chance):
            first, second = second, first
        caption = place.said.tasteful(CHOOSING[prompt])
        pairs.append(Pair(chosen=bank.latents[prompt, first], other=bank.latents[prompt, second], caption=caption))
    settings = taste_settings(len(pairs), forwards=size.forwards, seed=2 * person.number + draws)
    _, belief = learn_taste(place.engine, place.said.tastes, pairs, settings)
    return (belief.token - belief.anchor).double().numpy()


def trial(person: Person, prior: Prior | None, bank: Bank, size: Size) -> Trial:
    """Let a newcomer choose in every way, and judge what is drawn."""
    newcomer = Newcomer(person=person, size=size)
    room().judge.scale = bank.scale
    newcomer.begin()
    for way in WAYS:
        newcomer.choose(way, prior if way.prior else None)
    return newcomer.found


@dataclass(slots=True, kw_only=True)
class Newcomer:
    """Somebody who chooses for the first time."""

    person: Person
    size: Size
    found: Trial = field(default_factory=Trial)
    unsteered: NDArray[np.float64] = field(init=False)

    @property
    def prompts(self) -> tuple[str, ...]:
        """What is drawn to judge."""
        return HELD_OUT[: self.size.prompts]

    @property
    def seeds(self) -> list[int]:
        """From which seeds."""
        return [10_000 * self.person.number + i for i in range(self.size.prompts)]

    def begin(self) -> None:
        """Draw what others are compared with."""
        place = room()
        requests = [place.request(*each) for each in zip(self.prompts, self.seeds, strict=True)]
        plain = torch.cat([next(drawn_latents(place.pipeline, request)) for request in requests])
        self.found.weights = self.person.weights
        self.unsteered = self._seen("unsteered", plain)

    def choose(self, way: Way, prior: Prior | None) -> None:
        """Choose between pairs and learn now and then."""
        place, chance = room(), np.random.default_rng(self.person.number)
        counts = self.size.counts if way.chosen else self.size.chance_counts
        belief, pairs = first_belief(place.engine, place.said.tastes, prior), list[Pair]()
        if prior is not None and 0 in counts:
            self._judge(belief, way, "token", 0)
        for turn in range(max(counts)):
            pairs.append(self._asked(belief, way, turn, chance))
            count = turn + 1
            if count not in counts:
                continue
            settings = taste_settings(count, forwards=max(self.size.forwards, 100 * count), seed=self.person.number)
            _, belief = learn_taste(place.engine, place.said.tastes, pairs, settings, prior=prior)
            for mode in ("token", "steering", "both") if way == WAYS[0] and count == STEERED_AT else ("token",):
                self._judge(belief, way, mode, count)

    def _asked(self, belief: Belief, way: Way, turn: int, chance: np.random.Generator) -> Pair:
        """Let the person choose between two pictures."""
        place, prompt = room(), CHOOSING[turn % len(CHOOSING)]
        recipe = place.recipe_of(prompt, 100 * self.person.number + turn)
        pool = POOL if way.chosen else 2
        offered = offer(place.engine, place.pipeline, place.said, belief, recipe, pool=pool)
        pictures = decoded(place.pipeline, offered.latents)
        first, second = place.judge.measure(pictures)
        order = [0, 1] if self.person.prefers(first, second, chance) else [1, 0]
        if way == WAYS[0] and turn < STEERED_AT:
            self.found.pictures.setdefault("chosen, then not", []).extend(_address(pictures[row]) for row in order)
        chosen, other = offered.latents[order]
        return Pair(chosen=chosen, other=other, caption=place.said.tasteful(prompt))

    def _judge(self, belief: Belief, way: Way, mode: str, count: int) -> None:
        drawn = room().drawn(belief, self.prompts, self.seeds, mode, self.size.particles)
        seen = self._seen(f"{mode}, {count} pairs, {way}", drawn)
        self.found.wins[str(way), mode, count] = float(self.person.better(seen, self.unsteered).mean())

    def _seen(self, what: str, latents: Tensor) -> NDArray[np.float64]:
        """Keep pictures for the report; return their attributes."""
        place = room()
        pictures = decoded(place.pipeline, latents)
        self.found.pictures[what] = [_address(picture) for picture in pictures]
        return place.judge.measure(pictures)


def report(trials: Sequence[Trial], size: Size, seed: int, *, full: bool, prior: Prior | None) -> Report:
    """Put the win rates side by side."""
    rows: list[dict[str, Value]] = []
    rates: dict[tuple[str, str, int], float] = {}
    for key in trials[0].wins:
        rate, low, high = share_interval([trial.wins[key] for trial in trials], seed)
        rates[key] = rate
        way, mode, count = key
        rows.append({"way": way, "mode": mode, "pairs": count, "won": rate, "from": low, "to": high})
    bars = _bars(rates)
    notes = [
        (
            f"{len(trials)} new people with hidden preferences over {', '.join(ATTRIBUTES)}; {size.prompts} prompts "
            "nobody chose among, each drawn from one seed with and without the taste; the interval is a 95 % "
            "bootstrap's over people"
        ),
        (
            f"the prior is of {size.others} people who chose between {size.others_pairs} pairs each, without noise"
            if prior is not None
            else "the population left no prior: too few people"
        ),
        (
            f"a taste is followed {STRENGTH:g} times as far as it was learned; a telling pair is of {POOL} pictures "
            f"drawn; steering draws {size.particles} particles a picture"
        ),
        "0 pairs without a prior is the unsteered picture itself: half by definition",
    ]
    return Report(name="taste", seed=seed, full=full, rows=rows, bars=bars, notes=notes, ratios=_ratios(rates))


def _bars(rates: Mapping[tuple[str, str, int], float]) -> list[Bar]:
    """Hold the win rates against what the issue asks for."""
    with_prior, without = str(WAYS[0]), str(WAYS[1])
    bars = []
    four = [rates[key] for key in rates if key[0] == with_prior and key[2] == STEERED_AT]
    if four:
        bars.append(Bar("won at 4 pairs with the prior, best mode", max(four), WON, "at least"))
    counts = sorted({key[2] for key in rates if key[:2] == (without, "token")})
    for count in counts:
        half = rates.get((with_prior, "token", count // 2))
        if half is not None and count // 2 * 2 == count:
            what = f"won at {count // 2} pairs with the prior, less that at {count} without"
            bars.append(Bar(what, half - rates[without, "token", count], 0.0, "at least"))
    return bars


def _ratios(rates: Mapping[tuple[str, str, int], float]) -> dict[str, float]:
    """Compare telling pairs with pairs by chance."""
    found = {}
    for way in WAYS[:2]:
        other = str(replace(way, chosen=False))
        for key, rate in rates.items():
            chance = rates.get((other, "token", key[2]))
            if key[:2] == (str(way), "token") and chance:
                found[f"{key[2]} pairs, {'with' if way.prior else 'no'} prior: telling / by chance"] = rate / chance
    return found


def _address(picture: Image.Image) -> str:
    return png_address(np.asarray(picture.convert("RGB")))
