"""What the daemon may learn: the photos of a watched folder, or the taste. Knows no vault."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client.settings import Watched


@dataclass(frozen=True, slots=True, kw_only=True)
class Taste:
    """What a person likes; a `client.settings.Watched` without a folder."""

    name: str = "taste"
    kind: str = "taste"
    class_word: str = ""
    folder: Path = Path()


TASTE: Final = Taste()
Subject = Watched | Taste
"""What may be learned."""
