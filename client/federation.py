"""The person's side of the federation: what a device answers, and why it may refuse. No Flower in here.

Order matters: a contribution is booked in the vault before it is returned, and a prior is verified against the
operator's key, pinned at enrolment, before it is kept. What leaves the device about photos is made in
`client.contribution` and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from client.contribution import Announcement, contribution
from client.vault import Vault
from common.errors import PriorError, StaleRoundError, VaultError
from common.messages import PriorNotice, ReadyQuery, RoundCall, unpack_basis
from common.prior import SignedPrior, open_prior

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from common.prior import Prior

OPERATOR_KEY: Final = "operator.pub"
"""The pinned key, PEM, in the person's state folder; also the mark that this person takes part at all."""


def enrol(folder: Path, *, operator: Ed25519PublicKey, backbone: str, width: int) -> None:
    """Join a federation: pin the operator's key and admit the backbone. Once pinned, a key is never replaced.

    Args:
        folder: the person's state folder.
        operator: the key under which priors will be signed.
        backbone: SHA-256 of the weights, lower-case hex.
        width: length of that backbone's token vectors.

    Raises:
        VaultError: another operator's key is pinned here.
    """
    vault = Vault(folder)
    pinned = folder / OPERATOR_KEY
    pem = operator.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    try:
        with pinned.open("xb") as file:
            file.write(pem)
    except FileExistsError:
        if pinned.read_bytes() != pem:
            message = f"{pinned} holds another operator's key: remove it only if you mean to change operators"
            raise VaultError(message) from None
    vault.admit_backbone(backbone, width)


def is_enrolled(folder: Path) -> bool:
    """Tell whether this person joined a federation."""
    return (folder / OPERATOR_KEY).is_file()


def operator_key(folder: Path) -> Ed25519PublicKey:
    """Read the pinned key.

    Raises:
        VaultError: there is none, or the file is damaged.
    """
    try:
        key = load_pem_public_key((folder / OPERATOR_KEY).read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        message = f"no usable operator's key in {folder}: enrol again"
        raise VaultError(message) from error
    if not isinstance(key, Ed25519PublicKey):
        message = f"the operator's key in {folder} is not Ed25519: enrol again"
        raise VaultError(message)
    return key


def current_prior(folder: Path, backbone: str, kind: str) -> Prior | None:
    """Give the newest prior this person holds, verified anew; None while there is none.

    Raises:
        PriorError: what lies in the vault is not what the operator signed.
        VaultError: the vault cannot be read, or the person is not enrolled.
    """
    vault = Vault(folder)
    signed, width = vault.prior(backbone, kind), vault.width(backbone)
    if signed is None or width is None:
        return None
    return open_prior(signed, public_key=operator_key(folder), backbone=backbone, width=width)


def is_ready(folder: Path, query: ReadyQuery) -> bool:
    """Say whether something is pending and the person holds the very prior that the round would run under."""
    if not is_enrolled(folder):
        return False
    if Vault(folder).pending(query.kind, query.backbone) is None:
        return False
    return _held_version(folder, query.backbone, query.kind) == query.prior_version


def contribute(folder: Path, call: RoundCall) -> NDArray[np.float64]:
    """Book the oldest pending concept for this round, then give the vector that may leave.

    Raises:
        StaleRoundError: nothing is pending, or the round runs under another prior than the one held.
        VaultError: not enrolled, or booked before, by another process or for this same round; nothing leaves.
        ProtocolError: the call is unusable; nothing leaves, nothing is booked.
    """
    if not is_enrolled(folder):
        message = f"{folder} never joined a federation: nothing leaves before enrolment"
        raise VaultError(message)
    vault = Vault(folder)
    concept = vault.pending(call.kind, call.backbone)
    if concept is None:
        message = f"nothing of kind {call.kind} is pending: sit this round out"
        raise StaleRoundError(message)
    vector = contribution(concept.displacement, _announcement(folder, call, width=len(concept.token)))
    vault.mark_contributed(concept.name, call.round_id, call.prior_version)
    return vector


def receive_prior(folder: Path, notice: PriorNotice) -> Prior:
    """Verify a prior, then keep it; on any doubt the last good one stays.

    Raises:
        PriorError: signature, backbone, numbers or age are wrong.
        VaultError: the vault cannot be used, or the person is not enrolled.
    """
    vault = Vault(folder)
    width = vault.width(notice.backbone)
    if width is None:
        message = f"backbone {notice.backbone[:12]} is not in use here: enrol for it first"
        raise PriorError(message)
    signed = SignedPrior(payload=notice.payload, signature=notice.signature)
    prior = open_prior(signed, public_key=operator_key(folder), backbone=notice.backbone, width=width)
    held = vault.prior(prior.backbone, prior.kind)
    if held is not None and held.payload != signed.payload:
        _refuse_older(prior, _held_version(folder, prior.backbone, prior.kind))
    vault.save_prior(signed)
    return prior


def _refuse_older(prior: Prior, held: int) -> None:
    if prior.version <= held:
        message = f"version {prior.version} does not follow the {held} held here: keep the newer prior"
        raise PriorError(message)


def _held_version(folder: Path, backbone: str, kind: str) -> int:
    """Give the version of the prior that this person trusts; 0 where there is none to be trusted."""
    try:
        prior = current_prior(folder, backbone, kind)
    except PriorError:
        return 0
    return prior.version if prior else 0


def _announcement(folder: Path, call: RoundCall, *, width: int) -> Announcement:
    """Complete a call with the basis and cohorts of the prior held, or with the opening round's own basis."""
    prior = current_prior(folder, call.backbone, call.kind)
    if (prior.version if prior else 0) != call.prior_version:
        message = f"round {call.round_id} runs under version {call.prior_version}, not the one held: wait for the next"
        raise StaleRoundError(message)
    return Announcement(
        round_id=call.round_id,
        backbone=call.backbone,
        kind=call.kind,
        prior_version=call.prior_version,
        public_basis=prior.public_basis if prior else unpack_basis(call.public_basis, width=width),
        cohorts=prior.cohorts if prior else (),
        clip=call.clip,
    )
