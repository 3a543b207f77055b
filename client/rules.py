"""The device's own rules: what a round must be for this person to take part. The server's word is checked by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from client.agreement import agreed_terms, keep_to_terms
from client.budget import admit
from client.ledger import Contribution, Simulation
from common.crowd import colluders, fewest_survivors
from common.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from client.ledger import Entry
    from common.messages import RoundCall
    from common.secagg.rules import Rules

FEWEST_PEOPLE: Final = 8
"""No round of fewer people, whatever its noise: a crowd is what is left if a part of the noise should be missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Whose state it is, and what it runs in."""

    folder: Path
    """The person's state folder."""
    simulated: bool = False
    """No device: Flower's simulation said so, and nobody here named a folder. See `client.app.device`."""


def admit_round(device: Device, entries: Sequence[Entry], event: Contribution) -> None:
    """Refuse a round of too few people, without noise, or with so little that it would cost more than is allowed.

    Noise may be off, and the crowd as small as the protocol allows, for a virtual person only: the ledger must say
    that it is one, and so must the place that it runs in.

    Args:
        device: whose.
        entries: the ledger.
        event: as `booking` describes the round.

    Raises:
        ProtocolError: too few people, no noise, or beyond what the person agreed to when they joined.
        BudgetExhaustedError: too little noise for what is left of the budget.
    """
    if device.simulated and any(isinstance(entry.event, Simulation) for entry in entries):
        return
    if event.fewest < FEWEST_PEOPLE:
        raise ProtocolError(f"a sum of {event.fewest} people, at least {FEWEST_PEOPLE} are needed: sit this round out")
    if event.share_variance == 0:
        raise ProtocolError("a round without noise is refused outside simulations: sit it out")
    if terms := agreed_terms(device.folder):
        keep_to_terms(terms, entries, event)
    admit(entries, event)


def booking(rules: Rules, call: RoundCall, *, people: int, concept: int) -> Contribution:
    """Say what a contribution to a round would be, for the ledger; the worst that can be opened counts.

    Args:
        rules: the terms of the round.
        call: its announcement.
        people: n, whose signed keys are on the list.
        concept: the number in the vault.
    """
    return Contribution(
        round_id=call.round_id,
        context=rules.context.hex(),
        operator=rules.operator.hex(),
        kind=call.kind,
        backbone=call.backbone,
        prior_version=call.prior_version,
        concept=concept,
        called=people,
        fewest=fewest_survivors(people, rules.minimum_people),
        colluders=colluders(people),
        length=call.length,
        scale=call.scale,
        share_variance=call.share_variance,
        modulus_bits=call.modulus_bits,
        clip=call.clip,
    )
