"""What an operator hands to a person: a code that names the operator, and lets one device in.

    code    base32 (RFC 4648, no padding, groups of six with dashes) of secret ‖ fingerprint
    secret  10 random bytes, spent by the first device that sends them; left out where the operator has the device's
            key file already

The fingerprint is of the operator's signing key, which signs the terms, which name the server's certificate: so a
person who has the code from the operator needs to trust nothing else, least of all the network. At 128 bits nobody
finds a second key with the same one.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Final

from common.errors import ConfigError

SECRET: Final = 10
"""Bytes: 80 bits, good for days at the few guesses a second that the server allows."""
FINGERPRINT: Final = 16
"""Bytes."""
_GROUP: Final = 6
_DOMAIN: Final = b"shoal operator 1\0"


@dataclass(frozen=True, slots=True)
class Invitation:
    """A code, read."""

    fingerprint: bytes
    """`fingerprint` of the operator's public key."""
    secret: bytes = field(default=b"", repr=False)
    """Empty: the operator has this device's key file."""

    def __post_init__(self) -> None:
        """Refuse other lengths."""
        if len(self.fingerprint) != FINGERPRINT or len(self.secret) not in {0, SECRET}:
            raise ConfigError(f"a code has {FINGERPRINT} or {SECRET + FINGERPRINT} bytes: ask the operator for one")


def fingerprint(operator: bytes) -> bytes:
    """Give the fingerprint of an operator's Ed25519 public key, 16 bytes."""
    return hashlib.sha256(_DOMAIN + operator).digest()[:FINGERPRINT]


def write_code(invitation: Invitation) -> str:
    """Spell an invitation."""
    text = base64.b32encode(invitation.secret + invitation.fingerprint).decode("ascii").rstrip("=")
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def read_code(text: str) -> Invitation:
    """Read a code as a person types it: in either case, with or without dashes and blanks.

    Raises:
        ConfigError: it is none.
    """
    plain = "".join(text.split()).replace("-", "").upper()
    try:
        data = base64.b32decode(plain + "=" * (-len(plain) % 8))
    except ValueError:
        data = b""
    if len(data) not in {FINGERPRINT, SECRET + FINGERPRINT}:
        raise ConfigError("this is no code of a Shoal operator: copy it whole, it has 26 or 42 letters and digits")
    return Invitation(data[-FINGERPRINT:], data[:-FINGERPRINT])
