"""Fault runs over a real SuperLink: each process of a deployment is killed in the middle of rounds, and a tally.

    python -m simulations.storm --runs 20 --seed 0

A whole `shoal-server serve` on loopback, with proxy, TLS and joined devices (`simulations.harbour`). A run waits until
a round has come as far as its plan says, kills one process with SIGKILL, and is started again until one completes. What
is checked, and how, is `simulations.soak`'s; there are far fewer rounds here, since each takes seconds.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
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
from simulations.harbour import Harbour, surroundings
from simulations.soak import BUDGET, EPSILON, Tally, check
from simulations.vaults import virtual_vault
from simulations.village import teach

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PARTS: Final = ("superlink", "superexec", "serverapp", "proxy", "device")
PEOPLE: Final = 10
DEADLINE: Final = 15.0
GRACE: Final = 90.0
"""Seconds beyond a round's deadline: the processes that end it must start first, on a busy machine."""
ATTEMPTS: Final = 4


def storm(folder: Path, *, runs: int, seed: int, parts: Sequence[str] = PARTS) -> Tally:
    """Hold so many runs, each with one process killed; these parts have their turns."""
    tally = Tally(seed=seed, limit=len(EXCHANGES) * DEADLINE + GRACE)
    chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
    people = [folder / "people" / str(number) for number in range(PEOPLE)]
    settings: dict[str, object] = {"minimum_people": 8, "epsilon": EPSILON, "deadline_seconds": DEADLINE}
    with ExitStack() as running:
        harbour = running.enter_context(
            Harbour(folder, wave_size=str(PEOPLE), rounds__poll_seconds=0.5, patience_seconds=30.0, **settings)
        )
        for home in people:
            virtual_vault(home)
        harbour.enrol(*people)
        _prepare(people, runs)
        running.enter_context(_devices(folder / "devices.log", people[:-1]))
        known: set[str] = set()
        for run in range(runs):
            part, exchange = parts[run % len(parts)], chance.choice(EXCHANGES)
            tally.kills[f"{part}: {exchange}"] += 1
            _one_run(harbour, folder, people, part, exchange, tally)
            with Registry(f"sqlite:///{harbour.state / 'registry.sqlite'}") as registry:
                entries = [entry for entry in registry.rounds() if entry.round_id not in known]
                check(people, entries, registry, tally)
                known |= {entry.round_id for entry in entries}
                tally.versions = len(registry.versions())
                if registry.open_rounds():
                    tally.wrong.append(f"run {run}: a round is still open after {part} was killed at {exchange}")
            tally.runs += 1
    return tally


def _prepare(people: list[Path], runs: int) -> None:
    rng = np.random.default_rng(3)
    for home in people:
        plan_fault(home)
        with writing(Database(home)) as rows:
            append(rows, home, BUDGET)
        for number in range(2 * runs + 2):
            teach(home, rng, name=f"it-{number}")


def _one_run(harbour: Harbour, folder: Path, people: list[Path], part: str, exchange: str, tally: Tally) -> None:
    """Kill a part once, in the middle of a round, and start runs until one completes."""
    with _devices(folder / "device.log", people[-1:]) as device:
        watcher = threading.Thread(target=_kill_at, args=(harbour, part, exchange, device.pid), daemon=True)
        watcher.start()
        for _ in range(ATTEMPTS):
            try:
                harbour.command("run-round")
            except ShoalError:
                harbour.wait(lambda: harbour.part("superlink") is not None, "the SuperLink is back")
                time.sleep(2.0)
                continue
            break
        else:
            tally.wrong.append(f"{part} was killed at {exchange} and {ATTEMPTS} runs failed: {harbour.said[-3000:]}")
        watcher.join(1.0)
        if watcher.is_alive():
            tally.wrong.append(f"no round came to {exchange}, so {part} was not killed")


def _kill_at(harbour: Harbour, part: str, exchange: str, device: int) -> None:
    """Wait until a round has some reply to this exchange, then kill."""
    engine = sa.create_engine(f"sqlite:///{harbour.state / 'registry.sqlite'}")
    some = sa.select(REPLIES.c.node).where(REPLIES.c.action == exchange).limit(1)
    over = sa.select(OVER.c.action).where(OVER.c.action == exchange).limit(1)
    while True:
        with suppress(sa.exc.OperationalError), engine.connect() as connection:
            if connection.execute(some).first() or connection.execute(over).first():
                break
        time.sleep(0.02)
    engine.dispose()
    found = {"serverapp": _server_app(harbour), "device": device}.get(part) or harbour.part(part)
    if found:
        with suppress(ProcessLookupError):
            os.kill(found, signal.SIGKILL)


def _server_app(harbour: Harbour) -> int | None:
    """Find the ServerApp's process: it is the SuperExec's child."""
    parent = harbour.part("superexec")
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            if f"\nPPid:\t{parent}\n" in status.read_text(encoding="ascii", errors="replace"):
                return int(status.parent.name)
    return None


@contextmanager
def _devices(log: Path, folders: list[Path]) -> Iterator[subprocess.Popen[bytes]]:
    """Run devices in one process."""
    command = [sys.executable, "-m", "simulations.nodes", "joined", *map(str, folders)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=surroundings(), stdout=file, stderr=file)  # noqa: S603 - ours
    try:
        end = time.monotonic() + 180
        while b"nodes are up" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > end:
                raise ShoalError(f"the devices did not come up: {log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield process
    finally:
        process.kill()
        process.wait()


def main(
    runs: Annotated[int, typer.Option(help="Each with one process killed.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the plan.")] = 0,
) -> None:
    """Hold the storm and print its tally; the exit code is 1 where anything is wrong."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="shoal-storm-") as folder:
        tally = storm(Path(folder), runs=runs, seed=seed)
    print(f"{tally}\n{time.monotonic() - began:.0f} s")
    raise typer.Exit(bool(tally.wrong))


if __name__ == "__main__":
    typer.run(main)
