"""What rounds cost: events say what happened, `dp-accounting` composes them, and `plan` buys noise for a budget.

Neighbours: a participant's vector replaced by the zero vector (`NeighboringRelation.REPLACE_SPECIAL`). Who takes part
is no secret from the server; what they contribute is.

Two adversaries, two numbers (design, section 4). An honest-but-curious server with colluders sees the sum and can
subtract what the colluders added: the shares of the honest survivors protect (`central`). A server that lies fills
a round with its own clients: only the device's own share protects (`local`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from common.errors import ConfigError
from common.privacy.mechanism import MAXIMUM_SCALE, MODULI, Mechanism
from common.statistics import sensitivity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dp_accounting import DpEvent

FAILURE: Final = 2.0**-40
"""Probability that any coordinate of an honest round's sum wraps around, at most."""
ROUNDING_LOSS: Final = 0.05
"""Extra variance of a decoded number that rounding may cost beside unrounded noise: 5 %, 2.5 % of its spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundEvent:
    """What happened to one person's vector in one round, as one adversary sees it. No cost in it."""

    mechanism: Mechanism
    shares: int
    """Noise shares in the sum that this adversary cannot subtract; at least the person's own."""

    def __post_init__(self) -> None:
        """Refuse an event that cannot have happened."""
        if self.shares < 1:
            raise ConfigError(f"a sum with {self.shares} honest shares: count the person's own at least")


def central(mechanism: Mechanism, *, survivors: int, colluders: int) -> RoundEvent:
    """Describe a round to an honest-but-curious server that works with up to `colluders` of the survivors."""
    return RoundEvent(mechanism=mechanism, shares=max(1, survivors - colluders))


def local(mechanism: Mechanism) -> RoundEvent:
    """Describe a round to a server that lies: everybody else in it may be its own."""
    return RoundEvent(mechanism=mechanism, shares=1)


def rho(event: RoundEvent) -> float:
    """Give ρ such that the round is ρ-zCDP (Bun and Steinke, TCC 2016, arXiv:1605.02065); infinite without noise.

    Kairouz, Liu and Steinke (arXiv:2102.06387v4), Theorem 1 by Proposition 14, third bound: the sum of n shares
    N_Z(0, σ²)^D is ½ε²-concentrated for ε = Δ₂/(√n σ) + τ √D with τ = 10 Σ_{k=1}^{n−1} exp(−2π²σ² k/(k + 1)).
    The term in τ is what it costs that a sum of discrete Gaussians is not one; it vanishes for n = 1, where the
    bound is Theorem 4 (14 for vectors) of Canonne, Kamath and Steinke (arXiv:2004.00010v5). σ² ≥ 1 here, the theorem
    asks for σ ≥ 1/2.
    """
    mechanism = event.mechanism
    if mechanism.share_variance == 0:
        return math.inf
    variance = mechanism.share_variance
    ratio = math.sqrt(mechanism.norm_squared / (event.shares * variance))
    return 0.5 * (ratio + sum_excess(variance, event.shares) * math.sqrt(mechanism.padded)) ** 2


def sum_excess(variance: int, shares: int) -> float:
    """Give τ = 10 Σ_{k=1}^{n−1} exp(−2π²σ² k/(k + 1)): arXiv:2102.06387v4, Theorem 1."""
    k = np.arange(1, shares)
    return float(10 * np.exp(-2 * math.pi**2 * variance * k / (k + 1)).sum())


def dp_event(event: RoundEvent) -> DpEvent:
    """Say it in `dp-accounting`'s words: `ZCDpEvent`, or `NonPrivateDpEvent` without noise."""
    import dp_accounting  # noqa: PLC0415  takes over half a second, and an idle device has nothing to account

    cost = rho(event)
    return dp_accounting.ZCDpEvent(cost) if math.isfinite(cost) else dp_accounting.NonPrivateDpEvent()


def epsilon(events: Iterable[RoundEvent], *, delta: float) -> float:
    """Give the ε at `delta` of all events together; 0 for none, infinite if one had no noise.

    Composition adds ρ; the conversion is the best over a fine grid of orders of Canonne, Kamath and Steinke
    (arXiv:2004.00010v5), Proposition 12 and Corollary 13, as `dp-accounting` 0.6.0 has it. "One more round" is
    `epsilon([*history, another], delta=delta)`.

    Args:
        events: in any order.
        delta: 0 < δ < 1.

    Raises:
        ConfigError: δ is no probability between 0 and 1.
    """
    import dp_accounting  # noqa: PLC0415  the same

    if not 0 < delta < 1:
        raise ConfigError(f"delta must be above 0 and below 1, got {delta}: mend the settings")
    accountant = dp_accounting.rdp.RdpAccountant(_orders(), dp_accounting.NeighboringRelation.REPLACE_SPECIAL)
    for event in events:
        accountant.compose(dp_event(event))
    return float(accountant.get_epsilon(delta))


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
    """Choose scale, noise and modulus for a round that costs at most a central `epsilon`.

    Args:
        length: numbers in a vector.
        people: most people in the sum; the modulus makes room for them and their noise.
        honest: fewest honest shares in a sum that is ever opened: the quorum less the colluders.
        epsilon: target for one round at `delta`; infinite plans a round without noise.
        delta: 0 < δ < 1.
        failure: most probability that a coordinate wraps around.
        rounding_loss: most extra variance, as a share, that rounding may cost.

    Raises:
        ConfigError: no mechanism does all that, or an argument makes no sense.
    """
    if not 1 <= honest <= people or not epsilon > 0 or not 0 < delta < 1 or not 0 < failure < 1:
        raise ConfigError(
            f"no noise for {honest} honest of {people} people at ε = {epsilon}, δ = {delta}, failure {failure}: "
            "mend the settings"
        )
    budget = _rho_for(epsilon, delta)
    for bits in MODULI if math.isfinite(budget) else MODULI[-1:]:
        found = _largest_scale(length, people, honest, budget, bits, failure)
        if found is not None and loss(found, honest=honest, budget=budget) <= rounding_loss:
            return found
    raise ConfigError(f"no modulus fits {people} people at ε = {epsilon}: take fewer people or a larger ε")


def loss(mechanism: Mechanism, *, honest: int, budget: float) -> float:
    """Say how much more a decoded number varies than with unrounded continuous Gaussian noise of the same ρ.

    Continuous noise of variance S²/2ρ is ρ-zCDP (Bun and Steinke 2016, Proposition 1.6).

    Returns:
        The extra variance as a share: 0.01 is one per cent.
    """
    if math.isinf(budget):
        return 0.0
    rounded = honest * (mechanism.share_variance + 0.25) / mechanism.scale**2
    return rounded / (sensitivity() ** 2 / (2 * budget)) - 1


def wraps(mechanism: Mechanism, people: int) -> float:
    """Bound the probability that any coordinate of an honest sum leaves [−2^(b−1), 2^(b−1)).

    A rotated coordinate of the sum of vectors is sub-Gaussian with proxy s²n²S²/D over the public signs
    (arXiv:2102.06387v4, Lemma 29); a share N_Z(0, σ²) is with proxy σ²: E exp(λX) is exp(λ²σ²/2) times
    Σ exp(−(x − λσ²)²/2σ²) / Σ exp(−x²/2σ²), and that ratio is at most 1 by Poisson summation. They are independent,
    so proxies add up; roundings move the sum by less than n. A union bound over D coordinates, both tails.
    """
    signal = (mechanism.scale * people * sensitivity()) ** 2 / mechanism.padded
    proxy = signal + people * mechanism.share_variance
    room = 2 ** (mechanism.modulus_bits - 1) - people
    return min(1.0, 2 * mechanism.padded * math.exp(-(room**2) / (2 * proxy))) if room > 0 else 1.0


def _largest_scale(length: int, people: int, honest: int, budget: float, bits: int, failure: float) -> Mechanism | None:
    """Give the finest mechanism of this modulus that does not wrap, by bisection over whole exponents of 2^(1/64)."""
    low, high, best = -640, round(64 * math.log2(MAXIMUM_SCALE)), None
    while low <= high:
        middle = (low + high) // 2
        tried = _with_noise(length, 2.0 ** (middle / 64), honest, budget, bits)
        if tried is not None and wraps(tried, people) <= failure:
            low, best = middle + 1, tried
        else:
            high = middle - 1
    return best


def _with_noise(length: int, scale: float, honest: int, budget: float, bits: int) -> Mechanism | None:
    """Give the mechanism with the least share variance that keeps `honest` shares within ρ ≤ budget."""
    bare = Mechanism(length=length, scale=scale, share_variance=0, modulus_bits=bits)
    if math.isinf(budget):
        return bare
    variance = max(1, math.ceil(bare.norm_squared / (2 * budget * honest)))
    while variance <= 4**bits:
        tried = replace(bare, share_variance=variance)
        if rho(RoundEvent(mechanism=tried, shares=honest)) <= budget:
            return tried
        variance += 1
    return None


def _rho_for(epsilon: float, delta: float) -> float:
    """Give the largest ρ whose ε at δ is at most `epsilon`, by bisection from below."""
    if math.isinf(epsilon):
        return math.inf
    low, high = 0.0, epsilon  # ρ-zCDP costs more than ε = ρ at every δ below one half
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _epsilon_of_rho(middle, delta) <= epsilon else (low, middle)
    return low


def _epsilon_of_rho(cost: float, delta: float) -> float:
    import dp_accounting  # noqa: PLC0415  the same

    accountant = dp_accounting.rdp.RdpAccountant(_orders(), dp_accounting.NeighboringRelation.REPLACE_SPECIAL)
    return float(accountant.compose(dp_accounting.ZCDpEvent(cost)).get_epsilon(delta))


def _orders() -> list[float]:
    """Give Rényi orders α: α − 1 from 1/64 to 2^20 in steps of 3 %, since the best is near 1 + √(ln(1/δ)/ρ)."""
    return [1 + 2.0 ** (step / 24) for step in range(-6 * 24, 20 * 24 + 1)]
