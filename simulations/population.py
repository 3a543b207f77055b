"""Simulated people and the pictures on their devices: objects and styles that the backbone never saw."""

from __future__ import annotations

import math
import random
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from common.errors import ConfigError

ARCHIVE = Path(__file__).with_name("data") / "held-out.zip"
"""Held-out pictures, packed by `simulations.pictograms.fixtures`; licences in NOTICE."""

PICTURES = (4, 6)
"""Fewest and most pictures of a person."""

CROWD = 10_000
"""Number of the first person of a `crowd`: nobody of `people` has it, and nobody of a crowd its double."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One simulated person: what they teach and which pictures they have of it."""

    number: int
    kind: Literal["object", "style"]
    subject: str
    """What the pictures show, for reports; the learner is never told."""
    class_word: str
    pictures: tuple[str, ...]
    """Members of the archive."""

    @property
    def captions(self) -> tuple[str, ...]:
        """What the person says of each picture of a style, ``{}`` for the style: no subject is to be guessed.

        An object's pictures go without: they show nothing else.
        """
        if self.kind == "object":
            return ()
        return tuple(f"{PurePosixPath(member).stem}, {{}} style" for member in self.pictures)


def _subjects(members: list[str]) -> dict[tuple[str, str], list[str]]:
    """Group an archive's objects by (class word, name)."""
    found: dict[tuple[str, str], list[str]] = {}
    for member in members:
        kind, *rest = member.split("/")
        if kind == "object":
            found.setdefault((rest[0], rest[1]), []).append(member)
    return found


def _members(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as file:
        return sorted(file.namelist())


def _unspoken(members: list[str], apart: Sequence[Person]) -> list[str]:
    """Return the pictures of the held-out style that are none of ``apart``'s."""
    spoken = {member for person in apart for member in person.pictures}
    return [member for member in members if member.startswith("style/") and member not in spoken]


def people(objects: int, styles: int, seed: int, archive: Path = ARCHIVE) -> list[Person]:
    """Draw people without replacement of subjects: first those with an object, then those with a style.

    People with a style share it (there is one held-out set) and differ in the pictures they own.

    Raises:
        ConfigError: more people are asked for than there are subjects or pictures.
    """
    members = _members(archive)
    chooser = random.Random(seed)  # noqa: S311 - a reproducible choice of pictures, no secret
    subjects = {k: v for k, v in _subjects(members).items() if len(v) >= PICTURES[0]}
    owned = [m for m in members if m.startswith("style/")]
    chooser.shuffle(owned)
    if objects > len(subjects) or styles * PICTURES[1] > len(owned):
        raise ConfigError(
            f"{objects} objects and {styles} styles were asked for; there are {len(subjects)} objects and pictures "
            f"for {len(owned) // PICTURES[1]} people with a style: ask for fewer"
        )
    found: list[Person] = []
    for (word, name), pictures in chooser.sample(sorted(subjects.items()), objects):
        count = min(len(pictures), chooser.randint(*PICTURES))
        chosen = tuple(sorted(chooser.sample(pictures, count)))
        found.append(Person(number=len(found), kind="object", subject=name, class_word=word, pictures=chosen))
    for _ in range(styles):
        chosen = tuple(sorted(owned.pop() for _ in range(chooser.randint(*PICTURES))))
        found.append(Person(number=len(found), kind="style", subject="vintage", class_word="", pictures=chosen))
    return found


def crowd(
    kind: Literal["object", "style"], count: int, apart: Sequence[Person], seed: int, archive: Path = ARCHIVE
) -> list[Person]:
    """Draw so many people who own nothing that ``apart`` teach, several of them the same thing where that must be.

    A person is (thing, which pictures of it). Objects go round, so that nobody's is taken a third time before all are
    taken twice; people with one object, and people with the style, share pictures but never all of them.

    Raises:
        ConfigError: nothing is left to draw from, or there are not so many choices of pictures.
    """
    members = _members(archive)
    chooser = random.Random(f"{kind}/{seed}")  # noqa: S311 - a reproducible choice of pictures, no secret
    theirs = {person.subject for person in apart} if kind == "object" else set()
    owned = {key: v for key, v in _subjects(members).items() if len(v) >= PICTURES[0] and key[1] not in theirs}
    if kind == "style":
        owned = {("", "vintage"): _unspoken(members, apart)}
    things = sorted(owned)
    most = min((math.comb(len(owned[thing]), PICTURES[0]) for thing in things), default=0) * len(things)
    if count > most:
        raise ConfigError(
            f"{count} people with an {kind} of their own were asked for besides {len(apart)}, and there is room for "
            f"{most}: ask for fewer"
        )
    chooser.shuffle(things)
    found: dict[tuple[str, ...], Person] = {}
    while len(found) < count:
        word, name = things[len(found) % len(things)]
        pictures = owned[word, name]
        size = min(len(pictures), chooser.randint(*PICTURES))
        chosen = tuple(sorted(chooser.sample(pictures, size)))
        if chosen not in found:
            found[chosen] = Person(number=CROWD + len(found), kind=kind, subject=name, class_word=word, pictures=chosen)
    return list(found.values())


def owner_of_many(apart: Sequence[Person], count: int, seed: int, archive: Path = ARCHIVE) -> Person:
    """Return somebody who owns so many pictures of the held-out style, or all there are, and none of ``apart``'s."""
    left = _unspoken(_members(archive), apart)
    chooser = random.Random(f"many/{seed}")  # noqa: S311 - a reproducible choice of pictures, no secret
    chosen = tuple(sorted(chooser.sample(left, min(count, len(left)))))
    return Person(number=2 * CROWD, kind="style", subject="vintage", class_word="", pictures=chosen)


def write_pictures(person: Person, folder: Path, archive: Path = ARCHIVE) -> Path:
    """Put a person's pictures as ordinary files into ``folder`` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive) as file:
        for i, member in enumerate(person.pictures):
            (folder / f"{i:02}.png").write_bytes(file.read(member))
    return folder
