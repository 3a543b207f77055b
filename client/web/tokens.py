"""The concepts in a prompt, as the drawing process needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from client.vault import Vault
from client.web.studio import Token

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from client.choices import Vectors


def tokens_in(home: Path, *prompts: str) -> tuple[Token, ...]:
    """Return the tokens of the concepts that stand in prompts as `<name>` or `<name:strength>`.

    Raises:
        VaultError: a concept is unknown.
        ConfigError: a strength is none.
    """
    return tuple(token(one.name, one.token, one.backbone, one.stages) for one in Vault(home).taught(*prompts))


def token(name: str, vectors: NDArray[np.float32], backbone: str = "", stages: int = 1) -> Token:
    """Return one token; `vectors` has shape (width,) or (tokens, width)."""
    rows = tuple(tuple(float(number) for number in row) for row in np.atleast_2d(vectors))
    return Token(name=name, vectors=rows, backbone=backbone, stages=stages)


def rows_of(tokens: tuple[Token, ...]) -> tuple[tuple[str, Vectors], ...]:
    """Return tokens as a recipe holds them: by name, a row for each stage."""
    split = [(one.name, np.array(one.vectors, np.float32).reshape(one.stages, -1).tolist()) for one in tokens]
    return tuple((name, tuple(map(tuple, rows))) for name, rows in split)
