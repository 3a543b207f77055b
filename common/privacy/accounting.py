"""What rounds cost: an event says what happened, `dp-accounting` 0.6.0 says what all of them together cost.

Neighbours: a participant's vector replaced by the zero vector (`NeighboringRelation.REPLACE_SPECIAL`). Who takes part
is no secret from the server; what they contribute is.

Two adversaries, two numbers (design, section 4). An honest-but-curious server with colluders sees the sum and can
subtract what the colluders added: the shares of the honest survivors protect (`central`). A server that lies fills
a round with its own clients: only the device's own share protects (`local`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.errors import ConfigError
from common.privacy.mechanism import Mechanism

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dp_accounting import DpEvent
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundEvent:
    """What happened to one person's vector in one round, as one adversary sees it. No cost in it."""

    mechanism: Mechanism
    shares: int
    """Noise shares in the sum that this adversary cannot subtract, the person's own among them."""

    def __post_init__(self) -> None:
        """Refuse an event that cannot have happened."""
        if self.shares < 1:
            raise ConfigError(f"a sum with {self.shares} honest shares: count the person's own at least")


def central(mechanism: Mechanism, *, survivors: int, colluders: int) -> RoundEvent:
    """Describe a round to an honest-but-curious server and up to `colluders` of the survivors.

    Args:
        mechanism: as announced.
        survivors: people in the sum; before it is opened, the fewest for whom it ever will be.
        colluders: of those, how many may tell the server what they added. All of the others at most: the person's
            own share always counts.
    """
    return RoundEvent(mechanism=mechanism, shares=max(1, survivors - colluders))


def local(mechanism: Mechanism) -> RoundEvent:
    """Describe a round to a server that lies: everybody else in it may be its own."""
    return RoundEvent(mechanism=mechanism, shares=1)


def rho(event: RoundEvent) -> float:
    """Give ρ such that the round is ρ-zCDP (Bun and Steinke, TCC 2016, arXiv:1605.02065); infinite without noise.

    Kairouz, Liu and Steinke (ICML 2021, arXiv:2102.06387v4), Theorem 1 by Proposition 14 (Eq. 17, last bound): adding
    n shares N_Z(0, σ²)^D to integers of sensitivity Δ₂ is ½ε²-concentrated, ε = Δ₂/(√n σ) + τ √D, for σ ≥ 1/2.
    For n = 1 it is Theorem 4 (14 for vectors) of Canonne, Kamath and Steinke (arXiv:2004.00010v5), ε = Δ₂/σ.

    Rounding is random, and so are the others' vectors; the cost of a mixture is at most that of its costliest part
    (quasi-convexity of Rényi divergence: van Erven and Harremoës, arXiv:1206.2459, Theorem 13), and no part moves the
    sum by more than Δ₂ = √`Mechanism.norm_squared`. What comes later costs nothing: reduction modulo 2^b, decoding,
    and also further shares, so that the least bound of 1, ..., n shares holds.
    """
    mechanism, counted = event.mechanism, np.arange(1, event.shares + 1)
    if mechanism.share_variance == 0:
        return math.inf
    ratio = np.sqrt(mechanism.norm_squared / (counted * float(mechanism.share_variance)))
    excess = sum_excess(mechanism.share_variance, event.shares) * math.sqrt(mechanism.padded)
    return 0.5 * float((ratio + excess).min()) ** 2


def sum_excess(variance: int, shares: int) -> NDArray[np.float64]:
    """Give τ of the sums of 1, ..., n shares, for what it costs that such a sum is not quite a discrete Gaussian.

    τ_n = 10 Σ_{k=1}^{n−1} exp(−2π²σ² k/(k + 1)), arXiv:2102.06387v4, Theorem 1; below 10⁻³⁰ from σ² = 8 on.

    Args:
        variance: σ² of one share, at least 1/4.
        shares: n ≥ 1.

    Returns:
        Shape (n,), beginning with 0.
    """
    k = np.arange(shares)
    terms = 10 * np.exp(-2 * math.pi**2 * variance * k / (k + 1))
    terms[0] = 0.0
    return np.cumsum(terms)


def dp_event(event: RoundEvent) -> DpEvent:
    """Say it in `dp-accounting`'s words: `ZCDpEvent`, or `NonPrivateDpEvent` without noise."""
    import dp_accounting  # noqa: PLC0415  takes over half a second, and an idle device has nothing to account

    cost = rho(event)
    return dp_accounting.ZCDpEvent(cost) if math.isfinite(cost) else dp_accounting.NonPrivateDpEvent()


def epsilon(events: Iterable[RoundEvent], *, delta: float) -> float:
    """Give the ε at δ of all these events together; 0 for none, infinite if one had no noise.

    Composition adds ρ (Bun and Steinke 2016, Lemma 1.7). Rounds may be chosen by looking at earlier ones: a limit on
    this ε is a limit on the sum of ρ, and stopping before it is passed is a Rényi filter (Feldman and Zrnic, NeurIPS
    2021, arXiv:2008.11193). "One more round" is `epsilon([*history, another], delta=delta)`.

    Args:
        events: in any order.
        delta: 0 < δ < 1.

    Raises:
        ConfigError: δ is no probability between 0 and 1.
    """
    return _compose((dp_event(event) for event in events), delta)


def epsilon_of_rho(cost: float, *, delta: float) -> float:
    """Give the ε at δ of a ρ-zCDP mechanism: Canonne, Kamath and Steinke (arXiv:2004.00010v5), Corollary 13."""
    import dp_accounting  # noqa: PLC0415  the same

    return _compose([dp_accounting.ZCDpEvent(cost)], delta)


def _compose(events: Iterable[DpEvent], delta: float) -> float:
    """Let the Rényi accountant add events up; it converts by Proposition 12 of arXiv:2004.00010v5."""
    import dp_accounting  # noqa: PLC0415  the same

    if not 0 < delta < 1:
        raise ConfigError(f"delta must be above 0 and below 1, got {delta}: mend the settings")
    accountant = dp_accounting.rdp.RdpAccountant(_orders(), dp_accounting.NeighboringRelation.REPLACE_SPECIAL)
    for event in events:
        accountant.compose(event)
    return float(accountant.get_epsilon(delta))


def _orders() -> list[float]:
    """Give Rényi orders α: α − 1 from 1/64 to 2²⁰ in steps of 3 %; the best is near 1 + √(ln(1/δ)/ρ)."""
    return [1 + 2.0 ** (step / 24) for step in range(-6 * 24, 20 * 24 + 1)]
