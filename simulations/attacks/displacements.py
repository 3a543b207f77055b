"""Real displacements to attack: every concept learned twice, from disjoint pictures and with other seeds.

The first learning is the person's own, on their device. The second is what somebody else could make who has other
pictures of the same thing: the adversary's reference. Learned with forward passes alone, as on a device and with
its engine, on the default backbone, from the held-out pictures (`simulations.population.ARCHIVE`; licences in NOTICE).

    python -m simulations.attacks.displacements [PEOPLE]

takes about 3 processor seconds for a person, goes on where it was stopped, and writes `SOURCE`.
"""

from __future__ import annotations

import random
import sys
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError
from simulations.population import ARCHIVE, PICTURES, Person, people, write_pictures

if TYPE_CHECKING:
    from client.backbone.engine import Engine

SOURCE: Final = ARCHIVE.with_name("displacements.npz")
FORWARDS: Final = 200
"""Budget of a learning: it gains most of what five times as many do, and tokens less converged are, if anything,
harder to match."""
PARTS: Final = Path("build/attacks/displacements")
"""Where each person's pair is kept until all are packed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Displacements:
    """Everybody's displacement twice; rows of one person are in the same place."""

    subjects: NDArray[np.str_]
    class_words: NDArray[np.str_]
    first: NDArray[np.float64]
    """Shape (people, width): as learned on the person's device."""
    second: NDArray[np.float64]
    """Shape (people, width): of the same concept, from other pictures and another seed."""
    public_basis: NDArray[np.float64]
    """P, shape (width, dimensions): of the backbone that they were learned on."""

    def __len__(self) -> int:
        return len(self.first)


def load(path: Path = SOURCE) -> Displacements:
    """Read what `main` packed.

    Raises:
        ConfigError: there is no such file, or it is of another shape.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {item.name: file[item.name] for item in fields(Displacements)}
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        remedy = "python -m simulations.attacks.displacements"
        raise ConfigError(f"no displacements at {path} ({error}): learn them with {remedy}") from error
    return Displacements(**{name: a.astype(np.float64) if a.dtype.kind == "f" else a for name, a in found.items()})


def halves(person: Person, members: list[str], seed: int) -> tuple[Person, Person]:
    """Give the same concept to two people who share no picture.

    Args:
        person: whose concept it is; their own choice of pictures is not used.
        members: all pictures of the concept in the archive.
        seed: of the split.
    """
    chooser = random.Random(seed)  # noqa: S311 - a reproducible choice of pictures, no secret
    shuffled = chooser.sample(sorted(members), len(members))
    cut = max(PICTURES[0], len(shuffled) // 2)
    both = (tuple(sorted(shuffled[:cut])), tuple(sorted(shuffled[cut:])))
    first, second = (
        Person(
            number=person.number,
            kind=person.kind,
            subject=person.subject,
            class_word=person.class_word,
            pictures=pictures,
        )
        for pictures in both
    )
    return first, second


def displacement(engine: Engine, person: Person, seed: int) -> NDArray[np.float32]:
    """Learn a person's concept as their device would, without a prior; shape (width,)."""
    from client.learn.search import learn  # noqa: PLC0415 - torch takes seconds, and only making the file needs it
    from client.learn.settings import Settings  # noqa: PLC0415 - the same
    from client.photos import load_photos, stack  # noqa: PLC0415 - the same

    with tempfile.TemporaryDirectory() as folder:
        photos, _ = load_photos(write_pictures(person, Path(folder)), engine.pixel_size)
    settings = Settings(forwards=FORWARDS, seed=seed)
    learned = learn(
        engine, engine.encode(stack(photos)), kind=person.kind, class_word=person.class_word, settings=settings
    )
    return learned.token - learned.anchor


def learn_all(count: int, parts: Path = PARTS) -> None:
    """Learn everybody twice, skipping those who are there already."""
    import zipfile  # noqa: PLC0415 - the same

    from client.backbone.choice import open_engine  # noqa: PLC0415 - the same
    from simulations.basis import public_basis  # noqa: PLC0415 - the same
    from simulations.demo import MODEL  # noqa: PLC0415 - the same

    engine = open_engine(MODEL, parts.parent / "engines", threads=1)
    parts.mkdir(parents=True, exist_ok=True)
    np.save(parts / "public_basis.npy", public_basis(engine))
    with zipfile.ZipFile(ARCHIVE) as file:
        members = file.namelist()
    for person in people(count, 0, seed=0):
        part = parts / f"{person.number:03}.npz"
        if part.exists():
            continue
        whole = [m for m in members if m.startswith(f"object/{person.class_word}/{person.subject}/")]
        pair = [displacement(engine, half, 2 * person.number + i) for i, half in enumerate(halves(person, whole, 0))]
        np.savez(part, subject=person.subject, class_word=person.class_word, first=pair[0], second=pair[1])
        print(f"{person.number + 1} of {count}: {person.subject}", flush=True)


def pack(parts: Path = PARTS, target: Path = SOURCE) -> int:
    """Write one file of all pairs that were learned; return how many."""
    found = [np.load(path, allow_pickle=False) for path in sorted(parts.glob("[0-9]*.npz"))]
    np.savez_compressed(
        target,
        subjects=np.array([str(part["subject"]) for part in found]),
        class_words=np.array([str(part["class_word"]) for part in found]),
        first=np.array([part["first"] for part in found], dtype=np.float16),
        second=np.array([part["second"] for part in found], dtype=np.float16),
        public_basis=np.load(parts / "public_basis.npy", allow_pickle=False).astype(np.float32),
    )
    return len(found)


if __name__ == "__main__":
    learn_all(int(sys.argv[1]) if len(sys.argv) > 1 else 150)
    print(f"{pack()} people, {SOURCE.stat().st_size / 1e3:.0f} kB in {SOURCE}")
