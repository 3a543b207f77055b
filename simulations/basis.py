"""The public basis P: directions that anyone can compute from the backbone alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from client.backbone.engine import Engine

DIMENSIONS = 64
"""p, the width of what people contribute (design, section 3)."""


def public_basis(engine: Engine, dimensions: int = DIMENSIONS) -> NDArray[np.float32]:
    """Return the leading principal directions of the vocabulary, shape (d, p), orthonormal columns.

    The signs are fixed (the largest entry of a column is positive), so that everybody computes the same matrix.
    """
    table = engine.vocabulary().double().numpy()
    _, _, rows = np.linalg.svd(table - table.mean(axis=0), full_matrices=False)
    basis = rows[:dimensions].T
    peaks = basis[np.abs(basis).argmax(axis=0), np.arange(dimensions)]
    return np.ascontiguousarray(basis * np.sign(peaks), dtype=np.float32)
