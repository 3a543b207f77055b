"""The concepts as the page shows them: learned, being learned, or waiting in a watched folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from client.course import Course, Stage
from client.taste.standing import NAME as TASTE
from client.vault import Listed, Vault

if TYPE_CHECKING:
    from client.activity import Activity
    from client.settings import Watched


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """One concept."""

    name: str
    kind: str
    class_word: str
    concept: Listed | None
    """None until it is learned."""
    learning: bool
    """Now."""
    folder: Path | None
    """Where its photos are watched."""
    stages: tuple[Stage, ...] = ()

    @property
    def cover(self) -> Stage | None:
        """The latest moment that has a picture."""
        return next((stage for stage in reversed(self.stages) if stage.drawn), None)

    @property
    def state(self) -> str:
        """In a word or two."""
        if self.learning:
            return "learning again" if self.concept else "learning"
        return "learned" if self.concept else "waiting"


def shelf(home: Path, watched: tuple[Watched, ...], activity: Activity | None) -> list[Shown]:
    """Return every concept, what was learned first; photos are not looked at."""
    concepts = {concept.name: concept for concept in Vault(home).listed()}
    folders = {one.name: one for one in watched}
    now = activity.concept if activity is not None and activity.doing == "learning" else None
    names = [*concepts, *(name for name in folders if name not in concepts)]
    if now is not None and now not in names:
        names.append(now)
    course = Course(home)
    return [_shown(name, concepts.get(name), folders.get(name), course, learning=name == now) for name in names]


def _shown(name: str, concept: Listed | None, folder: Watched | None, course: Course, *, learning: bool) -> Shown:
    known = concept or folder
    return Shown(
        name=name,
        kind=known.kind if known else "taste" if name == TASTE else "object",
        class_word=known.class_word if known else "",
        concept=concept,
        learning=learning,
        folder=folder.folder if folder else None,
        stages=course.stages(name),
    )
