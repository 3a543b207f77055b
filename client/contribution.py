"""The only exit for anything derived from photos.

Whatever a device ever sends about its pictures is the return value of `contribute`, or the yes or no of
`is_pending`. What protects the person happens in here, in one piece: clip, encode, noise, mask, book, and only then
return. Nothing else that talks to a server may open the vault (tests/unit/client/test_only_exit.py).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from client.database import Database
from client.identity import operator_key
from client.ledger import append, read, writing
from client.participation import advance, resume
from client.priors import held_prior, width_of
from client.rules import Device, admit_round, booking
from client.vault import Vault, mark_contributed
from common.errors import PriorError, ProtocolError, StaleRoundError, VaultError
from common.messages import RoundCall, RoundStep, pack_basis, unpack_basis
from common.mixture import responsibilities
from common.prior import MAXIMUM_NORM, Cohort, check_cohorts, check_public_basis, open_prior
from common.privacy import Mechanism, Randomness, draw_share, encode, reduce
from common.secagg.client import mask
from common.secagg.states import Shared
from common.secagg.transcript import digest_roster
from common.statistics import block_length, blocks, clip

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MINIMUM_CLIP: Final = 1e-6
"""In units of the embedding; below it everybody would contribute the same direction-only vector."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Announcement:
    """A round as this device understands it: what was announced, with the basis and cohorts held for it."""

    round_id: str
    backbone: str
    """SHA-256 of the weights, lower-case hex."""
    kind: str
    prior_version: int
    """The version whose cohorts are below; 0 while there is none."""
    public_basis: NDArray[np.float64]
    """P, shape (width, dimensions), orthonormal columns."""
    cohorts: tuple[Cohort, ...]
    """Empty while there is no prior."""
    clip: float
    """C > 0, in units of the embedding."""

    @property
    def length(self) -> int:
        """Count the numbers of a contribution: max(1, J) · `block_length(dimensions)`."""
        return max(1, len(self.cohorts)) * block_length(self.public_basis.shape[1])


def is_pending(device: Device, kind: str, backbone: str) -> bool:
    """Say whether there is something of this kind of which nothing was ever contributed."""
    return Vault(device.folder).pending(kind, backbone) is not None


def contribute(device: Device, step: RoundStep) -> bytes:
    """Answer `train.masked`: the oldest pending concept, clipped, encoded, noised, masked, and booked before it leaves.

    The ledger's line, the mark on the concept and the round's next state are one transaction, durable before this
    returns. A crash before it costs nothing and sends nothing; one after it loses the contribution, and its cost
    stays booked.

    Raises:
        StaleRoundError: nothing is pending, the round is over or runs under another prior, or it has its answer.
        VaultError: not enrolled, a stored token or the ledger is damaged, or something was booked before.
        BudgetExhaustedError: the round would cost more than the person allows.
        ProtocolError: what was sent breaks the protocol.
    """
    with writing(Database(device.folder)) as rows:
        call, state = resume(rows, step, Shared)
        announced = announcement(device.folder, call)
        concept = Vault(device.folder).pending(call.kind, call.backbone)
        if concept is None:
            raise StaleRoundError("nothing of this kind is pending: sit this round out")
        number = mark_contributed(rows, concept.name, call.round_id, call.prior_version)
        event = booking(state.advertised.rules, call, people=len(state.roster.members), concept=number)
        admit_round(device, read(rows, device.folder), event)
        seed = digest_roster(state.advertised.rules, state.roster)  # signed by everybody, chosen by nobody
        integers = protect(contribution(concept.displacement, announced), call.mechanism(), seed, Randomness())
        following, reply = mask(state, step.request, integers)
        append(rows, device.folder, event)
        advance(rows, call.round_id, following)
    return reply


def protect(
    vector: NDArray[np.float64], mechanism: Mechanism, seed: bytes, randomness: Randomness
) -> NDArray[np.uint32]:
    """Encode a contribution and add this device's own share of the noise, modulo 2^b: ready to be masked.

    Args:
        vector: as `contribution` gives it, shape (length,).
        mechanism: as announced.
        seed: of the public rotation.
        randomness: of the device.

    Returns:
        Shape (padded,).
    """
    encoded = encode(vector, mechanism, seed=seed, randomness=randomness)
    return reduce(encoded + draw_share(mechanism, randomness), mechanism)


def contribution(displacement: NDArray[np.floating], announced: Announcement) -> NDArray[np.float64]:
    """Turn a displacement into the one vector that is then protected.

    Design, section 3: x = Pᵀδ, clipped to ‖x‖ ≤ C, with responsibilities under the announced cohorts; then
    `common.statistics.blocks`, whose norm is at most `common.statistics.sensitivity()`.

    Args:
        displacement: δ = token − anchor, shape (width,), or (stages * vectors * width,): a concept of several
            vectors, or of a token for each stage of denoising, contributes their mean, so that it weighs as much as any
            other.
        announced: the round that this is for.

    Returns:
        Shape (max(1, J) · `block_length(dimensions)`,).

    Raises:
        VaultError: the displacement is not finite; nothing leaves.
        ProtocolError: the announcement is unusable; nothing leaves.
    """
    delta = np.asarray(displacement, dtype=np.float64)
    if delta.ndim != 1 or not np.all(np.isfinite(delta)):
        raise VaultError("the stored token is damaged: forget this concept and learn it again")
    width = len(announced.public_basis)
    if width and len(delta) > width and len(delta) % width == 0:
        delta = delta.reshape(-1, width).mean(axis=0)
    _check(announced, width=len(delta))
    x = clip(announced.public_basis.T @ delta, announced.clip)
    return blocks(x, responsibilities(x, announced.cohorts), announced.clip)


def announcement(folder: Path, call: RoundCall) -> Announcement:
    """Complete a call with the basis and cohorts of the prior held, or with the opening round's own basis.

    Raises:
        StaleRoundError: the round runs under another prior than the one held, or for a backbone not in use.
        ProtocolError: the basis is another than the one announced, or something in it is unusable.
        PriorError: the prior held is not what the operator signed.
    """
    width = width_of(folder, call.backbone)
    if width is None:
        raise StaleRoundError("the round is for a backbone that is not in use here: sit it out")
    signed = held_prior(folder, call.backbone, call.kind)
    prior = None
    if signed:
        prior = open_prior(signed, public_key=operator_key(folder), backbone=call.backbone, width=width)
    held = (prior.version, hashlib.sha256(signed.payload).digest()) if prior and signed else (0, b"")
    if held != (call.prior_version, call.prior_digest):
        raise StaleRoundError(f"the round runs under version {call.prior_version}, not the one held: wait for the next")
    basis = prior.public_basis if prior else unpack_basis(call.public_basis, width=width)
    if hashlib.sha256(pack_basis(basis)).digest() != call.basis_digest:
        raise ProtocolError("the public basis is another than the one announced: sit this round out")
    announced = Announcement(
        round_id=call.round_id,
        backbone=call.backbone,
        kind=call.kind,
        prior_version=call.prior_version,
        public_basis=basis,
        cohorts=prior.cohorts if prior else (),
        clip=call.clip,
    )
    _check(announced, width=width)
    if announced.length != call.length:
        raise ProtocolError(f"{call.length} numbers announced, a contribution has {announced.length}: sit it out")
    return announced


def _check(announced: Announcement, *, width: int) -> None:
    if not MINIMUM_CLIP <= announced.clip <= MAXIMUM_NORM:  # also refuses NaN
        raise ProtocolError(
            f"clip must be {MINIMUM_CLIP:g} to {MAXIMUM_NORM:g}, got {announced.clip:g}: sit this round out"
        )
    try:
        check_public_basis(announced.public_basis, width=width)
        if announced.cohorts:
            check_cohorts(announced.cohorts, dimensions=announced.public_basis.shape[1])
    except PriorError as error:
        raise ProtocolError(f"round announced with an unusable prior ({error}): sit this round out") from error
