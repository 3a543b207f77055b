"""What an observed attack proves about ε: lower bounds on the privacy that a mechanism can have at most lost.

A mechanism is μ-GDP if telling a person's presence from their absence is at least as hard as telling N(0, 1) from
N(μ, 1) (Dong, Roth and Su, JRSS B 84(1), 2022, arXiv:1905.02383, Definition 4). A Gaussian sum with noise σ and
sensitivity S is μ-GDP with μ = S/σ, and ρ-zCDP with ρ = μ²/2. An auditor plants canaries, each by the toss of a coin,
guesses the coins from what the mechanism gives, and refutes every μ under which so many right guesses would be a
wonder. So "μ ≥ bound" holds with the stated confidence; ε at δ follows on the Gaussian curve.

Groups: canaries of g people who share one coin audit gμ (ibid., Theorem 6: a group of g people has gμ-GDP), so that
a small μ shows in few coins. The bound on μ is the group's divided by g.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from common.errors import ConfigError

SIGNIFICANCE: Final = 0.05
"""Probability that a bound is wrong, where nothing else is said."""
_NORMAL: Final = NormalDist()
_MOST: Final = 64.0
"""No bound on a group's μ is sought above this; e to the power of 2,000 is enough for anybody."""


def epsilon_of(mu: float, delta: float) -> float:
    """Give the least ε such that a μ-GDP mechanism is (ε, δ)-DP.

    arXiv:1905.02383, Corollary 1: δ(ε) = Φ(−ε/μ + μ/2) − exp(ε) Φ(−ε/μ − μ/2), inverted by bisection.
    """
    if mu <= 0 or _delta_of(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, mu * mu / 2 + mu * math.sqrt(2 * math.log(1 / delta)) + 1.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _delta_of(mu, middle) > delta else (low, middle)
    return high


@dataclass(frozen=True, slots=True, kw_only=True)
class OneRun:
    """What an auditor guessed from one run with many coins."""

    coins: int
    """m, independent and fair, one for each group of canaries."""
    guesses: int
    """r ≤ m: how many coins were guessed; fixed in advance, which ones may depend on the output."""
    correct: int
    """v ≤ r: how many of them rightly."""
    group: int = 1
    """g, people behind one coin."""

    def __post_init__(self) -> None:
        """Refuse counts that cannot be."""
        if not 0 <= self.correct <= self.guesses <= self.coins or self.coins < 1 or self.group < 1:
            raise ConfigError(f"{self.correct} right of {self.guesses} guesses of {self.coins} coins: count again")

    def mu(self, significance: float = SIGNIFICANCE) -> float:
        """Give a lower bound on μ, wrong with that probability at most: the largest one `refuted`; 0 for none."""
        if not refuted(0.0, self, significance):
            return 0.0
        low, high = 0.0, _MOST
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if refuted(middle, self, significance) else (low, middle)
        return low / self.group


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyRuns:
    """What an auditor guessed from independent runs of one coin each."""

    absent: int
    """Runs without the canaries."""
    false_alarms: int
    """Those of them in which the auditor guessed otherwise."""
    planted: int
    """Runs with the canaries."""
    misses: int
    """Those of them in which the auditor guessed otherwise."""
    group: int = 1
    """g, people behind one coin."""

    def __post_init__(self) -> None:
        """Refuse counts that cannot be."""
        sound = 0 <= self.false_alarms <= self.absent and 0 <= self.misses <= self.planted and self.group >= 1
        if not sound:
            raise ConfigError(f"{self}: there are more mistakes than runs, count again")

    def mu(self, significance: float = SIGNIFICANCE) -> float:
        """Give a lower bound on μ, wrong with that probability at most; 0 for none.

        Nasr, Hayes, Steinke, Balle, Tramèr, Jagielski, Carlini and Terzis, "Tight auditing of differentially private
        machine learning" (USENIX Security 2023, arXiv:2302.07956, section 4): with α and β at least the rates of false
        alarms and misses, μ ≥ Φ⁻¹(1 − α) + Φ⁻¹(1 − β). The rates are bounded after Clopper and Pearson (Biometrika
        26(4), 1934), each at half the significance.
        """
        alpha = rate_at_most(self.false_alarms, self.absent, significance / 2)
        beta = rate_at_most(self.misses, self.planted, significance / 2)
        if alpha >= 1 or beta >= 1:
            return 0.0
        return max(0.0, _NORMAL.inv_cdf(1 - alpha) + _NORMAL.inv_cdf(1 - beta)) / self.group


def refuted(mu: float, run: OneRun, chance: float) -> bool:
    """Say whether v or more right guesses of r have a probability below `chance` under every μ-GDP mechanism.

    μ is the group's here.

    Mahloujifar, Melis and Chaudhuri, "Auditing f-differential privacy in one run" (ICML 2025, arXiv:2410.22235,
    Theorem 3.2 and Algorithm 3), for two choices a coin, with the whole number m of coins as denominator where guesses
    may be withheld. With p_t the probability of exactly t right guesses and F(x) = Φ(Φ⁻¹(x) + μ) the most that the
    probability x of an event grows when one coin turns:

        Σ_{t ≥ i} t p_t / m  ≤  F( Σ_{t ≥ i} (r − t + 1) p_{t−1} / m )      for every i.

    Proof: turn coin j. Outputs under which guess j is right and t are right become outputs under which guess j is
    wrong and t − 1 are right, so the probability of the former is at most F of the latter's; average over all j and
    settings of the coins, F being concave. If P[v or more] were `chance`, it would weigh least on the left and most
    on the right as exactly v right guesses; then p_{v−1}, p_{v−2}, … must be at least what the inequalities ask one
    after the other, and μ is refuted if they add up to more than 1.
    """
    coins, guesses, correct = run.coins, run.guesses, run.correct
    right, wrong = chance * correct / coins, chance * (guesses - correct) / coins
    for i in range(correct - 1, -1, -1):
        needed = _cdf(_NORMAL.inv_cdf(right) - mu) if right > 0 else 0.0
        if needed > wrong:
            right += (needed - wrong) * i / (guesses - i)
            wrong = needed
        if right + wrong > guesses / coins:
            return True
    return False


def rate_at_most(events: int, trials: int, significance: float) -> float:
    """Give Clopper and Pearson's upper bound on a probability: P[X ≤ events] = significance at this rate."""
    if events >= trials:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if binomial_at_most(events, trials, middle) > significance else (low, middle)
    return high


def binomial_at_most(events: int, trials: int, rate: float) -> float:
    """Give P[X ≤ events] for X binomial."""
    if rate <= 0 or events >= trials:
        return 1.0
    if rate >= 1:
        return 0.0
    terms = (
        math.lgamma(trials + 1)
        - math.lgamma(k + 1)
        - math.lgamma(trials - k + 1)
        + k * math.log(rate)
        + (trials - k) * math.log1p(-rate)
        for k in range(events + 1)
    )
    return min(1.0, math.fsum(map(math.exp, terms)))


def most_by_chance(trials: int, rate: float, alarm: float) -> int:
    """Give the least count that guessing at this rate exceeds with probability `alarm` at most: for honest tests."""
    return next(k for k in range(trials + 1) if 1 - binomial_at_most(k, trials, rate) <= alarm)


def _cdf(x: float) -> float:
    """Give Φ(x), with all digits in the lower tail too, where `statistics` has none."""
    return math.erfc(-x / math.sqrt(2)) / 2


def _delta_of(mu: float, epsilon: float) -> float:
    tail = _cdf(-epsilon / mu - mu / 2)
    return _cdf(-epsilon / mu + mu / 2) - (math.exp(epsilon) * tail if tail > 0 else 0.0)
