"""The operator's signing key: made at first use, readable by its owner alone."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from common.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

KEY_FILE: Final = "signing-key.pem"


def signing_key(folder: Path, name: str = KEY_FILE) -> Ed25519PrivateKey:
    """Load the Ed25519 key that signs priors from the server's state folder, or make one there.

    Of several processes that make one at the same time, one wins and all get its key.

    Args:
        folder: the state folder; made (mode 0700) if it is missing.
        name: the key's file.

    Raises:
        ConfigError: the file is no Ed25519 key, or others than its owner can read or write it.
    """
    path = folder / name
    if not path.exists():
        _create(path)
    mode = path.stat().st_mode
    if mode & 0o077:
        raise ConfigError(
            f"{path} has mode {mode & 0o777:04o}: run chmod 600 on it, and make a new key if others had access"
        )
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} is not an unencrypted Ed25519 key in PEM: restore it from its backup")
    return key


def public_pem(key: Ed25519PrivateKey) -> bytes:
    """Give the public half as PEM: what devices pin at enrolment."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _create(path: Path) -> None:
    """Write a fresh key completely under another name, then give it its name unless another process was first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)
    except FileExistsError:
        return  # the other process's key is the key
    finally:
        draft.unlink()
