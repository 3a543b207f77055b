"""The public basis P: directions that anyone can compute from the backbone alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from client.backbone.engine import Engine
from client.learn.subspace import principal_directions, vocabulary_covariance

DIMENSIONS = 64
"""p, the width of what people contribute (design, section 3)."""


def public_basis(engine: Engine, dimensions: int = DIMENSIONS) -> NDArray[np.float32]:
    """Return the leading principal directions of the vocabulary, shape (d, p), orthonormal columns.

    The signs are fixed (the largest entry of a column is positive), so that everybody computes the same matrix.
    """
    basis = principal_directions(vocabulary_covariance(engine.vocabulary()), dimensions)[0].numpy()
    peaks = basis[np.abs(basis).argmax(axis=0), np.arange(dimensions)]
    return np.ascontiguousarray(basis * np.sign(peaks), dtype=np.float32)
