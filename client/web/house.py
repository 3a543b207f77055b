"""What all parts of the page share."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from client.web.lessons import Lessons
from client.web.pairs import Pairs
from client.web.studio import Studio

if TYPE_CHECKING:
    from pathlib import Path

    from client.web.sessions import Sessions

SEEDS = 2**31


@dataclass(slots=True, eq=False)
class House:
    """One person's page while it is served."""

    home: Path
    """The state folder."""
    studio: Studio
    sessions: Sessions
    port: int
    place: str
    """The path under which all is served, as `/4f0c...`."""
    model: str | None = None
    """Which backbone; None for the default one."""
    lessons: Lessons = field(init=False)
    pairs: Pairs = field(init=False)

    def __post_init__(self) -> None:
        """Make what hangs on the others."""
        self.lessons = Lessons(self.home, self.model)
        self.pairs = Pairs(self.home, self.studio, new_seed)


def new_seed() -> int:
    """Return a seed that nobody chose."""
    return secrets.randbelow(SEEDS)
