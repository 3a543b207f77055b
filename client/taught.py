"""A concept as drawing needs it, wherever it comes from: a prompt's, an old picture's, a benchmark's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
