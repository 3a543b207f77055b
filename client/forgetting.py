"""Forgets a concept: everything on this device that was made of its photos. The photos stay where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from client.choices import Choices
from client.course import Course
from client.unfinished import forget_unfinished
from client.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path

STAYS: Final = (
    "If it took part in a round, what was given stays in that round's sum: sums already made cannot be undone. "
    "No sum shows it by itself."
)
"""What a person must know before they forget."""


def forget(home: Path, name: str) -> str | None:
    """Delete a concept's token, checkpoints, samples and the choices between pictures of it, for good.

    Returns:
        When it went into a sum, which nobody can take back; None if it never did.

    Raises:
        VaultError: there is no such concept; what was left of an unfinished learning of that name is deleted still.
    """
    Course(home).forget(name)
    Choices(home).forget(name)
    forget_unfinished(home, name)
    return Vault(home).forget(name)
