"""The choices that a taste is to be learned from, as the daemon tells one set from another."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from client.daemon.photo_set import PhotoSet
from client.taste.standing import unlearned

if TYPE_CHECKING:
    from pathlib import Path


def look_at_choices(home: Path, model: str | None) -> PhotoSet:
    """Return the choices as a set, told apart by numbers and answers; of none where all are learned."""
    count, names = unlearned(home)
    return PhotoSet(digest=hashlib.sha256(f"taste/{model}\0{names}".encode()).hexdigest(), count=count)
