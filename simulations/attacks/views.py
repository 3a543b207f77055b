"""What an adversary may see of people, from the bare token to the opened sum, and how well that tells them apart.

Victims are real learnings, references other learnings of the same concepts (`simulations.attacks.displacements`). The
people are cut in two: the adversary fits its model on one half and attacks the other, then the other way round.
Each view is good for two attacks: who of N candidates was it (`matched`), and was it this person (`detected`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from client.contribution import protect
from common.privacy import Mechanism, Randomness, decode, noise_variance
from common.statistics import blocks, clip
from simulations.attacks.canaries import decoded_sum
from simulations.attacks.likelihood import Population, detected, fit, log_ratios, top_one

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from simulations.attacks.displacements import Displacements

CLIP: Final = 0.5
"""C, in units of the embedding: below nearly everybody's length, so that nearly everybody's vector is as long as it may
be. A larger C leaves the same noise and a smaller signal, so this is the adversary's choice."""
FALSE_ALARMS: Final = 0.01
"""The rate at which members are counted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Half:
    """One half of the people under attack, and the model fitted on the other; rows are people."""

    population: Population
    """Of contributions, without the count, which is always 1."""
    dimensions: int
    """p: the first of a contribution's numbers are u itself, the others its products."""
    victims: NDArray[np.float64]
    """What the devices put in, shape (people, `block_length(p)` − 1)."""
    references: NDArray[np.float64]
    """What the adversary has of the same people."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """Likelihood ratios of one attack."""

    pairs: NDArray[np.float64]
    """Of each victim and candidate, shape (victims, candidates); the true one has the same place. May be empty."""
    inside: NDArray[np.float64]
    outside: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What an attack found out over both halves."""

    matched: float
    """Share of the victims who are named rightly among the candidates; not a number where nobody is to be named."""
    detected: float
    """Share of those who took part that is found at `FALSE_ALARMS`."""
    candidates: int
    victims: int


def halves(people: Displacements, bound: float = CLIP) -> list[Half]:
    """Cut the people in two, as contributions that nothing protects yet."""
    first, second = (
        np.array([_vector(row @ people.public_basis, bound) for row in rows]) for rows in (people.first, people.second)
    )
    dimensions, found = people.public_basis.shape[1], []
    for shadows, victims in _cut(len(first)):
        model = fit(first[shadows], second[shadows], [dimensions, first.shape[1] - dimensions])
        half = Half(population=model, dimensions=dimensions, victims=first[victims], references=second[victims])
        found.append(half)
    return found


def see_tokens(people: Displacements) -> list[Scores]:
    """Look at the displacements themselves, which never leave a device; their length says nothing and is left out."""
    first, second = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (people.first, people.second))
    found = []
    for shadows, victims in _cut(len(first)):
        model = fit(first[shadows], second[shadows], [first.shape[1]])
        found.append(_scores(model, first[victims], second[victims], 0.0))
    return found


def see_bare(half: Half) -> Scores:
    """Look at each victim's contribution before anything protects it."""
    return _of_each(half, half.victims, 0.0)


def see_unmasked(half: Half, mechanism: Mechanism) -> Scores:
    """Look at each victim's contribution with the device's own share of the noise, the mask taken off."""
    seen = [decode(given, mechanism, seed=_SEED)[1:] for given in _given(half, mechanism)]
    return _of_each(half, np.array(seen), noise_variance(mechanism, 1))


def see_masked(half: Half, mechanism: Mechanism, rng: np.random.Generator) -> Scores:
    """Look at each victim's contribution as it leaves; the mask is uniform to whoever lacks its seeds, and so here."""
    seen, most = [], 2**mechanism.modulus_bits
    for given in _given(half, mechanism):
        masked = (given.astype(np.uint64) + rng.integers(0, most, len(given), dtype=np.uint64)) % np.uint64(most)
        seen.append(decode(masked.astype(np.uint32), mechanism, seed=_SEED)[1:])
    return _of_each(half, np.array(seen), noise_variance(mechanism, 1))


def see_sum_of_friends(half: Half, mechanism: Mechanism) -> Scores:
    """Look at the opened sum, knowing everybody's vector but one person's: the adversary of the accounting.

    Each victim in turn is that person; all of them share one sum and its noise.
    """
    total = decoded_sum(list(_counted(half.victims)), mechanism)[1:]
    left = total - half.victims.sum(axis=0) + half.victims  # row i: the sum less everybody else
    return _of_each(half, left, noise_variance(mechanism, len(half.victims)))


def see_sum_of_candidates(half: Half, mechanism: Mechanism) -> Scores:
    """Look at the opened sum, knowing each candidate's very vector, but not which half of them took part.

    The first half of the victims is in the sum, the second is not. Scores are everybody's estimated share in the sum:
    with coins b of mean 1/2 and variance 1/4, s = Vᵀb and noise of variance ν², the best linear estimate
    b̂ = 1/2 + (V Vᵀ + 4ν² I)⁻¹ V (s − Vᵀ1/2). There is nobody to name.
    """
    count, known = len(half.victims) // 2, half.victims
    total = decoded_sum(list(_counted(known[:count])), mechanism)[1:]
    noise = max(noise_variance(mechanism, count), 1e-12)  # never 0, so that people who are alike can be told apart
    missing = known @ (total - known.sum(axis=0) / 2)
    scores = np.linalg.solve(known @ known.T + 4 * noise * np.eye(len(known)), missing)
    return Scores(pairs=np.empty((0, 0)), inside=scores[:count], outside=scores[count:])


def conclude(found: Sequence[Scores]) -> Found:
    """Add an attack's halves up."""
    inside = np.concatenate([one.inside for one in found])
    outside = np.concatenate([one.outside for one in found])
    pairs = [one.pairs for one in found if len(one.pairs)]
    return Found(
        matched=float(np.mean([top_one(one) for one in pairs])) if pairs else float("nan"),
        detected=detected(inside, outside, FALSE_ALARMS),
        candidates=len(pairs[0]) if pairs else 0,
        victims=len(inside),
    )


def without_noise(mechanism: Mechanism) -> Mechanism:
    """Switch the noise off."""
    return replace(mechanism, share_variance=0)


_SEED: Final = bytes(32)
"""Of the rotation, which is public: any will do."""


def _cut(people: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Give whom the model is fitted on and whom it attacks, and then the other way round."""
    for parity in (0, 1):
        victims = np.arange(people) % 2 == parity
        yield ~victims, victims


def _vector(x: NDArray[np.float64], bound: float) -> NDArray[np.float64]:
    return blocks(clip(x, bound), np.ones(1), bound)[1:]


def _counted(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.pad(vectors, ((0, 0), (1, 0)), constant_values=1.0)


def _given(half: Half, mechanism: Mechanism) -> list[NDArray[np.uint32]]:
    randomness = Randomness()
    return [protect(vector, mechanism, _SEED, randomness) for vector in _counted(half.victims)]


def _of_each(half: Half, seen: NDArray[np.float64], noise: float) -> Scores:
    """Score by u alone: its products follow from it, and from other pictures of the concept they cannot be foretold."""
    p, model = half.dimensions, half.population
    linear = Population(mean=model.mean[:p], variance=model.variance[:p], correlation=model.correlation[:p])
    return _scores(linear, seen[:, :p], half.references[:, :p], noise)


def _scores(model: Population, seen: NDArray[np.float64], references: NDArray[np.float64], noise: float) -> Scores:
    """Score what was seen of everybody with everybody's reference."""
    pairs = log_ratios(model, seen, references, noise)
    own = np.eye(len(pairs), dtype=bool)
    return Scores(pairs=pairs, inside=pairs[own], outside=pairs[~own])
