"""Virtual people with made-up concepts on a made-up backbone: whole vaults in milliseconds, for tests and attacks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from client.federation import enrol
from client.vault import Concept
from common.enrolment import answer
from simulations.vaults import virtual_vault

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from numpy.typing import NDArray

    from common.prior import Kind

BACKBONE: Final = "ab" * 32
WIDTH: Final = 24
DIMENSIONS: Final = 4


def public_basis(seed: int = 0) -> NDArray[np.float64]:
    """Give a public basis as everybody holds it, rounded to float32; shape (WIDTH, DIMENSIONS)."""
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((WIDTH, DIMENSIONS)))[0]
    return basis.astype(np.float32).astype(np.float64)


def settle(folder: Path, operator: Ed25519PrivateKey) -> Path:
    """Enrol a person, holding the operator's key; give the folder."""
    virtual_vault(folder)
    enrol(folder, operator=operator.public_key(), certify=partial(answer, operator), backbone=BACKBONE, width=WIDTH)
    return folder


def teach(folder: Path, rng: np.random.Generator, *, name: str = "it", kind: Kind = "object") -> NDArray[np.float64]:
    """Leave a concept in a person's vault; give its displacement, shape (WIDTH,)."""
    anchor = rng.standard_normal(WIDTH).astype(np.float32)
    token = anchor + rng.normal(0.1, 0.2, WIDTH).astype(np.float32)
    concept = Concept(
        name=name,
        kind=kind,
        class_word="dog",
        backbone=BACKBONE,
        anchor=anchor,
        token=token,
        loss=1.0,
        forwards=9,
    )
    virtual_vault(folder).save_concept(concept)
    return concept.displacement
