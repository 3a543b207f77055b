"""What moments still tell under the noise of a private sum.

The noise's variance is public (`common.privacy.noise_variance`), so the server can compute how far noise alone reaches
and believe only what stands above: directions (`noise_floor`), the mean (`believed_mean`), and whether there is
anything to publish at all (`stands`). Everything here is computed from the noised sum, so it costs no privacy, and
everything leaves moments without noise exactly as they are.

The noise is taken to be Gaussian: it is a sum of many discrete Gaussians, rotated by a Hadamard matrix.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from common.prior import MAXIMUM_NORM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.statistics import Moments

_CHANCE: Final = 0.01
"""How often noise alone may pass for a direction or a mean: once in a hundred versions. A direction that noise made up
costs a search some forwards, and nobody's privacy; a stricter test would cost every version some more rounds."""
_REACH: Final = NormalDist().inv_cdf(1 - _CHANCE)
"""Standard deviations by which a Gaussian passes its mean with that probability: 2.33."""
_FLUCTUATION: Final = 1.65
"""What takes the largest eigenvalue's expectation to its quantile of 1 − _CHANCE. Tracy and Widom's law (Commun. Math.
Phys. 177, 1996) has 2.02/√2 = 1.43 where people are around the anchor; calibrated for means up to the clip."""
_KNOWN: Final = 4.0
"""Standard deviations that make a number known, to a quarter: counts that moments are divided by, and the spread that
says how far a search may go."""


class NoiseFloor(NamedTuple):
    """How far noise reaches in the eigenvalues of a covariance, in units of the embedding squared."""

    level: float = 0.0
    """The noise's largest eigenvalue passes it with a probability of about _CHANCE."""
    edge: float = 0.0
    """The edge of the noise's semicircle: where its largest eigenvalue lies in a large matrix."""


QUIET: Final = NoiseFloor()
"""Of plain sums."""


def noise_floor(moments: Moments) -> NoiseFloor:
    """Compute the floor of the sample covariance of noised moments, `common.mixture.mean_and_covariance`.

    With n people, mean m and noise e in sum_x, N in sum_xx, f in the count, the scatter's noise is N − m eᵀ − e mᵀ
    + f m mᵀ, up to e eᵀ/n. N belongs to the Gaussian orthogonal ensemble: its largest eigenvalue is √(2p v_xx) in
    expectation, at most (Davidson and Szarek 2001, "Local operator theory, random matrices and Banach spaces",
    Theorem 2.11), and fluctuates by p^(−1/6). The other terms are of rank two: they do not move the edge while
    ‖m‖² v_x < v_xx/2 (Capitaine, Donati-Martin and Féral, Ann. Probab. 37(1), 2009) and little beyond. So the level is

        √(2p v_xx + p ‖m‖² v_x) + 1.65 p^(−1/6) √(v_xx + 4‖m‖² v_x + ‖m‖⁴ v_f)

    which for 3 to 64 dimensions and means from none to the clip lies between the quantile of 0.99 and 1.2 times that
    (tests/statistical/test_noisy_priors.py). The proven bounds, by Sudakov-Fernique for the expectation and by Borell
    and Tsirelson-Ibragimov-Sudakov for the fluctuation, are up to 1.5 times as high, which would cost twice the rounds.

    Args:
        moments: of more than one person.
    """
    noise, dimensions, people = moments.noise, len(moments.sum_x), moments.people
    if noise.sum_xx <= 0:
        return QUIET
    centre = float(np.linalg.norm(moments.sum_x)) / people
    edge = math.sqrt(2 * dimensions * noise.sum_xx)
    expected = math.hypot(edge, centre * math.sqrt(dimensions * noise.sum_x))
    sideways = math.sqrt(noise.sum_xx + 4 * centre**2 * noise.sum_x + centre**4 * noise.people)
    level = expected + _FLUCTUATION * dimensions ** (-1 / 6) * sideways + noise.sum_x / people
    return NoiseFloor(level=level / (people - 1), edge=edge / (people - 1))


def denoised(values: NDArray[np.float64], floor: NoiseFloor, most: int) -> tuple[NDArray[np.float64], int]:
    """Correct a noised covariance's eigenvalues: those above the floor lose what noise added, the rest is pooled.

    A direction of excess variance θ over the others is seen at d = θ + r²/4θ, r the edge of the noise's semicircle, and
    the direction found is turned away from it by an angle of cos² = 1 − r²/4θ² (Benaych-Georges and Nadakuditi, Adv.
    Math. 227, 2011, section 3.1). People's variance along what was found is therefore θ − r²/4θ = √(d² − r²) above the
    others'. All others get one variance, so that the trace, which noise does not bias, stays: not less than the
    standard deviation that noise gives it, so that nothing is declared impossible which noise may have hidden.

    Args:
        values: eigenvalues, shape (p,), descending, of either sign.
        floor: of that covariance.
        most: directions to keep.

    Returns:
        The corrected eigenvalues, descending, and how many of them stand above the floor.
    """
    if floor.level <= 0:
        return values, len(values)
    dimensions, trace = len(values), max(0.0, float(values.sum()))
    least = floor.edge / (math.sqrt(2) * dimensions)
    kept, rest, signal = 0, max(trace / dimensions, least), values[:0]
    limit = min(most, dimensions - 1)
    while (above := min(limit, int(np.sum(values > rest + floor.level)))) > kept:
        kept = above
        signal = rest + np.sqrt(np.maximum((values[:kept] - rest) ** 2 - floor.edge**2, 0.0))
        rest = max((trace - float(signal.sum())) / (dimensions - kept), least)
    return np.concatenate([signal, np.full(dimensions - kept, rest)]), kept


def believed_mean(moments: Moments) -> NDArray[np.float64]:
    """Give the mean, shrunk towards the anchor by as much as noise is expected to have lengthened it.

    The positive-part estimator of James and Stein (Proc. 4th Berkeley Symp. 1, 1961; Baranchik 1964), which has a
    smaller expected squared error than the plain mean wherever the truth lies, from three dimensions on.

    Args:
        moments: of a positive count.
    """
    mean = moments.sum_x / moments.people
    if moments.noise.sum_x <= 0:
        return mean
    square = float(moments.sum_x @ moments.sum_x)
    lengthened = max(0, len(mean) - 2) * moments.noise.sum_x
    kept = max(0.0, 1 - lengthened / square) if square > 0 else 0.0
    most = MAXIMUM_NORM * (1 - 1e-9) / max(float(np.linalg.norm(mean)), 1e-300)  # more than that no prior may have
    return mean * min(kept, most)


def counts(moments: Moments, fewest: float) -> bool:
    """Tell whether a group has `fewest` people or more, and its count is known."""
    return moments.people >= max(fewest, _KNOWN * math.sqrt(moments.noise.people))


def is_spread(moments: Moments, covariance: NDArray[np.float64]) -> bool:
    """Tell whether the total variance, tr Σ, is known; without noise it always is."""
    noise = moments.noise
    if noise.sum_xx <= 0:
        return True
    centre = float(np.linalg.norm(moments.sum_x)) / moments.people
    variance = len(covariance) * noise.sum_xx + 4 * centre**2 * noise.sum_x + centre**4 * noise.people
    return float(np.trace(covariance)) * (moments.people - 1) > _KNOWN * math.sqrt(variance)


def is_off_centre(moments: Moments) -> bool:
    """Tell whether the mean stands above its noise: whether people differ from the anchor alike.

    The noise's squared length, over its variance, is chi-squared with p degrees of freedom; its quantile by Wilson and
    Hilferty (PNAS 17(12), 1931).
    """
    p = len(moments.sum_x)
    quantile = p * (1 - 2 / (9 * p) + _REACH * math.sqrt(2 / (9 * p))) ** 3
    return float(moments.sum_x @ moments.sum_x) > quantile * moments.noise.sum_x
