"""``python -m simulations.attacks NAME [--taste] [--unprotected]``: run one attack and print its one number.

matching     share of people named rightly, by what a server receives (or, unprotected, by their tokens)
membership   share of people found at 1 % false alarms, by an opened sum
unmasking    lies of a server that get it one person's vector
audit        least ε that one round of canaries allows, at δ = 10⁻⁶
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from common.privacy import plan
from common.statistics import block_length
from simulations.attacks import unmasking, views
from simulations.attacks.audit import epsilon_of
from simulations.attacks.canaries import audit_one_run
from simulations.attacks.displacements import SOURCE, load
from simulations.attacks.tastes import SOURCE as TASTES

DELTA: Final = 1e-6
EPSILON: Final = 1.0
"""Claimed, where the noise is on."""


def matching(*, protected: bool, source: Path = SOURCE) -> float:
    """Name victims among candidates of whom there are other pictures."""
    people, rng = load(source), np.random.default_rng()
    if not protected:
        return views.conclude(views.see_tokens(people)).matched
    halves = views.halves(people)
    mechanism = plan(length=block_length(halves[0].dimensions), people=128, honest=60, epsilon=EPSILON, delta=DELTA)
    return views.conclude([views.see_masked(half, mechanism, rng) for half in halves]).matched


def membership(*, protected: bool, source: Path = SOURCE) -> float:
    """Say who is in a sum, knowing everybody's very vector, but not who took part."""
    halves = views.halves(load(source))
    crowd = min(len(half.victims) for half in halves) // 2
    mechanism = plan(length=block_length(halves[0].dimensions), people=128, honest=crowd, epsilon=EPSILON, delta=DELTA)
    used = mechanism if protected else views.without_noise(mechanism)
    return views.conclude([views.see_sum_of_candidates(half, used) for half in halves]).detected


def lies(*, protected: bool) -> float:
    """Count the lies of a server that work."""
    return float(unmasking.victims(switched_off=not protected))


def audit(*, protected: bool) -> float:
    """Guess who of 64 people took part in a round, two by two."""
    mechanism = plan(length=block_length(64), people=64, honest=64, epsilon=EPSILON, delta=DELTA)
    used = mechanism if protected else views.without_noise(mechanism)
    return epsilon_of(audit_one_run(64, 2, used, np.random.default_rng()).mu(), DELTA)


ATTACKS: Final[dict[str, Callable[..., float]]] = {
    "matching": matching, "membership": membership, "unmasking": lies, "audit": audit,
}  # fmt: skip

ON_PEOPLE: Final = ("matching", "membership")
"""Those that attack what people learned: from photos, or with ``--taste`` from choices."""


def main() -> None:
    """Run the attack that is named."""
    names = [argument for argument in sys.argv[1:] if argument not in {"--unprotected", "--taste"}]
    if len(names) != 1 or names[0] not in ATTACKS:
        raise SystemExit(f"one attack of {', '.join(ATTACKS)}, got {' '.join(names) or 'none'}: name it")
    protected = "--unprotected" not in sys.argv
    more = {"source": TASTES} if "--taste" in sys.argv and names[0] in ON_PEOPLE else {}
    if not protected:
        print("PROTECTION IS OFF in this process, for this attack alone", file=sys.stderr)
    print(f"{ATTACKS[names[0]](protected=protected, **more):.3g}")


if __name__ == "__main__":
    main()
