"""How much noise, how fine a grid and how large a modulus a round needs for its budget."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from common.errors import ConfigError
from common.privacy.accounting import RoundEvent, epsilon_of_rho, rho
from common.privacy.mechanism import MAXIMUM_SCALE, MINIMUM_SCALE, MODULI, Mechanism
from common.statistics import sensitivity

FAILURE: Final = 2.0**-40
"""Most probability that any coordinate of an honest round's sum wraps around: once in 10¹² rounds."""
ROUNDING_LOSS: Final = 0.05
"""Most extra variance of a decoded number that rounding may cost: 5 %, which is 2.5 % of its spread."""
_STEPS: Final = 64
"""Scales are tried in steps of a 64th of a factor of two, 1 %."""


def plan(
    *,
    length: int,
    people: int,
    honest: int,
    epsilon: float,
    delta: float,
    failure: float = FAILURE,
    rounding_loss: float = ROUNDING_LOSS,
) -> Mechanism:
    """Choose scale, noise and modulus for a round whose central cost is at most ε at δ.

    Of the moduli it takes the smallest for which rounding costs little (`loss`), and the finest scale that fits into
    it. For 2,145 numbers, ε = 1 and δ = 10⁻⁶ that is 16 bits: rounding adds 0.5 % of variance with 128 people of
    whom 60 are counted on, 2.8 % with 1,024 and 500. Accounting by zCDP and not by the tight curve of the Gaussian
    (Balle and Wang, ICML 2018), which is not proven for sums of discrete ones, adds 7 % to the spread.

    Args:
        length: numbers in a vector.
        people: most people in the sum; the modulus makes room for them and their noise.
        honest: fewest honest shares in a sum that is ever opened: the quorum less the colluders.
        epsilon: target for one round; infinite plans a round without noise, for simulations.
        delta: 0 < δ < 1.
        failure: most probability that any coordinate wraps around, see `wraps`.
        rounding_loss: most extra variance through rounding, as a share.

    Raises:
        ConfigError: no mechanism does all that, or an argument makes no sense.
    """
    if not (1 <= honest <= people and epsilon > 0 and 0 < failure < 1 and rounding_loss > 0):
        raise ConfigError(
            f"no plan for {honest} honest of {people} people at ε = {epsilon:g} with failure {failure:g} and rounding "
            f"loss {rounding_loss:g}: mend the settings"
        )
    budget = rho_for(epsilon, delta=delta)
    for bits in MODULI if math.isfinite(budget) else MODULI[-1:]:
        found = _finest(length, people, honest, budget, bits, failure)
        if found is not None and loss(found, honest=honest, budget=budget) <= rounding_loss:
            return found
    raise ConfigError(f"no modulus has room for {people} people at ε = {epsilon:g}: take fewer people or a larger ε")


def rho_for(epsilon: float, *, delta: float) -> float:
    """Give the largest ρ whose ε at δ stays within `epsilon`, to 60 bits from below.

    Raises:
        ConfigError: δ is no probability between 0 and 1.
    """
    if math.isinf(epsilon):
        return math.inf
    low, high = 0.0, epsilon
    while epsilon_of_rho(high, delta=delta) <= epsilon:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if epsilon_of_rho(middle, delta=delta) <= epsilon else (low, middle)
    return low


def loss(mechanism: Mechanism, *, honest: int, budget: float) -> float:
    """Say how much more a decoded number varies than under continuous noise of the same ρ without rounding.

    Gaussian noise of variance S²/2ρ is ρ-zCDP (Bun and Steinke 2016, Proposition 1.6). Rounding costs twice: its own
    variance, at most 1/4 a person, and the larger sensitivity Δ₂ > s·S, for which there must be more noise.

    Args:
        mechanism: with noise for `budget`.
        honest: shares that the noise was planned for.
        budget: ρ; infinite, without noise, there is nothing to compare with, and the loss is 0.

    Returns:
        The extra variance as a share: 0.01 is one per cent.
    """
    if math.isinf(budget):
        return 0.0
    varies = honest * (mechanism.share_variance + 0.25) / mechanism.scale**2
    return varies / (sensitivity() ** 2 / (2 * budget)) - 1


def wraps(mechanism: Mechanism, people: int) -> float:
    """Bound the probability that any coordinate of an honest sum leaves [−2^(b−1), 2^(b−1)) and is misread.

    * A coordinate of the rotated, scaled sum of n vectors is sub-Gaussian over the public signs with proxy s²n²S²/D
      (Kairouz, Liu and Steinke, arXiv:2102.06387v4, Lemma 29), whatever the vectors are.
    * A share is sub-Gaussian with proxy σ²: E exp(λX) = exp(λ²σ²/2) · Σ exp(−(x − λσ²)²/2σ²) / Σ exp(−x²/2σ²) over
      integers x, and by Poisson summation a shifted sum is at most the unshifted one.
    * All these are independent, so the proxies add up. Roundings together move the sum by less than n.

    Two tails and a union bound over D coordinates give 2D exp(−(2^(b−1) − n)² / 2(s²n²S²/D + nσ²)).
    """
    signal = (mechanism.scale * people * sensitivity()) ** 2 / mechanism.padded
    proxy = signal + people * mechanism.share_variance
    room = 2 ** (mechanism.modulus_bits - 1) - people
    return min(1.0, 2 * mechanism.padded * math.exp(-(room**2) / (2 * proxy))) if room > 0 else 1.0


def _finest(length: int, people: int, honest: int, budget: float, bits: int, failure: float) -> Mechanism | None:
    """Give the mechanism of the largest scale that does not wrap, by bisection; None if even the smallest does."""
    low, high = round(_STEPS * math.log2(MINIMUM_SCALE)), round(_STEPS * math.log2(MAXIMUM_SCALE))
    best = None
    while low <= high:
        middle = (low + high) // 2
        tried = _with_noise(length, 2.0 ** (middle / _STEPS), honest, budget, bits)
        if tried is not None and wraps(tried, people) <= failure:
            low, best = middle + 1, tried
        else:
            high = middle - 1
    return best


def _with_noise(length: int, scale: float, honest: int, budget: float, bits: int) -> Mechanism | None:
    """Give the mechanism of the least noise for which `honest` shares keep within ρ; None if that is out of bounds."""
    tried = Mechanism(length=length, scale=scale, share_variance=0, modulus_bits=bits)
    if math.isinf(budget):
        return tried
    variance = max(1, math.ceil(tried.norm_squared / (2 * budget * honest)))
    while variance <= 4**bits:
        tried = replace(tried, share_variance=variance)
        if rho(RoundEvent(mechanism=tried, shares=honest)) <= budget:
            return tried
        variance += 1  # for the term in τ, which fades so fast that a step or two will do
    return None
