"""Concepts in pictures that were chosen between: as a recipe holds them, a pipeline is taught them, an engine reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from client.placeholder import MENTION, said
from client.taught import Taught
from client.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from client.choices import Vectors
    from client.generate import Token


def as_tokens(concepts: Sequence[Token]) -> tuple[tuple[str, Vectors], ...]:
    """Return concepts as a recipe holds them."""
    rows = [(one.name, np.array(one.token, np.float32).reshape(one.stages, -1).tolist()) for one in concepts]
    return tuple((name, tuple(map(tuple, stages))) for name, stages in rows)


def tokens_of(held: tuple[tuple[str, Vectors], ...], backbone: str) -> list[Taught]:
    """Return the concepts that a recipe holds, as a pipeline is taught them."""
    return [Taught(name, backbone, np.array(rows, np.float32), len(rows)) for name, rows in held]


def said_plainly(home: Path, prompt: str) -> str:
    """Return a prompt with each concept as the word for what it is one of: what an engine can read."""
    words = {one.name: one.class_word for one in Vault(home).listed()}

    def plainly(mention: str) -> str:
        name, _ = said(mention)
        return words.get(name, "") or name

    return MENTION.sub(lambda found: plainly(found[1]), prompt)
