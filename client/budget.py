"""What contributions cost, and what the person allows: two numbers ε at one δ, over the whole life of the vault.

The ledger says what happened, `common.privacy` what that costs, nothing is taken from the server. Both numbers of
the threat model count (design, section 4): *central* against an honest-but-curious server that works with some of
the participants, *local* against a server that lies about everybody else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from client.ledger import Contribution, Limits, Withdrawal
from common.errors import BudgetExhaustedError, ConfigError
from common.privacy import Mechanism, RoundEvent, central, epsilon, local

if TYPE_CHECKING:
    from collections.abc import Sequence

    from client.ledger import Entry

DELTA: Final = 1e-6
"""With this probability all bets may be off: one in a million, which is below one over the people of any round."""
DEFAULT: Final = Limits(central=3.0, local=24.0)
"""What a person who sets nothing agrees to.

Central 3: whatever anybody believed about this person's pictures before, the odds change by a factor of at most
e³ = 20 over their whole life; rounds at the default ε of 1 may come seven times. Local 24: no more than a last
defence if the server is a liar, and chosen for what it excludes. In a round of 128 people that costs a central 1, the
own share of the noise alone is worth a local 10 to 12, four such rounds 24 to 28; in a round of 1,024 it is 42, so
that such a round is refused: its own share of noise protects nobody who is deceived about the others.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Both numbers ε at `DELTA`; infinite where there was no noise."""

    central: float
    local: float


def limits(entries: Sequence[Entry]) -> Limits | None:
    """Give the budgets in force; None after a withdrawal."""
    for entry in reversed(entries):
        if isinstance(entry.event, Limits):
            return entry.event
        if isinstance(entry.event, Withdrawal):
            return None
    return DEFAULT


def checked(found: Limits) -> Limits:
    """Refuse budgets that would limit nothing, or are no numbers.

    Raises:
        ConfigError: a budget is below 0 or not finite.
    """
    for name, value in (("--budget", found.central), ("--local", found.local)):
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{name} must be 0 or above and finite, got {value}: an ε such as {DEFAULT.central:g}")
    return found


def spent(entries: Sequence[Entry]) -> Cost:
    """Give the ε of all contributions, whether or not their sums were ever opened."""
    return cost([entry.event for entry in entries if isinstance(entry.event, Contribution)])


def cost(contributions: Sequence[Contribution]) -> Cost:
    """Give the ε of some contributions together."""
    return Cost(
        central=_epsilon(tuple(_central(one) for one in contributions)),
        local=_epsilon(tuple(local(mechanism_of(one)) for one in contributions)),
    )


def one_more(entries: Sequence[Entry], contribution: Contribution) -> Cost:
    """Give the ε of all contributions with one more."""
    return cost([*(entry.event for entry in entries if isinstance(entry.event, Contribution)), contribution])


def admit(entries: Sequence[Entry], contribution: Contribution) -> Cost:
    """Give the ε of all contributions with one more, if the person allows it.

    Raises:
        BudgetExhaustedError: it would be above one of the limits, or the person withdrew.
    """
    allowed = limits(entries)
    if allowed is None:
        raise BudgetExhaustedError("withdrawn: nothing is contributed until `shoal privacy --budget` allows it")
    after = one_more(entries, contribution)
    for name in ("central", "local"):
        if not getattr(after, name) <= getattr(allowed, name):  # also refuses NaN
            raise BudgetExhaustedError(
                f"with this round the {name} ε would be {getattr(after, name):.3g}, above the budget of "
                f"{getattr(allowed, name):g}: sit it out, or allow more with `shoal privacy`"
            )
    return after


def is_spent(entries: Sequence[Entry]) -> bool:
    """Say whether nothing more is allowed: withdrawn, or one more round like the last would be too much."""
    allowed = limits(entries)
    if allowed is None:
        return True
    given = [entry.event for entry in entries if isinstance(entry.event, Contribution)]
    if not given or given[-1].share_variance == 0:  # the latter in a simulation, where nothing is counted
        return False
    after = cost([*given, given[-1]])
    return after.central > allowed.central or after.local > allowed.local


def mechanism_of(contribution: Contribution) -> Mechanism:
    """Give the mechanism that a contribution went through."""
    return Mechanism(
        length=contribution.length,
        scale=contribution.scale,
        share_variance=contribution.share_variance,
        modulus_bits=contribution.modulus_bits,
    )


@lru_cache(maxsize=64)
def _epsilon(events: tuple[RoundEvent, ...]) -> float:
    """Compose; kept, because a round asks three times for the same."""
    return epsilon(events, delta=DELTA) if events else 0.0  # nothing costs nothing, and needs no accountant


def _central(contribution: Contribution) -> RoundEvent:
    return central(mechanism_of(contribution), survivors=contribution.fewest, colluders=contribution.colluders)
