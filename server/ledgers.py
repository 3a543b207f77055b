"""`shoal-server rounds ...` and `budget`: what was held, what is withheld, and what it cost."""

from __future__ import annotations

import getpass
import json
import math
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from common.errors import ConfigError
from server.account import DELTA, spending
from server.desk import desk
from server.service.commands import Json, State
from server.web.password import set_password

if TYPE_CHECKING:
    from server.books import Entry
    from server.desk import Desk

app = typer.Typer(help="Rounds that were held.", no_args_is_help=True)
top = typer.Typer()


@app.command("list")
def list_(
    state: State,
    *,
    only: Annotated[str, typer.Option(help="done, aborted, withheld, accepted, rejected or open")] = "",
    last: Annotated[int, typer.Option(help="At most so many, the newest last.", min=1)] = 50,
    machine: Json = False,
) -> None:
    """List rounds, also those that are open now."""
    with desk(state) as open_desk:
        found = [_entry(entry) for entry in open_desk.registry.rounds()] + _open(open_desk)
    found = [row for row in found if not only or row["state"] == only][-last:]
    if machine:
        typer.echo(json.dumps(found, indent=1))
        return
    table = Table("round", "kind", "state", "people", "of", "until", "why", "dropouts")
    for row in found:
        drops = ", ".join(f"{count} {why}" for why, count in row["dropouts"].items())
        cells = (row["round"], row["kind"], row["state"], row["people"], row["called"], row["ended"], row["reason"])
        table.add_row(*(str(cell) for cell in cells), drops)
    Console().print(table)


@app.command()
def accept(state: State, round_id: str, *, machine: Json = False) -> None:
    """Let a withheld round count after all, and make the version that it allows."""
    with desk(state) as open_desk:
        prior = open_desk.accept(round_id)
    version = prior.version if prior else None
    said = f"round {round_id} counts; " + (f"version {version} is published" if prior else "no new version yet")
    typer.echo(json.dumps({"round": round_id, "version": version}) if machine else said)


@app.command()
def reject(
    state: State,
    round_id: str,
    *,
    reason: Annotated[str, typer.Option(help="For the books.")] = "the operator said so",
    machine: Json = False,
) -> None:
    """Keep a round's sum out of all versions to come."""
    with desk(state) as open_desk:
        open_desk.reject(round_id, reason)
    typer.echo(json.dumps({"round": round_id}) if machine else f"round {round_id} enters no later version")


@top.command()
def budget(
    state: State,
    *,
    months: Annotated[int, typer.Option(help="Ahead, if rounds come as often as so far.", min=0)] = 12,
    machine: Json = False,
) -> None:
    """Say what rounds cost so far, at most, and how that goes on. Each device keeps its own account and limit."""
    with desk(state) as open_desk:
        found = [_kind_budget(open_desk, kind, months) for kind in open_desk.settings.kinds]
    if machine:
        typer.echo(json.dumps({"delta": DELTA, "kinds": found}, indent=1))
        return
    table = Table("kind", "rounds", "dearest round", "somebody in all of them", f"in {months} months")
    for row in found:
        costs = ("no noise" if row[name] is None else f"ε {row[name]:.3g}" for name in ("dearest", "together", "ahead"))
        table.add_row(row["kind"], str(row["rounds"]), *costs)
    Console().print(table)
    typer.echo(f"central ε at δ = {DELTA:g}; a device takes part once for each concept, and stops at its own limit")


@top.command()
def password(
    state: State,
    *,
    from_input: Annotated[bool, typer.Option("--stdin", help="Read it from standard input, for scripts.")] = False,
) -> None:
    """Set the password of the operator's page."""
    text = sys.stdin.readline().rstrip("\n") if from_input else getpass.getpass("a new password for the page: ")
    if not from_input and getpass.getpass("the same again: ") != text:
        raise ConfigError("the two are not the same: type the command again")
    set_password(state, text)
    typer.echo("set")


def _kind_budget(open_desk: Desk, kind: str, months: int) -> dict[str, Any]:
    entries = [entry for entry in open_desk.registry.rounds() if entry.kind == kind]
    costs = spending(entries)
    together = costs[-1].together if costs else 0.0
    ahead = together
    if len(costs) > 1 and math.isfinite(together):
        days = max(1.0, (costs[-1].ended - costs[0].ended).total_seconds() / 86400)
        # ρ of zCDP adds up, and ε grows about as its root: an estimate, for planning.
        ahead = together * math.sqrt(1 + 30.4 * months / days)
    dearest = max((one.epsilon for one in costs), default=0.0)
    figures = {"dearest": dearest, "together": together, "ahead": ahead}
    return {
        "kind": kind,
        "rounds": len(costs),
        **{name: value if math.isfinite(value) else None for name, value in figures.items()},
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "round": entry.round_id,
        "kind": entry.kind,
        "state": entry.state,
        "people": entry.people,
        "called": entry.called,
        "started": entry.started.isoformat(timespec="seconds"),
        "ended": entry.ended.isoformat(timespec="seconds"),
        "exchange": entry.exchange,
        "reason": entry.reason,
        "dropouts": dict(entry.dropouts),
        "prior_version": entry.prior_version,
        "shard": entry.shard,
    }


def _open(open_desk: Desk) -> list[dict[str, Any]]:
    return [
        {
            "round": journal.call.round_id,
            "kind": journal.call.kind,
            "state": "open",
            "people": 0,
            "called": len(journal.nodes),
            "started": journal.started.isoformat(timespec="seconds"),
            "ended": journal.deadline.isoformat(timespec="seconds"),
            "exchange": "",
            "reason": "",
            "dropouts": {},
            "prior_version": journal.call.prior_version,
            "shard": journal.shard,
        }
        for journal in open_desk.registry.open_rounds()
    ]
