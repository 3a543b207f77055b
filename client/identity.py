"""Who this device is to one operator: the operator's key, pinned; its own Ed25519 key; the certificate on that.

Enrolment goes request -> certificate -> kept, whoever carries the bytes: an enrolment service, or a simulation that
holds the operator's key itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from client.database import FILE, Database
from client.sealing import seal_of
from common.enrolment import request
from common.errors import VaultError
from common.secagg.identity import Identity, check_certificate

if TYPE_CHECKING:
    from pathlib import Path


_LABEL: Final = "enrolment/private"


class _Row(NamedTuple):
    operator: bytes
    private: bytes
    """Sealed."""
    certificate: bytes | None


def request_enrolment(folder: Path, operator: Ed25519PublicKey) -> bytes:
    """Pin the operator's key, make this device's own key once, and give the bytes that ask for its certificate.

    Raises:
        VaultError: another operator's key is pinned here.
    """
    asked = operator.public_bytes_raw()
    with Database(folder).transaction() as rows:
        seal = seal_of(rows)
        fresh = seal.seal(Ed25519PrivateKey.generate().private_bytes_raw(), _LABEL)
        rows.execute("INSERT OR IGNORE INTO enrolment VALUES (1, ?, ?, NULL)", (asked, fresh))
        pinned, kept = rows.execute("SELECT operator, private FROM enrolment").fetchone()
        private = seal.open(kept, _LABEL)
    if pinned != asked:
        raise VaultError(f"{folder} holds another operator's key: use another state folder for another operator")
    return request(Ed25519PrivateKey.from_private_bytes(private), asked)


def keep_certificate(folder: Path, certificate: bytes) -> None:
    """Keep the operator's answer.

    Raises:
        VaultError: nothing was requested, or it is no certificate of the pinned operator for this device's key.
    """
    row = _read(folder)
    if row is None:
        raise VaultError(f"{folder} never asked for a certificate: join first")
    public = Ed25519PrivateKey.from_private_bytes(_opened(folder, row)).public_key().public_bytes_raw()
    if not check_certificate(row.operator, public, certificate):
        raise VaultError("the certificate is not by the pinned operator for this device's key: ask the operator anew")
    with Database(folder).transaction() as rows:
        rows.execute("UPDATE enrolment SET certificate = ?", (certificate,))


def request_again(folder: Path, operator: Ed25519PublicKey) -> bytes:
    """Give the bytes that ask the key which follows the pinned one for a certificate; nothing is pinned by it.

    Raises:
        VaultError: this device never asked for one.
    """
    row = _read(folder)
    if row is None:
        raise VaultError(f"{folder} never asked for a certificate: join first")
    return request(Ed25519PrivateKey.from_private_bytes(_opened(folder, row)), operator.public_bytes_raw())


def succeed(folder: Path, operator: Ed25519PublicKey, certificate: bytes) -> None:
    """Pin the key that follows the pinned one, with its certificate; `common.terms.open_terms` saw that it follows.

    Raises:
        VaultError: it is no certificate of that key for this device's.
    """
    row = _read(folder)
    if row is None:
        raise VaultError(f"{folder} never joined a federation: join first")
    public = Ed25519PrivateKey.from_private_bytes(_opened(folder, row)).public_key().public_bytes_raw()
    pinned = operator.public_bytes_raw()
    if not check_certificate(pinned, public, certificate):
        raise VaultError("the certificate is not by the operator's fresh key for this device's: ask the operator")
    with Database(folder).transaction() as rows:
        rows.execute("DELETE FROM enrolment")  # a row's keys do not change: the vault sees to it
        rows.execute("INSERT INTO enrolment VALUES (1, ?, ?, ?)", (pinned, row.private, certificate))


def is_enrolled(folder: Path) -> bool:
    """Tell whether this person joined a federation; makes nothing where there is nothing."""
    row = _read(folder)
    return row is not None and row.certificate is not None


def operator_key(folder: Path) -> Ed25519PublicKey:
    """Give the pinned key.

    Raises:
        VaultError: there is none.
    """
    row = _read(folder)
    if row is None:
        raise VaultError(f"no operator's key in {folder}: join first")
    return Ed25519PublicKey.from_public_bytes(row.operator)


def identity(folder: Path) -> Identity:
    """Give the device's key and certificate.

    Raises:
        VaultError: it is not enrolled.
    """
    row = _read(folder)
    if row is None or row.certificate is None:
        raise VaultError(f"{folder} never joined a federation: nothing leaves before enrolment")
    return Identity(secret=_opened(folder, row), certificate=row.certificate)


def _opened(folder: Path, row: _Row) -> bytes:
    with Database(folder).transaction("DEFERRED") as rows:
        return seal_of(rows).open(row.private, _LABEL)


def _read(folder: Path) -> _Row | None:
    if not (folder / FILE).is_file():
        return None
    with Database(folder).transaction("DEFERRED") as rows:
        found = rows.execute("SELECT operator, private, certificate FROM enrolment").fetchone()
    return _Row(*found) if found else None
