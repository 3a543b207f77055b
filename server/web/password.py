"""The page's password: scrypt (RFC 7914) of it in a file of the state folder, never the password itself."""

from __future__ import annotations

import json
import os
import secrets
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from common.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "page-password.json"
SHORTEST: Final = 12
"""Characters. It opens what decides over everybody's prior."""
_N: Final = 2**15
"""scrypt's cost: 32 MiB and some 0.1 s for each guess (RFC 7914, section 2)."""
_LENGTH: Final = 32


def set_password(state: Path, password: str) -> None:
    """Replace the password; whoever is logged in stays so until their session ends.

    Raises:
        ConfigError: it is too short.
    """
    if len(password) < SHORTEST:
        raise ConfigError(f"a password of {len(password)} characters: use at least {SHORTEST}")
    salt = secrets.token_bytes(16)
    text = json.dumps({"salt": salt.hex(), "hash": _kdf(salt).derive(password.encode()).hex()})
    draft = state / f"{FILE}.{secrets.token_hex(8)}"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(state / FILE)


def has_password(state: Path) -> bool:
    """Tell whether one was set."""
    return (state / FILE).exists()


def is_password(state: Path, password: str) -> bool:
    """Tell whether this is it.

    Raises:
        ConfigError: the file is damaged.
    """
    if not has_password(state):
        return False
    try:
        found = json.loads((state / FILE).read_text(encoding="ascii"))
        salt, expected = bytes.fromhex(found["salt"]), bytes.fromhex(found["hash"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ConfigError(f"{state / FILE} cannot be read: set the password anew, `shoal-server password`") from error
    try:
        _kdf(salt).verify(password.encode(), expected)
    except InvalidKey:
        return False
    return True


def _kdf(salt: bytes) -> Scrypt:
    return Scrypt(salt=salt, length=_LENGTH, n=_N, r=8, p=1)
