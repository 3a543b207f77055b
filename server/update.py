"""Turn the sums of all rounds so far into the next version of a prior.

A person contributes once per concept kind, so rounds add up: every version is fitted to everybody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from common.errors import ConfigError, PriorError
from common.mixture import halve, leads, m_step, stands, total
from common.prior import MAXIMUM_COHORTS, Kind, Prior, check_prior, check_public_basis
from common.statistics import Moments, block_length, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PEOPLE_PER_COHORT: Final = 20
"""A further cohort needs this many people for each: fewer say more as one Gaussian than as two (20 people leave a
mean uncertain by 22 % of the spread)."""
_BELIEVED: Final = 6.5
"""Standard deviations by which noise may take a sum out of what people can add up to: once in 10¹⁰ rounds."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoundSum:
    """What one finished round left: the sum of its people's `common.statistics.blocks`."""

    round_id: str
    total: NDArray[np.float64]
    """Shape (J · `block_length(dimensions)`,), J the number of cohorts announced in that round."""
    clip: float
    """C, under which all of its people were encoded."""
    people: int | None = None
    """How many are in the sum, as the protocol counted them; None to take the sum's own word, where it has no noise."""
    noise_variance: float = 0.0
    """Of each number of the sum, in units of the sum squared: `common.privacy.noise_variance`."""

    def __post_init__(self) -> None:
        """Refuse a noisy sum of nobody knows how many."""
        if self.noise_variance > 0 and self.people is None:
            raise ConfigError(f"the sum of round {self.round_id} is noisy: say how many people are in it")


def next_prior(
    previous: Prior | None,
    sums: Sequence[RoundSum],
    *,
    backbone: str,
    kind: Kind,
    public_basis: NDArray[np.float64],
    minimum_people: int,
    max_directions: int,
    cohorts: int,
    created: str,
) -> Prior | None:
    """Fit the next version to all people so far; None while too little is known ("no prior yet").

    That is while there are too few people, or nothing that they have in common stands above the noise of their sums
    (`common.mixture.stands`).

    Args:
        previous: the version before this one; only its number is used, since the sums of all rounds are kept.
        sums: all rounds of this backbone, kind and public basis, oldest first.
        backbone: SHA-256 (hex) of the weights.
        kind: of the concepts.
        public_basis: P, shape (width, dimensions).
        minimum_people: no version of fewer people than this, at least 2.
        max_directions: most directions that a cohort keeps.
        cohorts: most cohorts J.
        created: the time now, ISO 8601.

    Raises:
        ConfigError: a setting or the public basis is unusable.
        ProtocolError: a sum has the wrong length.
        PriorError: a sum or the fit is out of bounds, so the sums are not what people's displacements add up to.
    """
    _check_settings(public_basis, minimum_people, max_directions, cohorts)
    if not sums:
        return None
    pooled = pool(sums, dimensions=public_basis.shape[1])
    everybody = total(pooled)
    people = round(everybody.people)
    if people < minimum_people or not stands(everybody):
        return None
    if len(pooled) < min(cohorts, people // PEOPLE_PER_COHORT) and leads(pooled[_largest(pooled)]):
        pooled = divide(pooled)
    prior = Prior(
        backbone=backbone,
        kind=kind,
        version=1 if previous is None else previous.version + 1,
        people=people,
        rounds=tuple(item.round_id for item in sums),
        public_basis=np.asarray(public_basis, dtype=np.float64),
        cohorts=m_step(pooled, max_directions),
        created=created,
    )
    check_prior(prior, backbone=backbone, width=len(public_basis))
    return prior


def pool(sums: Sequence[RoundSum], *, dimensions: int) -> list[Moments]:
    """Add all rounds up, cohort by cohort.

    Incremental EM (Neal and Hinton 1998, "A view of the EM algorithm that justifies incremental, sparse, and other
    variants"): a person's moments stay as encoded, under the cohorts announced at that time. People who contributed
    before a cohort was divided are divided with it (`divide`), just as it was done when that version was made. So
    the total over cohorts is always the plain sum over people, and the order of rounds does not matter.

    Args:
        sums: at least one.
        dimensions: p.

    Returns:
        One `Moments` for each cohort of the newest structure among `sums`.

    Raises:
        ProtocolError: a sum's length is not a multiple of a block's.
        PriorError: a sum is not what people can add up to.
    """
    by_cohorts: dict[int, list[list[Moments]]] = {}
    for item in sums:
        count = max(1, len(item.total) // block_length(dimensions))
        by_cohorts.setdefault(count, []).append(read_sum(item, dimensions, count))
    pooled: list[Moments] = []
    for count in sorted(by_cohorts):
        while pooled and len(pooled) < count:
            pooled = divide(pooled)
        groups = [[group] for group in pooled] if pooled else [[] for _ in range(count)]
        for read in by_cohorts[count]:
            for group, moments in zip(groups, read, strict=True):
                group.append(moments)
        pooled = [total(group) for group in groups]
    return pooled


def read_sum(item: RoundSum, dimensions: int, cohorts: int) -> list[Moments]:
    """Read one round's sum; its noisy counts are moved by the same amount, so that they add up to the known people.

    With one cohort the count is then exact; with J each varies by (J − 1)/J of what it did.

    Raises:
        ProtocolError: the sum has another length.
        PriorError: it is not what so many people can add up to, noise allowed for.
    """
    groups = split(item.total, dimensions, cohorts, item.clip, variance=item.noise_variance)
    if item.people is None or item.noise_variance <= 0:
        return groups
    everybody = total(groups)
    _check_plausible(everybody, item.people, item.clip, item.round_id)
    missing = (item.people - everybody.people) / cohorts
    return [
        group._replace(
            people=group.people + missing,
            noise=group.noise._replace(people=item.noise_variance * (cohorts - 1) / cohorts),
        )
        for group in groups
    ]


def divide(pooled: Sequence[Moments]) -> list[Moments]:
    """Halve the cohort of the most people; the upper half becomes the last cohort, all others keep their place."""
    index = _largest(pooled)
    below, above = halve(pooled[index])
    return [*pooled[:index], below, *pooled[index + 1 :], above]


def _largest(pooled: Sequence[Moments]) -> int:
    return max(range(len(pooled)), key=lambda at: pooled[at].people)


def _check_plausible(everybody: Moments, people: int, clip: float, round_id: str) -> None:
    """Refuse a sum that nobody's clipped vectors add up to: Σ 1 = n, ‖Σ x‖ ≤ n C and 0 ≤ tr Σ x xᵀ ≤ n C²."""
    count, entry, number = (_BELIEVED * math.sqrt(variance) for variance in everybody.noise)
    dimensions, length = len(everybody.sum_x), float(np.linalg.norm(everybody.sum_x))
    power, slack = float(np.trace(everybody.sum_xx)), math.sqrt(dimensions) * number
    sound = {
        "count": abs(everybody.people - people) <= count,
        "mean": length <= people * clip + entry + math.sqrt(dimensions) * entry / _BELIEVED,
        "power": -slack <= power <= people * clip**2 + slack,
    }
    wrong = [what for what, holds in sound.items() if not holds]
    if wrong:
        message = f"the {wrong[0]} of round {round_id} is not what {people} people can add up to: leave its sum out"
        raise PriorError(message)


def _check_settings(public_basis: NDArray[np.float64], minimum_people: int, max_directions: int, cohorts: int) -> None:
    if minimum_people < 2 or max_directions < 1 or not 1 <= cohorts <= MAXIMUM_COHORTS:
        raise ConfigError(
            f"minimum-people must be >= 2, max-directions >= 1, cohorts 1 to {MAXIMUM_COHORTS}, "
            f"got {minimum_people}, {max_directions}, {cohorts}: mend the server's settings"
        )
    try:
        check_public_basis(public_basis, width=len(public_basis))
    except PriorError as error:
        raise ConfigError(f"the operator's public basis is unusable: {error}") from error
