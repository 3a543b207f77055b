"""What a device keeps of the federation that it joined, so that its daemon can connect: one file in the state folder.

The device's identity and certificate are in the vault (`client.identity`); here are the operator's terms as they were
signed, and the key by which Flower's SuperLink knows the device. A daemon does

    membership = read_membership(folder)
    with joined(membership, app, node_config={"state-folder": str(folder)}) as node:   # client.node
        attend(node, ...)

and nothing else is needed: address, certificate authority, node key and known bundles are in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from client.files import write_whole
from client.identity import operator_key
from common.errors import VaultError
from common.invitation import fingerprint
from common.terms import open_terms

if TYPE_CHECKING:
    from pathlib import Path

    from common.terms import Terms

FILE: Final = "membership.json"
KEY_FILE: Final = "node-key.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """One federation, joined."""

    terms: Terms
    node: int
    """The SuperLink's number for this device."""
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    """P-384, by which the SuperLink knows this device."""

    @property
    def address(self) -> str:
        """Where to connect: host and port."""
        return self.terms.address

    @property
    def authority(self) -> bytes | None:
        """The certificate that the server's must descend from, PEM; None for those that every system trusts."""
        return self.terms.authority.encode("ascii") or None

    @property
    def bundles(self) -> frozenset[str]:
        """Hashes of the bundles whose runs are answered."""
        return frozenset(self.terms.bundles)


def node_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    """Give this device's key for the SuperLink; it is made at the first call, readable by its owner alone.

    Raises:
        VaultError: what is in its place is no such key, or it cannot be written.
    """
    path = folder / KEY_FILE
    if not path.exists():
        fresh = ec.generate_private_key(ec.SECP384R1())
        text = fresh.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            write_whole(path, text, mode=0o600)
        except FileExistsError:
            pass  # another process was first, and its key is the key
        except OSError as error:
            raise VaultError(f"cannot write to {folder} ({error.strerror}): choose another state folder") from error
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise VaultError(f"{path} cannot be read as a key: restore it from a backup, or join anew") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise VaultError(f"{path} is no P-384 key: restore it from a backup, or join anew")
    return key


def public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """Give the public half as it is sent."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def keep_membership(folder: Path, signed: bytes, node: int) -> None:
    """Keep the operator's terms, as signed, and this device's number; in the place of older ones.

    Raises:
        VaultError: it cannot be written.
    """
    content = json.dumps({"terms": signed.decode(), "node": node}).encode()
    try:
        write_whole(folder / FILE, content, replace=True, mode=0o600)
    except OSError as error:
        raise VaultError(f"cannot write to {folder} ({error.strerror}): choose another state folder") from error


def is_member(folder: Path) -> bool:
    """Tell whether this person joined a federation."""
    return (folder / FILE).is_file()


def read_membership(folder: Path) -> Membership:
    """Read what `shoal join` kept; the terms are checked against the operator's key, pinned in the vault.

    Raises:
        VaultError: this person never joined, or the file is damaged.
        ProtocolError: the terms are not as the operator signed them.
    """
    path = folder / FILE
    if not path.is_file():
        raise VaultError("no federation was joined: shoal join URL CODE, with what an operator gave you")
    try:
        found = json.loads(path.read_bytes())
        signed, node = found["terms"].encode(), int(found["node"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise VaultError(f"{path} is damaged: join again, nothing else is lost") from error
    terms, _ = open_terms(signed, fingerprint(operator_key(folder).public_bytes_raw()))
    return Membership(terms=terms, node=node, key=node_key(folder))
