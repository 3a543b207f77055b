"""Fault runs over a real SuperLink: each part of a deployment is killed in the middle of rounds, and a tally.

    python -m simulations.storm --runs 18 --seed 0        # each part at each state, once

A whole `shoal-server serve` on loopback, with proxy, TLS, joined devices (`simulations.harbour`) and, where it is
installed, PostgreSQL. A run waits until a round has come as far as its plan says, kills one part with SIGKILL, then
the next part at a later state, and is started again until one completes. `database` has all its connections closed.
What is checked, and how, is `simulations.soak`'s; there are far fewer rounds here, since each takes seconds.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import chain, count, cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
import sqlalchemy as sa
import typer

from client.database import Database
from client.ledger import append, writing
from common.errors import ShoalError
from server.registry import Registry
from server.sums import EXCHANGES
from server.tables import EXCHANGES as OVER
from server.tables import REPLIES
from simulations.faults import plan_fault
from simulations.harbour import Harbour, running_devices
from simulations.postgres import drop_connections, postgres, programs
from simulations.soak import BUDGET, EPSILON, Tally, check
from simulations.vaults import virtual_vault
from simulations.village import teach

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTS: Final = ("superlink", "superexec", "serverapp", "proxy", "device", "database")
"""What is killed; `database` only where it has connections, which SQLite has not."""
STATES: Final = ("query.ready", *EXCHANGES)
"""When: once the ServerApp is there and asks who is ready, or once somebody answered to an exchange."""
AT_ONCE: Final = 2
"""Kills in one run."""
PEOPLE: Final = 10
DEADLINE: Final = 15.0
GRACE: Final = 240.0
"""Seconds beyond a round's deadline: the processes that end it must start first, one after the other, and on a machine
that is busy with other things each takes half a minute."""
ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Kill:
    """One part, at one state."""

    part: str
    state: str

    def __str__(self) -> str:
        return f"{self.part}: {self.state}"


def plan(runs: int, seed: int, parts: Sequence[str] = PARTS) -> list[list[Kill]]:
    """Choose each run's kills, in the order of their states: each part has its turn, and each of its states has."""
    chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
    states = {part: cycle(chance.sample(STATES, len(STATES))) for part in parts}
    turns = chain.from_iterable(chance.sample(parts, len(parts)) for _ in count())
    chosen = [[Kill(part, next(states[part])) for part in islice(turns, AT_ONCE)] for _ in range(runs)]
    return [sorted(kills, key=lambda kill: STATES.index(kill.state)) for kills in chosen]


def storm(folder: Path, *, runs: int, seed: int, parts: Sequence[str] = PARTS) -> Tally:
    """Hold so many runs, in each of which some of these parts are killed."""
    tally = Tally(seed=seed, limit=len(EXCHANGES) * DEADLINE + GRACE)
    people = [folder / "people" / str(number) for number in range(PEOPLE)]
    settings: dict[str, object] = {"minimum_people": 8, "epsilon": EPSILON, "deadline_seconds": DEADLINE}
    with ExitStack() as running:
        url = running.enter_context(postgres()) if "database" in parts else ""
        harbour = running.enter_context(
            Harbour(
                folder,
                registry=url,
                wave_size=str(PEOPLE - 1),  # one may be dead
                rounds__poll_seconds=0.5,
                patience_seconds=60.0,
                **settings,
            )
        )
        url = url or f"sqlite:///{harbour.state / 'registry.sqlite'}"
        for home in people:
            virtual_vault(home)
        harbour.enrol(*people)
        _prepare(people, runs)
        devices = running.enter_context(running_devices(people[:-1], folder / "devices.log"))
        known: set[str] = set()
        for kills in plan(runs, seed, parts):
            tally.kills.update(map(str, kills))
            _one_run(harbour, folder, people, kills, url, tally)
            with Registry(url) as registry:
                entries = [entry for entry in registry.rounds() if entry.round_id not in known]
                check(people, entries, registry, tally)
                known |= {entry.round_id for entry in entries}
                tally.versions = len(registry.versions())
                if registry.open_rounds():
                    tally.wrong.append(f"run {tally.runs}: a round is still open after {', '.join(map(str, kills))}")
            if devices.poll() is not None:
                said = (folder / "devices.log").read_text(errors="replace")[-2000:]
                tally.wrong.append(f"run {tally.runs}: the devices died of {', '.join(map(str, kills))}: {said}")
                break
            tally.runs += 1
    return tally


def _prepare(people: list[Path], runs: int) -> None:
    rng = np.random.default_rng(3)
    for home in people:
        plan_fault(home)
        with writing(Database(home)) as rows:
            append(rows, home, BUDGET)
        for number in range(ATTEMPTS * runs):
            teach(home, rng, name=f"it-{number}")


def _one_run(harbour: Harbour, folder: Path, people: list[Path], kills: Sequence[Kill], url: str, tally: Tally) -> None:
    """Kill parts in the middle of a round, and start runs until all are dead and one completes."""
    names = ", ".join(map(str, kills))
    with running_devices(people[-1:], folder / "device.log") as device:
        watcher = threading.Thread(target=_watch, args=(harbour, kills, device.pid, url), daemon=True)
        watcher.start()
        for _ in range(ATTEMPTS):
            try:
                harbour.command("run-round")
            except ShoalError:
                harbour.wait(lambda: harbour.part("superlink") is not None, "the SuperLink is back")
                time.sleep(2.0)
                continue
            watcher.join(1.0)
            if not watcher.is_alive():
                return
        left = "and not all of them were killed" if watcher.is_alive() else "and no run completed"
        tally.wrong.append(f"{names}: {ATTEMPTS} runs, {left}: {harbour.said[-3000:]}")


def _watch(harbour: Harbour, kills: Sequence[Kill], device: int, url: str) -> None:
    """Kill one part after the other, each when a round has come as far."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    for kill in kills:
        while not (_is_at(kill.state, harbour, engine) and _strike(kill.part, harbour, device, url)):
            time.sleep(0.02)
    engine.dispose()


def _strike(part: str, harbour: Harbour, device: int, url: str) -> bool:
    """Kill a part; tell whether it was there to be killed."""
    if part == "database":
        drop_connections(url)
        return True
    if part == "device":
        found: int | None = device
    else:
        found = _server_app(harbour) if part == "serverapp" else harbour.part(part)
    if found is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(found, signal.SIGKILL)
    return True


def _is_at(state: str, harbour: Harbour, engine: sa.Engine) -> bool:
    """Tell whether a round has some reply to this exchange, or, before the first, whether somebody looks for people."""
    if state == STATES[0]:
        return _server_app(harbour) is not None
    some = sa.select(REPLIES.c.node).where(REPLIES.c.action == state).limit(1)
    over = sa.select(OVER.c.action).where(OVER.c.action == state).limit(1)
    with suppress(sa.exc.DBAPIError), engine.connect() as connection:
        return connection.execute(some).first() is not None or connection.execute(over).first() is not None
    return False


def _server_app(harbour: Harbour) -> int | None:
    """Find the ServerApp's process: it is the SuperExec's child."""
    parent = harbour.part("superexec")
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            if f"\nPPid:\t{parent}\n" in status.read_text(encoding="ascii", errors="replace"):
                return int(status.parent.name)
    return None


def main(
    runs: Annotated[int, typer.Option(help="Each with some parts killed.")] = len(PARTS) * len(STATES) // AT_ONCE,
    seed: Annotated[int, typer.Option(help="Of the plan.")] = 0,
) -> None:
    """Hold the storm and print its tally; the exit code is 1 where anything is wrong."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="shoal-storm-") as folder:
        parts = PARTS if programs() is not None else PARTS[:-1]
        tally = storm(Path(folder), runs=runs, seed=seed, parts=parts)
    print(f"{tally}\n{time.monotonic() - began:.0f} s")
    raise typer.Exit(bool(tally.wrong))


if __name__ == "__main__":
    typer.run(main)
