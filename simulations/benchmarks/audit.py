"""``audit``: what attacks on the privacy of contributions find, with the protection off and on.

Each row is one attack and gives one number without the protection and one with it, beside what guessing would give or,
for ε, beside what is claimed. The attacks are `simulations.attacks`; devices, masks and noise are the real ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from common.crowd import colluders, fewest_survivors
from common.privacy import Mechanism, RoundEvent, central, epsilon, local, plan
from common.secagg.rules import MINIMUM_PEOPLE
from common.statistics import block_length
from server.rounds import TOLERANCE
from simulations.attacks import views
from simulations.attacks.audit import SIGNIFICANCE, ManyRuns, OneRun, epsilon_of, most_by_chance
from simulations.attacks.canaries import audit_many_runs, audit_one_run, audit_own_share
from simulations.attacks.displacements import SOURCE, Displacements, load
from simulations.attacks.tastes import SOURCE as TASTES
from simulations.attacks.unmasking import LIES, victims
from simulations.attacks.views import Found, Half, Scores, conclude, without_noise
from simulations.benchmarks.framework import Bar, Report, Value

DELTA: Final = 1e-6
EPSILON: Final = 1.0
"""Central ε of a round, as operators are advised."""
ALARM: Final = 1e-6
"""Probability at most that a bar about what is protected fails although the mechanism keeps its promise."""
LEVER: Final = 5.0
"""An attack on what is not protected must do this many times better than guessing."""
DIMENSIONS: Final = 64
PEOPLE: Final = 128
"""Called to a round."""
HONEST: Final = fewest_survivors(PEOPLE, math.ceil((1 - TOLERANCE) * PEOPLE)) - colluders(PEOPLE)
"""For whom a round's noise is planned: the fewest survivors, less those who may work with the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is tried."""

    people: int
    """Whose learnings are attacked, at most."""
    round: int
    """People in the round with canaries."""
    group: int
    """Of them who share a canary."""
    rounds: int
    """Independent rounds of `CROWD` people."""
    devices: int
    """Whose own shares are audited."""


CROWD: Final = 12
"""People in each of many rounds: enough that a round without them is seldom mistaken, few enough for many rounds."""
_FEW: Final = 4
"""p, where only time depends on it."""
WEAK: Final = (64, 2)
"""People and group of the audit without noise: enough to refute the claim."""
SMALL: Final = Size(people=60, round=64, group=2, rounds=40, devices=400)
FULL: Final = Size(people=10_000, round=512, group=8, rounds=400, devices=10_000)


def run(*, full: bool, seed: int) -> Report:
    """Run all attacks."""
    size, rng = FULL if full else SMALL, np.random.default_rng(seed)
    people, likes = (_first(load(path), size.people) for path in (SOURCE, TASTES))
    tried = [*_on_people(people, rng), *_on_people(likes, rng, of="taste: "), _lies(), *_audits(size, rng)]
    return Report(
        name="audit",
        seed=seed,
        full=full,
        rows=[_row(one) for one in tried],
        bars=[bar for one in tried for bar in _bars(one)],
        notes=[
            f"{len(people)} people, each concept learned twice from disjoint pictures; one half fits the other's model",
            f"taste: {len(likes)} people, each taste learned twice from choices between other pictures",
            f"members: share found at {views.FALSE_ALARMS:.0%} false alarms; matching: share named rightly",
            f"ε at δ = {DELTA:g} on the Gaussian curve; bounds hold with {1 - SIGNIFICANCE:.0%} confidence",
        ],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One attack with the protection off and on."""

    attack: str
    observed: str
    protection: str
    off: float
    on: float
    chance: float
    """What guessing gives; for ε, what is claimed."""
    trials: int
    least: float
    """What the attack must reach without the protection."""
    most: float
    """What it must not exceed with it, but with probability `ALARM`; infinite where nothing so low is promised."""
    counted: float | None = None
    """What is held against `most`, where it is not `on`."""


def _on_people(people: Displacements, rng: np.random.Generator, of: str = "") -> list[Tried]:
    """Attack real learnings, named ``of``."""
    halves = views.halves(people)
    crowd, length = min(len(half.victims) for half in halves), block_length(halves[0].dimensions)

    def mechanism(honest: int, target: float = EPSILON) -> Mechanism:
        return plan(length=length, people=PEOPLE, honest=honest, epsilon=target, delta=DELTA)

    def each(attack: Callable[[Half], Scores]) -> Found:
        return conclude([attack(half) for half in halves])

    quiet, called = mechanism(crowd, math.inf), mechanism(HONEST)
    bare, masked = each(views.see_bare), each(lambda half: views.see_masked(half, called, rng))
    own = each(lambda half: views.see_unmasked(half, called))
    friends, candidates = (
        [each(partial(see, mechanism=one)) for one in (quiet, mechanism(honest))]
        for see, honest in ((views.see_sum_of_friends, crowd), (views.see_sum_of_candidates, crowd // 2))
    )
    seen = [
        View(f"{of}a token", "it never leaves", conclude(views.see_tokens(people)), masked, 0.0),
        View(f"{of}a contribution", "mask and noise", bare, masked, 0.0),
        View(f"{of}a contribution without its mask", "its own noise", bare, own, math.inf),
        View(f"{of}a sum, all others known", "everybody's noise", friends[0], friends[1], EPSILON),
    ]
    alone = View(f"{of}a sum, candidates known", "everybody's noise", candidates[0], candidates[1], EPSILON)
    return [_matching(view) for view in seen] + [_membership(view) for view in (*seen, alone)]


class View(NamedTuple):
    """What somebody sees, without its protection and with it."""

    observed: str
    protection: str
    off: Found
    on: Found
    loss: float
    """ε of the protection; infinite where nothing worth a test is promised."""


def _matching(view: View) -> Tried:
    """Compare with naming anybody.

    The zero vector in the victim's place gives each candidate the same chance, 1/N together; with the true one in its
    place that is at most exp(ε) times as much, and δ.
    """
    chance = 1 / view.off.candidates
    return _compared("matching", view, view.off.matched, view.on.matched, chance, math.exp(view.loss) * chance + DELTA)


def _membership(view: View) -> Tried:
    """Compare with the rate of false alarms, in which somebody else stands in the place: two steps, by way of zero."""
    loss, chance = math.exp(view.loss), views.FALSE_ALARMS
    most = loss * (loss * chance + DELTA) + DELTA
    return _compared("membership", view, view.off.detected, view.on.detected, chance, most)


def _compared(attack: str, view: View, off: float, on: float, chance: float, most: float) -> Tried:
    victims = view.off.victims
    return Tried(
        attack=attack,
        observed=view.observed,
        protection=view.protection,
        off=off,
        on=on,
        chance=chance,
        trials=victims,
        least=LEVER * chance,
        most=math.inf if math.isinf(most) else most_by_chance(victims, min(1.0, most), ALARM) / victims,
    )


def _lies() -> Tried:
    off, on = (float(victims(switched_off=off)) for off in (True, False))
    return Tried(
        attack="unmasking",
        observed="lies of a server that work",
        protection="all checks",
        off=off,
        on=on,
        chance=0.0,
        trials=len(LIES),
        least=len(LIES),
        most=0.0,
    )


def _audits(size: Size, rng: np.random.Generator) -> list[Tried]:
    """Audit the whole pipeline with canaries."""
    one, weak = _planned(size.round, DIMENSIONS), _planned(WEAK[0], DIMENSIONS)
    few, three = _planned(CROWD, _FEW), _planned(MINIMUM_PEOPLE, _FEW)
    own = plan(length=block_length(_FEW), people=PEOPLE, honest=HONEST, epsilon=EPSILON, delta=DELTA)
    return [
        _bound(
            "one round",
            audit_one_run(*WEAK, without_noise(weak), rng),
            audit_one_run(size.round, size.group, one, rng),
            central(one, survivors=size.round, colluders=0),
            size.round,
        ),
        _bound(
            f"{size.rounds} rounds",
            audit_many_runs(size.rounds, MINIMUM_PEOPLE, without_noise(three), rng),
            audit_many_runs(size.rounds, CROWD, few, rng),
            central(few, survivors=CROWD, colluders=0),
            CROWD * size.rounds,
        ),
        _bound(
            "devices without masks",
            audit_own_share(size.devices, without_noise(own), rng),
            audit_own_share(size.devices, own, rng),
            local(own),
            size.devices,
        ),
    ]


def _bound(observed: str, off: OneRun | ManyRuns, on: OneRun | ManyRuns, event: RoundEvent, trials: int) -> Tried:
    claim = epsilon([event], delta=DELTA)
    return Tried(
        attack="least ε, by canaries",
        observed=observed,
        protection="noise",
        off=epsilon_of(off.mu(), DELTA),
        on=epsilon_of(on.mu(), DELTA),
        chance=claim,
        trials=trials,
        least=claim,
        most=claim,
        counted=epsilon_of(on.mu(ALARM), DELTA),
    )


def _planned(people: int, dimensions: int) -> Mechanism:
    return plan(length=block_length(dimensions), people=people, honest=people, epsilon=EPSILON, delta=DELTA)


def _row(tried: Tried) -> dict[str, Value]:
    return {
        "attack": tried.attack,
        "observed": tried.observed,
        "protection": tried.protection,
        "off": tried.off,
        "on": tried.on,
        "chance or claim": tried.chance,
        "tried": tried.trials,
    }


def _bars(tried: Tried) -> list[Bar]:
    """Say what must hold: the attack works without the protection, and finds no more than is promised with it."""
    what = f"{tried.attack}, {tried.observed}"
    bars = [Bar(f"{what}, without {tried.protection}", tried.off, tried.least, "at least")]
    if math.isfinite(tried.most):
        found = tried.on if tried.counted is None else tried.counted
        bars.append(Bar(f"{what}, with {tried.protection}", found, tried.most, "at most"))
    return bars


def _first(people: Displacements, count: int) -> Displacements:
    return replace(
        people,
        subjects=people.subjects[:count],
        class_words=people.class_words[:count],
        first=people.first[:count],
        second=people.second[:count],
    )
