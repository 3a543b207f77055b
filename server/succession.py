"""The signing key's successors: how a fresh key takes the place of the present one in a state folder.

    signing-key.next.pem   the fresh key, until it takes the other's place
    succession.json        who vouched for whom, `common.succession`; part of the terms from then on

Each step is on disk before the next begins, and a rotation that was interrupted is gone on with by the next.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from common.errors import ConfigError, PriorError, ProtocolError
from common.prior import SignedPrior, is_signed, sign_payload
from common.succession import MOST, Link, read_links, succeed, to_plain
from server.keys import KEY_FILE, signing_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SUCCESSION: Final = "succession.json"
NEXT_FILE: Final = "signing-key.next.pem"


def rotated(folder: Path) -> Link:
    """Let a fresh key take the signing key's place; give the link between the two.

    Raises:
        ConfigError: there were too many before, or what lies in the folder cannot be used.
    """
    links, now = succession(folder), signing_key(folder)
    if len(links) >= MOST:
        raise ConfigError(f"{MOST} keys followed one another already: begin a new federation")
    fresh = signing_key(folder, NEXT_FILE)
    ends = tuple(key.public_key().public_bytes_raw() for key in (now, fresh))
    link = next((one for one in links if (one.previous, one.following) == ends), None)
    if link is None:
        link = succeed(now, fresh)
        _keep(folder, [*links, link])
    (folder / NEXT_FILE).replace(folder / KEY_FILE)
    _settle(folder)
    return link


def succession(folder: Path) -> tuple[Link, ...]:
    """Read who vouched for whom in a state folder; nothing where there was one key only.

    Raises:
        ConfigError: it cannot be read.
    """
    path = folder / SUCCESSION
    if not path.exists():
        return ()
    try:
        return read_links(json.loads(path.read_bytes()))
    except (OSError, ValueError, ProtocolError) as error:
        raise ConfigError(f"{path} cannot be read: restore it from a backup, devices need it") from error


def signed_now(signed: SignedPrior, key: Ed25519PrivateKey, links: Sequence[Link]) -> SignedPrior:
    """Give a prior under the present key, which signs anew what a key before it signed.

    Raises:
        PriorError: none of them signed it: whoever can write the registry cannot have it signed thereby.
    """
    if is_signed(signed, key.public_key()):
        return signed
    if not any(is_signed(signed, Ed25519PublicKey.from_public_bytes(link.previous)) for link in links):
        raise PriorError("a prior on record bears no signature of this server's: `priors verify` says which")
    return SignedPrior(payload=signed.payload, signature=sign_payload(signed.payload, key))


def _keep(folder: Path, links: list[Link]) -> None:
    draft = folder / f".{SUCCESSION}.draft"
    with draft.open("w", encoding="ascii") as file:
        json.dump(to_plain(links), file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / SUCCESSION)
    _settle(folder)


def _settle(folder: Path) -> None:
    """Have a folder's names on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
