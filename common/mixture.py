"""The population as a mixture of Gaussians, each of a few known directions and one variance for all others.

Expectation-maximization (Dempster, Laird and Rubin, JRSS B 39(1), 1977), federated: a device takes the E-step for
itself (`responsibilities`), the secure sum adds the moments, the server takes the M-step (`m_step`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from common.denoising import (
    QUIET,
    NoiseFloor,
    believed_mean,
    counts,
    denoised,
    is_off_centre,
    is_spread,
    noise_floor,
)
from common.prior import MAXIMUM_NORM, MINIMUM_VARIANCE, Cohort
from common.statistics import Moments, Noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FEWEST: Final = 2.0
"""People below whom a cohort has no covariance of its own and takes everybody's."""
_DISTINCT: Final = 1 + 1e-6
"""A direction is kept if its variance exceeds that of the directions nothing is known about by this factor."""


def log_density(x: NDArray[np.float64], cohort: Cohort) -> float:
    """Give log N(x; m, U diag(λ) Uᵀ + ρ (I − U Uᵀ)), without ever building the covariance.

    Args:
        x: shape (dimensions,).
        cohort: as checked by `common.prior.check_cohorts`, so that its variances are positive.
    """
    difference = x - cohort.mean
    inside = cohort.basis.T @ difference
    outside = difference - cohort.basis @ inside  # formed, not ‖difference‖² − ‖inside‖², which cancels
    free = len(x) - len(cohort.spectrum)
    distance = np.sum(inside**2 / cohort.spectrum) + outside @ outside / cohort.residual
    log_determinant = np.sum(np.log(cohort.spectrum)) + free * math.log(cohort.residual)
    return -0.5 * float(distance + log_determinant + len(x) * math.log(2 * math.pi))


def responsibilities(x: NDArray[np.float64], cohorts: Sequence[Cohort]) -> NDArray[np.float64]:
    """Give the probability that x came from each cohort: the E-step for one person.

    r_j ∝ π_j N(x; m_j, Σ_j), normalized by log-sum-exp, so that far-away points get an answer too.

    Args:
        x: shape (dimensions,), finite.
        cohorts: none means no prior yet: everyone belongs to the only cohort there will be.

    Returns:
        Shape (max(1, J),): r ≥ 0, adding up to 1.
    """
    if len(cohorts) <= 1:
        return np.ones(1)
    logs = np.array([_log(cohort.weight) + log_density(x, cohort) for cohort in cohorts])
    shares = np.exp(logs - logs.max())
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def total(moments: Sequence[Moments]) -> Moments:
    """Add groups of people up."""
    return Moments(
        people=math.fsum(group.people for group in moments),
        sum_x=np.sum([group.sum_x for group in moments], axis=0),
        sum_xx=np.sum([group.sum_xx for group in moments], axis=0),
        noise=Noise(*(math.fsum(variances) for variances in zip(*(group.noise for group in moments), strict=True))),
    )


def mean_and_covariance(moments: Moments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the sample mean and the sample covariance (divided by n − 1), as from the raw rows.

    The subtraction of n m mᵀ costs some digits when the mean is far larger than the spread, and leaves eigenvalues
    just below 0 where the truth is 0; `m_step` raises those to 0. Noise e in sum_x takes E e eᵀ/n too much away, which
    is given back: the covariance is unbiased, but no longer positive semi-definite.

    Args:
        moments: of more than one person.
    """
    mean = moments.sum_x / moments.people
    scatter = moments.sum_xx - np.outer(moments.sum_x, mean)
    if moments.noise.sum_x > 0:
        scatter = scatter + moments.noise.sum_x / moments.people * np.eye(len(mean))
    covariance = (scatter + scatter.T) / (2 * (moments.people - 1))
    return mean, covariance


def shrinkage(spectrum: NDArray[np.float64], freedom: float) -> float:
    """Say how far to pull a sample covariance towards its mean variance times I: 0 not at all, 1 entirely.

    Oracle approximating shrinkage (Chen, Wiesel, Eldar and Hero, IEEE Trans. Signal Process. 58(10), 2010, Eq. 23),
    with n − 1 in place of n because the mean is estimated as well. It needs only tr(S) and tr(S²), which a sum of
    moments has; Ledoit and Wolf's (2004) needs every person's ‖x‖⁴. With 8 to 24 people in 64 dimensions and
    spectra that decay as displacements' do, the divergence from the true Gaussian came within an eighth of the least
    that any shrinkage of the same eigenvectors can do (tests/unit/common/test_mixture.py holds it to that); analytical
    non-linear shrinkage (Ledoit and Wolf, Ann. Stat. 48(5), 2020) is better from some 60 people on but broke down at
    8 and wherever n is near p; spiked-model shrinkage (Donoho, Gavish and Johnstone, Ann. Stat. 46(4), 2018) cut the
    decaying tail off.

    Args:
        spectrum: eigenvalues of the sample covariance, shape (p,), ≥ 0.
        freedom: n − 1 > 0.
    """
    dimensions = len(spectrum)
    trace, square = float(spectrum.sum()), float(spectrum @ spectrum)
    spread = square - trace**2 / dimensions  # p times the variance of the eigenvalues: 0 if they are all the same
    known = (freedom + 1 - 2 / dimensions) * spread
    if known <= 0:  # one dimension and two people, where rounding may leave a spread, among them
        return 1.0
    numerator = (1 - 2 / dimensions) * square + trace**2
    return max(0.0, min(1.0, numerator / known))


def shape_of(
    covariance: NDArray[np.float64], freedom: float, directions: int, floor: NoiseFloor = QUIET
) -> tuple[NDArray[np.float64], ...]:
    """Reduce a sample covariance to its leading directions and one residual variance, with shrinkage.

    The eigenvectors stay, the eigenvalues are shrunk, those of the leading `directions` that stand above the
    directions nothing is known about are kept, and the residual is the mean of all others, so that the trace,
    which is the people's mean squared distance from their mean, survives. Where there is noise, the eigenvalues are
    corrected for it first, and directions that do not stand above its floor are not kept (`denoised`).

    Args:
        covariance: sample covariance, shape (p, p), symmetric.
        freedom: n − 1 > 0.
        directions: most directions to keep.
        floor: of the noise in that covariance.

    Returns:
        basis (p, k), spectrum (k,) descending, and the residual, shape (); k may be 0.
    """
    values, vectors = np.linalg.eigh(covariance)
    values, above = denoised(values[::-1], floor, directions)
    values, vectors = np.maximum(values, 0.0), vectors[:, ::-1]
    amount = shrinkage(values, freedom)
    unknown = amount * values.mean()
    shrunk = np.clip((1 - amount) * values + unknown, MINIMUM_VARIANCE, MAXIMUM_NORM**2)
    known = int(np.sum(shrunk > max(unknown, MINIMUM_VARIANCE) * _DISTINCT))
    kept = min(directions, known, above)
    residual = shrunk[kept:].mean() if kept < len(shrunk) else shrunk[-1]
    return _orient(vectors[:, :kept]), shrunk[:kept], np.asarray(residual)


def m_step(moments: Sequence[Moments], directions: int) -> tuple[Cohort, ...]:
    """Fit one Gaussian to each cohort's moments: the M-step.

    The mean is the plain mean; the covariance is shrunk (`shrinkage`). A cohort of fewer than two people takes
    everybody's covariance, an empty one everybody's mean as well, so that it can fill again. Where there is noise,
    both are corrected for it (`common.denoising`), and a count or a spread that noise may have made up is none.

    Args:
        moments: one for each cohort, of more than one person together, all in the same p dimensions.
        directions: most directions to keep for each cohort.
    """
    everybody = total(moments)
    background = _shape(everybody, mean_and_covariance(everybody)[1], directions)
    positive = math.fsum(max(0.0, group.people) for group in moments)
    cohorts = []
    for group in moments:
        centre, shape = believed_mean(everybody), background
        if group.people > MINIMUM_VARIANCE and counts(group, 0.0):
            centre = believed_mean(group)
        if counts(group, _FEWEST):
            covariance = mean_and_covariance(group)[1]
            shape = _shape(group, covariance, directions) if is_spread(group, covariance) else background
        basis, spectrum, residual = shape
        weight = max(0.0, group.people) / positive
        cohorts.append(Cohort(weight=weight, mean=centre, basis=basis, spectrum=spectrum, residual=float(residual)))
    return tuple(cohorts)


def stands(moments: Moments) -> bool:
    """Tell whether a prior can be made: how much people vary is known, and their mean or a direction as well.

    Without noise it always can.

    Args:
        moments: of more than one person.
    """
    if moments.noise == Noise():
        return True
    _, covariance = mean_and_covariance(moments)
    return is_spread(moments, covariance) and (is_off_centre(moments) or leads(moments))


def leads(moments: Moments) -> bool:
    """Tell whether people vary along some direction more than along the others, and more than noise alone would."""
    values = np.asarray(np.linalg.eigvalsh(mean_and_covariance(moments)[1])[::-1], dtype=np.float64)
    return denoised(values, noise_floor(moments), 1)[1] > 0


def _shape(moments: Moments, covariance: NDArray[np.float64], directions: int) -> tuple[NDArray[np.float64], ...]:
    return shape_of(covariance, moments.people - 1, directions, noise_floor(moments))


def halve(moments: Moments) -> tuple[Moments, Moments]:
    """Cut a cohort in two across its leading direction, so that EM has two different cohorts to start from.

    If x is Gaussian with variance λ along the unit direction u, the people on either side of the mean have means
    m ± a u with a = √(2λ/π), and variance λ − a² along u (the half-normal distribution). Moments, not people, are
    cut: the two halves add up to the whole exactly, and so do the variances of their noise.

    Args:
        moments: of more than one person.

    Returns:
        The half below the mean and the half above it along u.
    """
    mean = moments.sum_x / moments.people
    scatter = moments.sum_xx - np.outer(moments.sum_x, mean)
    values, vectors = np.linalg.eigh((scatter + scatter.T) / (2 * moments.people))
    direction = _orient(vectors[:, -1:])[:, 0]
    step = math.sqrt(2 * max(0.0, float(values[-1])) / math.pi) * direction
    # E[x xᵀ] of a half is Σ − step stepᵀ + (m ± step)(m ± step)ᵀ = E[x xᵀ] ± (m stepᵀ + step mᵀ).
    slope = np.outer(mean, step) + np.outer(step, mean)
    below, above = (
        Moments(
            people=moments.people / 2,
            sum_x=(moments.sum_x + sign * moments.people * step) / 2,
            sum_xx=(moments.sum_xx + sign * moments.people * slope) / 2,
            noise=Noise(*(variance / 2 for variance in moments.noise)),
        )
        for sign in (-1, 1)
    )
    return below, above


def _log(weight: float) -> float:
    return math.log(weight) if weight > 0 else -math.inf


def _orient(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give each column the sign that makes its largest entry positive: eigenvectors have none of their own."""
    if vectors.shape[1] == 0:
        return vectors
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return np.asarray(vectors * np.where(largest < 0, -1.0, 1.0), dtype=np.float64)
