"""The priors that a person holds: verified before they are kept, and again whenever one is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from client.agreement import is_agreed
from client.database import Database
from client.identity import operator_key
from common.errors import PriorError
from common.prior import SignedPrior, decode_prior, open_prior

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from common.messages import PriorNotice
    from common.prior import Prior


def admit_backbone(folder: Path, fingerprint: str, width: int) -> None:
    """Note that this person uses a backbone, so that priors for it are welcome.

    Args:
        folder: the person's state folder.
        fingerprint: SHA-256 of the weights, lower-case hex.
        width: length of its token vectors.
    """
    with Database(folder).transaction() as rows:
        rows.execute("INSERT OR REPLACE INTO backbones VALUES (?, ?)", (fingerprint, width))


def width_of(folder: Path, backbone: str) -> int | None:
    """Give the token width of a backbone in use; None for any other."""
    with Database(folder).transaction("DEFERRED") as rows:
        found = rows.execute("SELECT width FROM backbones WHERE fingerprint = ?", (backbone,)).fetchone()
    return cast("int", found[0]) if found else None


def keep_prior(folder: Path, signed: SignedPrior) -> None:
    """Keep a prior that `common.prior.open_prior` accepted, unless a newer one is here already.

    The same one again replaces its signature: the operator's key may have given way to another.

    Raises:
        PriorError: it cannot even be decoded.
    """
    prior = decode_prior(signed.payload)
    with Database(folder).transaction() as rows:
        rows.execute(
            "INSERT INTO priors VALUES (?, ?, ?, ?, ?) ON CONFLICT (backbone, kind) DO UPDATE SET"
            " version = excluded.version, payload = excluded.payload, signature = excluded.signature"
            " WHERE excluded.version > priors.version OR excluded.payload = priors.payload",
            (prior.backbone, prior.kind, prior.version, signed.payload, signed.signature),
        )


def held_prior(folder: Path, backbone: str, kind: str) -> SignedPrior | None:
    """Give the newest prior kept, as it was signed; `current_prior` verifies and opens it."""
    query = "SELECT payload, signature FROM priors WHERE backbone = ? AND kind = ?"
    with Database(folder).transaction("DEFERRED") as rows:
        found = rows.execute(query, (backbone, kind)).fetchone()
    return SignedPrior(payload=found[0], signature=found[1]) if found else None


def current_prior(folder: Path, backbone: str, kind: str) -> Prior | None:
    """Give the newest prior this person holds, verified anew; None while there is none.

    Raises:
        PriorError: what lies in the vault is not what the operator signed.
        VaultError: the vault cannot be read, or the person is not enrolled.
    """
    signed, width = held_prior(folder, backbone, kind), width_of(folder, backbone)
    if signed is None or width is None:
        return None
    return open_prior(signed, public_key=operator_key(folder), backbone=backbone, width=width)


def trusted_prior(folder: Path, backbone: str, kind: str, says: Callable[[str], None]) -> Prior | None:
    """Give the prior kept, as `current_prior`; one that cannot be trusted is left out, and ``says`` is told why."""
    try:
        return current_prior(folder, backbone, kind)
    except PriorError as error:
        says(f"learning without the federation's prior: {error}")
        return None


def held_version(folder: Path, backbone: str, kind: str) -> int:
    """Give the version of the prior that this person trusts; 0 where there is none to be trusted."""
    try:
        prior = current_prior(folder, backbone, kind)
    except PriorError:
        return 0
    return prior.version if prior else 0


def receive_prior(folder: Path, notice: PriorNotice) -> Prior:
    """Verify a prior, then keep it; on any doubt the last good one stays.

    Raises:
        PriorError: signature, backbone, numbers or age are wrong.
        VaultError: the vault cannot be used, or the person is not enrolled.
    """
    width = width_of(folder, notice.backbone)
    if width is None:
        raise PriorError(f"backbone {notice.backbone[:12]} is not in use here: join for it first")
    signed = SignedPrior(payload=notice.payload, signature=notice.signature)
    prior = open_prior(signed, public_key=operator_key(folder), backbone=notice.backbone, width=width)
    if not is_agreed(folder, prior.backbone, prior.kind):
        raise PriorError(f"a prior of {prior.kind} for this model is not what was agreed to when joining: keep none")
    held = held_prior(folder, prior.backbone, prior.kind)
    if held is not None and held.payload != signed.payload:
        _refuse_older(prior, held_version(folder, prior.backbone, prior.kind))
    keep_prior(folder, signed)
    return prior


def _refuse_older(prior: Prior, held: int) -> None:
    if prior.version <= held:
        raise PriorError(f"version {prior.version} does not follow the {held} held here: keep the newer prior")
