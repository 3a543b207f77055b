"""What is known of a person's taste: where in a shape it lies and how surely, kept sealed in the vault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from client.database import Database
from client.learn.subspace import Shape
from client.sealing import seal_of
from client.taste.standing import TABLE
from common.errors import VaultError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Belief:
    """A normal distribution over places of a shape, and the token that was learned."""

    shape: Shape
    place: Tensor
    """The most probable place, shape (k,)."""
    precision: Tensor
    """Inverse covariance around it, shape (k, k)."""
    anchor: Tensor
    """What displacements are counted from, shape (d,)."""
    token: Tensor
    """What was learned, shape (d,)."""

    def sampled(self, count: int, generator: torch.Generator) -> Tensor:
        """Return tokens that the taste may as well be, shape (count, d): a draw of Thompson's (1933) each."""
        root = torch.linalg.cholesky(self.precision)
        noise = torch.randn(len(self.place), count, generator=generator)
        places = self.place + torch.linalg.solve_triangular(root.T, noise, upper=True).T
        return self.shape.token(places)


class Tastes:
    """The beliefs on one device, one a backbone; safe to use from several processes at once."""

    def __init__(self, folder: Path) -> None:
        """Open them in a state folder.

        Raises:
            VaultError: the folder cannot be written, or the file is no vault of this version.
        """
        self._database = Database(folder, TABLE)

    def keep(self, backbone: str, belief: Belief, choices: str) -> None:
        """Keep what is believed after certain choices, in place of what was."""
        shape = {"origin": belief.shape.origin, "axes": belief.shape.axes, "rest": belief.shape.rest}
        rest = {"place": belief.place, "precision": belief.precision, "anchor": belief.anchor, "token": belief.token}
        data = save({name: tensor.contiguous().clone() for name, tensor in (shape | rest).items()})  # some are shared
        with self._database.transaction() as rows:
            sealed = seal_of(rows).seal(data, f"taste/{backbone}")
            rows.execute("INSERT OR REPLACE INTO tastes VALUES (?, ?, ?)", (backbone, choices, sealed))

    def held(self, backbone: str) -> Belief | None:
        """Return what is believed of a taste on a backbone; None before anything is.

        Raises:
            VaultError: it is damaged, or the vault's key cannot be had.
        """
        with self._database.transaction("DEFERRED") as rows:
            found = rows.execute("SELECT belief FROM tastes WHERE backbone = ?", (backbone,)).fetchone()
            if found is None:
                return None
            data = seal_of(rows).open(found[0], f"taste/{backbone}")
        try:
            tensors = load(data)
            shape = Shape(**{name: tensors.pop(name) for name in ("origin", "axes", "rest")})
            return Belief(shape=shape, **tensors)
        except (SafetensorError, KeyError, TypeError) as error:
            raise VaultError("what is known of your taste is damaged: shoal forget taste, then rate again") from error
