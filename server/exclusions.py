"""Devices that are left out of rounds for a time, because what they shared or revealed ended one or was false.

`common.secagg.blame` says who and why. An exclusion is of an identity, which a device proves in each round and cannot
change without enrolling anew, and not of a connection. It always ends: after a month where the lie is proven, after
a day where it is one device's word against another's, so that nobody honest is kept out for long by such a dispute.
`shoal-server excluded` lists them and can end one early; `revoke` is for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from server.books import aware
from server.tables import EXCLUSIONS

if TYPE_CHECKING:
    from datetime import datetime

    from common.secagg.blame import Blame

PROVEN: Final = timedelta(days=30)
DOUBTED: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """One device, left out for a time."""

    identity: bytes
    """Its Ed25519 public key, 32 bytes."""
    round_id: str
    reason: str
    since: datetime
    until: datetime


def exclude(connection: sa.Connection, blame: Blame[bytes], round_id: str, now: datetime) -> None:
    """Leave out whoever is to blame for what happened in a round; once, also where this is done twice.

    Args:
        connection: in a transaction of the caller's.
        blame: by identity.
        round_id: which round.
        now: when it ended.
    """
    rows = [
        {
            "identity": identity.hex(),
            "round_id": round_id,
            "reason": reason,
            "since": now.astimezone(UTC),
            "until": (now + time).astimezone(UTC),
        }
        for named, time in ((blame.proven, PROVEN), (blame.doubted, DOUBTED))
        for identity, reason in named.items()
    ]
    here = sa.select(EXCLUSIONS.c.identity).where(EXCLUSIONS.c.round_id == round_id)
    known = set(connection.execute(here).scalars())
    if fresh := [row for row in rows if row["identity"] not in known]:
        connection.execute(sa.insert(EXCLUSIONS), fresh)


def exclusions(connection: sa.Connection, now: datetime | None = None) -> list[Exclusion]:
    """Give who is left out at this moment, or everybody who ever was; oldest first."""
    rows = connection.execute(sa.select(EXCLUSIONS).order_by(EXCLUSIONS.c.since, EXCLUSIONS.c.identity))
    found = [_exclusion(row) for row in rows]
    return [one for one in found if now is None or one.since <= now < one.until]


def readmit(connection: sa.Connection, identity: bytes, now: datetime) -> int:
    """End the exclusions of a device that last beyond this moment; give how many those were."""
    mine = (EXCLUSIONS.c.identity == identity.hex()) & (EXCLUSIONS.c.until > now.astimezone(UTC))
    return connection.execute(sa.update(EXCLUSIONS).where(mine).values(until=now.astimezone(UTC))).rowcount


def _exclusion(row: Any) -> Exclusion:  # noqa: ANN401 - a row is what its select says
    return Exclusion(
        identity=bytes.fromhex(row.identity),
        round_id=row.round_id,
        reason=row.reason,
        since=aware(row.since),
        until=aware(row.until),
    )
