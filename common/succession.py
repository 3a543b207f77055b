"""How an operator's signing key gives way to the next: each vouches for the one that follows it.

    link     {"previous": key, "following": key, "endorsement": signature, "acceptance": signature}, all in hex
    signed   the domain ‖ previous ‖ following, by either key (Ed25519, RFC 8032)

A device that pinned a key follows the links from there, and takes no other way to another key. The endorsement is the
old key's word that the new one speaks for the operator; the acceptance is the new key's, so that nobody can hand his
devices to an operator who did not ask for them. A link is worth what the old key is worth: who stole that can sign one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from common.errors import ProtocolError
from common.invitation import fingerprint
from common.secagg.identity import verify
from common.secagg.wire import KEY, SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MOST: Final = 32
"""Links that are read: one a year is more than anybody needs."""
_DOMAIN: Final = b"shoal succession 1\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One key gives way to the next."""

    previous: bytes
    """Public, 32 bytes."""
    following: bytes
    endorsement: bytes
    """By the previous key, 64 bytes."""
    acceptance: bytes
    """By the following key."""

    @property
    def holds(self) -> bool:
        """Whether both keys say so."""
        said = _DOMAIN + self.previous + self.following
        return verify(self.previous, self.endorsement, said) and verify(self.following, self.acceptance, said)


def succeed(previous: Ed25519PrivateKey, following: Ed25519PrivateKey) -> Link:
    """Let one key follow another."""
    old, new = (key.public_key().public_bytes_raw() for key in (previous, following))
    said = _DOMAIN + old + new
    return Link(previous=old, following=new, endorsement=previous.sign(said), acceptance=following.sign(said))


def follows(operator: bytes, pinned: bytes, links: Sequence[Link]) -> bool:
    """Tell whether a key is the pinned one or follows it, link by link.

    Args:
        operator: public key, 32 bytes.
        pinned: `common.invitation.fingerprint` of a key.
        links: as the operator gives them; those that lead elsewhere do not matter.
    """
    if fingerprint(operator) == pinned:
        return True
    step = {fingerprint(link.previous): link for link in links[:MOST] if link.holds}
    at, passed = pinned, set[bytes]()
    while at in step and at not in passed:
        passed.add(at)
        if step[at].following == operator:
            return True
        at = fingerprint(step[at].following)
    return False


def to_plain(links: Sequence[Link]) -> list[dict[str, str]]:
    """Give links as they stand in JSON."""
    return [{name: value.hex() for name, value in asdict(link).items()} for link in links]


def read_links(found: Any) -> tuple[Link, ...]:  # noqa: ANN401 - whatever a stranger wrote
    """Read links from JSON.

    Raises:
        ProtocolError: they are none, or more than `MOST`.
    """
    lengths = {"previous": KEY, "following": KEY, "endorsement": SIGNATURE, "acceptance": SIGNATURE}
    try:
        links = tuple(Link(**{name: bytes.fromhex(one[name]) for name in lengths}) for one in found[:MOST])
        fitting = all(len(getattr(link, name)) == length for link in links for name, length in lengths.items())
        exact = len(found) <= MOST and all(set(one) == set(lengths) for one in found)
    except (TypeError, ValueError, KeyError, AttributeError):
        exact = fitting = False
    if not (exact and fitting):
        raise ProtocolError("the operator's keys do not follow one another in form: update Shoal, or ask the operator")
    return links
