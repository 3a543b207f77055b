"""What the members sign: the list U1 and, on top of it, the sets U2 and U3.

Each signature covers a domain, and through the digest of U1 the round's context, so that none is of use in another
place, set or round.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from common.errors import ProtocolError
from common.secagg.identity import Verify, check_certificate
from common.secagg.wire import pack_members, pack_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.secagg.messages import Advertisement, Roster
    from common.secagg.rules import Rules

_KEYS: Final = b"shoal secagg keys 1\0"
_ROSTER: Final = b"shoal secagg roster 1\0"
_SHARED: Final = b"shoal secagg shared 1\0"
_MASKED: Final = b"shoal secagg masked 1\0"
_CONFIRMED: Final = b"shoal secagg confirmed 1\0"


def on_keys(rules: Rules, advertisement: Advertisement) -> bytes:
    """Give what a device signs of its keys."""
    return _KEYS + rules.context + advertisement.signed


def digest_roster(rules: Rules, roster: Roster) -> bytes:
    """Give the transcript: SHA-256 over the context and the whole list U1."""
    digest = hashlib.sha256(_ROSTER + rules.context + pack_number(len(roster.members), 2))
    for member in roster.members:
        digest.update(member.body)
    return digest.digest()


def on_roster(transcript: bytes) -> bytes:
    """Give what a device signs when it has seen U1."""
    return _SHARED + transcript


def on_senders(transcript: bytes, people: int, senders: frozenset[int]) -> bytes:
    """Give what a device signs when it has seen U2."""
    return _MASKED + transcript + pack_members(senders, people)


def on_survivors(transcript: bytes, people: int, senders: frozenset[int], survivors: frozenset[int]) -> bytes:
    """Give what a device signs when it has seen U3."""
    return _CONFIRMED + transcript + pack_members(senders, people) + pack_members(survivors, people)


def check_advertisement(rules: Rules, member: Advertisement, verify: Verify) -> None:
    """Refuse keys that no enrolled identity signed for this round.

    Raises:
        ProtocolError: certificate or signature is wrong.
    """
    if not check_certificate(rules.operator, member.identity, member.certificate, verify=verify):
        raise ProtocolError("a member's identity was not enrolled by this operator: take no part in this round")
    if not verify(member.identity, member.signature, on_keys(rules, member)):
        raise ProtocolError("a member's keys are not signed by its identity for this round: take no part in it")


def check_signatures(
    identities: Sequence[bytes], members: frozenset[int], signatures: Sequence[bytes], message: bytes, verify: Verify
) -> None:
    """Refuse unless each of the members signed the message.

    Raises:
        ProtocolError: a signature is missing or wrong.
    """
    for member, signature in zip(sorted(members), signatures, strict=True):
        if not verify(identities[member], signature, message):
            raise ProtocolError(f"member {member} did not sign what this device sees: take no part in this round")
