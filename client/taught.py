"""A concept as drawing needs it, wherever it comes from: a prompt's, an old picture's, a benchmark's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def said_at(strength: float, token: NDArray[np.float32], anchor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a token moved so much of the way from its anchor: 1 is the token itself, 0 the anchor at every stage.

    Args:
        strength: how much of the way.
        token: shape (stages * vectors * width,).
        anchor: shape (vectors * width,).
    """
    if strength == 1:
        return token
    begun = np.tile(anchor.astype(np.float64), token.size // anchor.size)
    return (begun + strength * (token - begun)).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """A token by the name that it has in a prompt: a `client.generate.Token`."""

    name: str
    """What stands between the brackets in a prompt: a name, or a name and a strength (`client.placeholder.said`)."""
    backbone: str
    """Fingerprint of the model that it was learned on."""
    token: NDArray[np.float32]
    """Its vectors, stage by stage."""
    stages: int = 1
