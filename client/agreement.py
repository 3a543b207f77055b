"""What a person agreed to when they joined, held against every round: the operator's terms bind, not only inform.

The terms stand in the membership that `shoal join` kept, under the operator's signature. Virtual people and tests are
enrolled without any, and have the device's own rules alone.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from client.budget import mechanism_of
from client.database import now
from client.ledger import Contribution
from client.membership import is_member, read_membership
from common.errors import ProtocolError
from common.privacy import central, epsilon

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from client.ledger import Entry
    from common.terms import Terms

MONTH: Final = timedelta(days=31)
_ROUNDING: Final = 1 + 1e-9
"""The operator's program computes the same ε by the same means, but perhaps on another machine."""


def agreed_terms(folder: Path) -> Terms | None:
    """Give the terms in force; None for somebody who was enrolled without any.

    Raises:
        VaultError: what was kept of them is damaged.
        ProtocolError: they are not as the operator signed them.
    """
    return read_membership(folder).terms if is_member(folder) else None


def is_agreed(folder: Path, backbone: str, kind: str) -> bool:
    """Say whether the person agreed to contribute anything of this kind that was learned on this model.

    Of every other model a device gives no sign: whether a person uses it is their own business.
    """
    terms = agreed_terms(folder)
    return terms is None or (backbone == terms.backbone and kind in terms.kinds)


def keep_to_terms(terms: Terms, entries: Sequence[Entry], event: Contribution) -> None:
    """Refuse a round that goes beyond what was agreed to.

    Args:
        terms: in force.
        entries: the ledger.
        event: the round, as `client.rules.booking` describes it.

    Raises:
        ProtocolError: another model or kind, fewer people, a costlier round, or one too many in a month.
    """
    since = datetime.fromisoformat(now()) - MONTH
    given = sum(
        isinstance(entry.event, Contribution)
        and entry.event.kind == event.kind
        and datetime.fromisoformat(entry.at) > since
        for entry in entries
    )
    seen = central(mechanism_of(event), survivors=event.fewest, colluders=event.colluders)
    kept = {
        "model": event.backbone == terms.backbone,
        "kind": event.kind in terms.kinds,
        "number of people": event.fewest >= terms.minimum_people,
        "cost": epsilon([seen], delta=terms.delta) <= terms.epsilon * _ROUNDING,
        "number of rounds in a month": not terms.rounds_a_month or given < terms.rounds_a_month,
    }
    beyond = [what for what, holds in kept.items() if not holds]
    if beyond:
        raise ProtocolError(f"the round's {beyond[0]} is not what was agreed to when joining: sit it out")
