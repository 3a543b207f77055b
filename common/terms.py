"""What an operator asks of people and promises them, signed: the first thing a device reads of a server.

    {"terms": "<the terms as JSON text>", "operator": "<hex>", "signature": "<hex>", "succession": [links]}

The signature (Ed25519) is on a domain and the bytes of the text as they stand, so that no form of JSON has to be
canonical. A device opens it by the fingerprint it was given (`common.invitation`), or by the key that it pinned; where
the operator's key gave way to another since, by the links from that one (`common.succession`).
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, get_type_hints

from common.errors import ProtocolError
from common.prior import KINDS, MAXIMUM_WIDTH, Kind
from common.secagg.identity import verify
from common.secagg.wire import KEY, MAXIMUM_PEOPLE
from common.succession import Link, follows, read_links, to_plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAXIMUM_TERMS: Final = 64 * 1024
"""Bytes, signature and all."""
_DOMAIN: Final = b"shoal terms 1\0"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:]+\]|[0-9A-Za-z.-]+):[0-9]{1,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """One federation, as its operator describes it."""

    name: str
    """For people's eyes."""
    address: str
    """Where devices connect: host and port."""
    authority: str
    """The certificate (PEM) that the server's own must descend from; empty for one that every system trusts."""
    backbone: str
    """SHA-256 of the weights, lower-case hex."""
    width: int
    """Of that backbone's token vectors."""
    bundles: tuple[str, ...]
    """SHA-256 (hex) of the Flower bundles whose runs are the operator's."""
    kinds: tuple[Kind, ...]
    minimum_people: int
    """n_min: no sum of fewer is opened."""
    epsilon: float
    """Central ε that a round costs at most, at `delta`."""
    delta: float
    rounds_a_month: int
    """At most, of each kind, in 31 days."""
    hours: tuple[int, ...]
    """UTC: when rounds are held; a device that is online then takes part. Empty: when the operator says so."""
    poll_seconds: float
    """Between two looks of a device for messages."""
    jitter_seconds: float
    """A device waits a random time up to this before it comes online, so that not all come at once."""
    issued: int
    """Seconds since 1970: a device that holds newer terms keeps those."""

    def __post_init__(self) -> None:
        """Refuse what no honest operator writes."""
        _check(0 < len(self.name) <= 80 and self.name.isprintable(), "name")
        _check(_ADDRESS.fullmatch(self.address) is not None, "address")
        _check(self.authority.isascii(), "authority")
        _check(_DIGEST.fullmatch(self.backbone) is not None, "backbone")
        _check(1 <= self.width <= MAXIMUM_WIDTH, "width")
        _check(1 <= len(self.bundles) <= 8 and all(_DIGEST.fullmatch(one) for one in self.bundles), "bundles")
        _check(bool(self.kinds) and set(self.kinds) <= set(KINDS), "kinds")
        _check(1 <= self.minimum_people <= MAXIMUM_PEOPLE, "minimum_people")
        _check(math.isfinite(self.epsilon) and self.epsilon > 0, "epsilon")
        _check(0 < self.delta < 1, "delta")
        _check(0 <= self.rounds_a_month <= 100_000, "rounds_a_month")
        _check(all(0 <= hour <= 23 for hour in self.hours), "hours")
        _check(0 < self.poll_seconds <= 86_400, "poll_seconds")
        _check(0 <= self.jitter_seconds <= 86_400, "jitter_seconds")
        _check(self.issued >= 0, "issued")


def sign_terms(terms: Terms, operator: Ed25519PrivateKey, succession: Sequence[Link] = ()) -> bytes:
    """Write terms in the operator's name; with the links that led to that key, where there was another before it."""
    text = json.dumps(asdict(terms), ensure_ascii=False)
    signature = operator.sign(_DOMAIN + text.encode())
    public = operator.public_key().public_bytes_raw()
    envelope: dict[str, object] = {"terms": text, "operator": public.hex(), "signature": signature.hex()}
    return json.dumps(envelope | ({"succession": to_plain(succession)} if succession else {})).encode()


def open_terms(data: bytes, pinned: bytes) -> tuple[Terms, bytes]:
    """Read terms, if they are by the operator that is meant.

    Args:
        data: as `sign_terms` wrote them.
        pinned: `common.invitation.fingerprint` of the operator's key, or of one that it followed.

    Returns:
        The terms and the operator's public key, 32 bytes; another than the pinned one where that gave way to it.

    Raises:
        ProtocolError: they are by another operator, changed, or no terms.
    """
    try:
        envelope: Any = json.loads(data) if len(data) <= MAXIMUM_TERMS else None
        text, operator = envelope["terms"], bytes.fromhex(envelope["operator"])
        signature, signed = bytes.fromhex(envelope["signature"]), _DOMAIN + text.encode()
        links = read_links(envelope.get("succession", []))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ProtocolError(
            "what the server sent are no terms: is it a Shoal server, and the address right?"
        ) from error
    if len(operator) != KEY or not follows(operator, pinned, links):
        raise ProtocolError(
            "this server is not the operator of your code: check code and address, and ask the operator; "
            "if both are right, somebody stands in between"
        )
    if not verify(operator, signature, signed):
        raise ProtocolError("the terms are not as the operator signed them: somebody stands in between")
    return _read(text), operator


def _read(text: str) -> Terms:
    """Read what is signed; the operator's word for it, in form all the same."""
    try:
        found = json.loads(text)
        types = get_type_hints(Terms)
        if set(found) != set(types):
            raise ProtocolError("these terms have other fields than this program knows: update Shoal")
        return Terms(**{key: _value(types[key], value) for key, value in found.items()})
    except (ValueError, TypeError, RecursionError) as error:
        raise ProtocolError("the operator's terms are damaged: ask the operator") from error


def _value(form: object, value: object) -> Any:  # noqa: ANN401 - whichever the field has
    if form is float and type(value) in {int, float}:
        return float(value)  # type: ignore[arg-type] # one of the two
    if form in {int, str} and type(value) is form:
        return value
    inner = getattr(form, "__args__", (None,))[0]
    if isinstance(value, list) and all(type(one) is (int if inner is int else str) for one in value):
        return tuple(value)
    raise TypeError(value)


def _check(holds: bool, name: str) -> None:  # noqa: FBT001 - reads as a statement
    if not holds:
        raise ProtocolError(f"{name} in the operator's terms is out of bounds: ask the operator, or update Shoal")
