"""What the person sees of their ledger, and how they say what they allow: `shoal privacy`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from client.budget import DELTA, Cost, checked, cost, limits, one_more, spent
from client.database import Database
from client.ledger import Contribution, Limits, Opening, Simulation, Withdrawal, append, export, read, writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import RenderableType

    from client.ledger import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One contribution, as the person sees it."""

    at: str
    contribution: Contribution
    people: int | None
    """In the sum that this device helped to open; None if it never did, which costs the same."""
    cost: Cost
    """Alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The whole account."""

    entries: tuple[Entry, ...]
    allowed: Limits | None
    """None after a withdrawal."""
    spent: Cost
    another: Cost | None
    """After one more round like the last; None before the first."""
    given: tuple[Given, ...]
    simulated: bool
    """A virtual person, for whom noise may have been off."""


def set_limits(folder: Path, *, central: float | None, local: float | None) -> None:
    """Write the person's budgets into the ledger; one that is not given stays as it is.

    Raises:
        ConfigError: a budget is below 0 or not finite.
        VaultError: the ledger was changed.
    """
    with writing(Database(folder)) as rows:
        now = limits(read(rows, folder)) or Limits(central=0.0, local=0.0)
        wanted = Limits(
            central=now.central if central is None else central, local=now.local if local is None else local
        )
        append(rows, folder, checked(wanted))


def withdraw(folder: Path) -> None:
    """Write into the ledger that nothing more is contributed.

    Raises:
        VaultError: the ledger was changed.
    """
    with writing(Database(folder)) as rows:
        append(rows, folder, Withdrawal())


def statement(folder: Path) -> Statement:
    """Read and check the ledger, and count.

    Raises:
        VaultError: the ledger was changed.
    """
    with Database(folder).transaction("DEFERRED") as rows:
        entries = read(rows, folder)
    given = tuple(_given(entries))
    return Statement(
        entries=entries,
        allowed=limits(entries),
        spent=spent(entries),
        another=one_more(entries, given[-1].contribution) if given else None,
        given=given,
        simulated=any(isinstance(entry.event, Simulation) for entry in entries),
    )


def as_json(found: Statement) -> dict[str, object]:
    """Give the statement as JSON values, with the ledger itself; see `client.ledger.export` for checking it."""
    return {
        "delta": DELTA,
        "simulated": found.simulated,
        "budget": found.allowed and {"central": found.allowed.central, "local": found.allowed.local},
        "spent": _numbers(found.spent),
        "after_one_more": found.another and _numbers(found.another),
        "contributions": [
            {"round": one.contribution.round_id, "at": one.at, "people": one.people, "epsilon": _numbers(one.cost)}
            for one in found.given
        ],
        "ledger": export(found.entries),
    }


def as_tables(found: Statement) -> Iterator[RenderableType]:
    """Give the statement for a terminal."""
    if found.simulated:
        yield "A SIMULATED PERSON: noise may have been off in what follows, and then nothing was protected."
    budget = Table("ε at δ = 1e-6", "spent", "allowed", "after one more such round", title="Privacy budget")
    for label, name in (("against a curious server", "central"), ("against a lying server", "local")):
        allowed = "nothing: withdrawn" if found.allowed is None else f"{getattr(found.allowed, name):g}"
        another = "-" if found.another is None else _text(getattr(found.another, name))
        budget.add_row(label, _text(getattr(found.spent, name)), allowed, another)
    yield budget
    if not found.given:
        yield "nothing was contributed so far"
        return
    rounds = Table(
        "when", "kind", "round", "people", "numbers", "own noise", "ε curious", "ε lying", "sum", title="Given"
    )
    for one in found.given:
        what = one.contribution
        noise = math.sqrt(what.share_variance) / what.scale
        opened = "not opened here, counts as spent" if one.people is None else f"opened, of {one.people} people"
        facts = (one.at, what.kind, what.round_id[:12], str(what.called), str(what.length), f"±{noise:.3g}")
        rounds.add_row(*facts, _text(one.cost.central), _text(one.cost.local), opened)
    yield rounds


def _given(entries: tuple[Entry, ...]) -> Iterator[Given]:
    opened = {entry.event.round_id: entry.event.people for entry in entries if isinstance(entry.event, Opening)}
    for entry in entries:
        if isinstance(entry.event, Contribution):
            people = opened.get(entry.event.round_id)
            yield Given(at=entry.at, contribution=entry.event, people=people, cost=cost([entry.event]))


def _numbers(found: Cost) -> dict[str, float | str]:
    """Give both numbers; JSON has no infinity."""
    return {
        name: value if math.isfinite(value) else "infinite"
        for name, value in (("central", found.central), ("local", found.local))
    }


def _text(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "unlimited"
