"""Tastes to attack: everybody's learned twice from the same choices, with other draws.

As `simulations.attacks.displacements` does for photos: the first is what a device would contribute, the second what
somebody could learn who saw every choice. That is more than an adversary has; from *other* choices of the same person
nobody was told apart: of 40 people 2 were named rightly, where chance names 1.

    python -m simulations.attacks.tastes [PEOPLE]

takes about 10 processor seconds for a person, goes on where it was stopped, and writes `SOURCE`.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from simulations.attacks.displacements import SOURCE as PHOTOS
from simulations.attacks.displacements import pack

SOURCE: Final = PHOTOS.with_name("tastes.npz")
PARTS: Final = Path("build/attacks/tastes")
FORWARDS: Final = 400
SEED: Final = 7


def learn_all(count: int, parts: Path = PARTS) -> None:
    """Learn everybody's taste twice, skipping those who are there already."""
    from simulations.basis import public_basis  # noqa: PLC0415 - torch takes seconds, and only making the file needs it
    from simulations.benchmarks.taste import FULL, displacement, draw_bank, room  # noqa: PLC0415 - the same
    from simulations.tastes import tastes  # noqa: PLC0415 - the same

    parts.mkdir(parents=True, exist_ok=True)
    np.save(parts / "public_basis.npy", public_basis(room().engine))
    size, bank = replace(FULL, forwards=FORWARDS), None
    for person in tastes(count, SEED):
        part = parts / f"{person.number:03}.npz"
        if part.exists():
            continue
        bank = bank or draw_bank(size, SEED)
        first, second = (displacement(person, bank, size, draws=half) for half in (0, 1))
        np.savez(part, subject=str(person.number), class_word="", first=first, second=second)
        print(f"{person.number + 1} of {count}", flush=True)


if __name__ == "__main__":
    learn_all(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
    print(f"{pack(PARTS, SOURCE)} people, {SOURCE.stat().st_size / 1e3:.0f} kB in {SOURCE}")
