"""The fault run: hundreds of rounds in which processes are killed at every state, and a tally of what became of them.

    python -m simulations.soak --rounds 200 --seed 0        # `make soak`

Every device is the real client with a vault and a ledger of its own, the server the real one with its database, each
attempt in a process of its own; messages are calls (`simulations.memory`). Each run's seeded plan kills, with SIGKILL,

    the server       before or after it writes down the announcement, the replies of an exchange, an exchange's end, the
                     books or a version; sometimes it comes back only after the round's deadline
    a device         at every point of `simulations.faults`
    the database     all its connections, at the same moments as the server (PostgreSQL)

Then all is checked against the integers that each device recorded before it masked them. They are random in hundreds
of coordinates, so the coordinates of a sum say how often each is in it: solved for, not guessed. A contribution counts
as acknowledged once its round is in the books as done. The plan depends on the seed alone: a failing seed fails again.
The processes of a deployment, over a real SuperLink, are killed in `simulations.storm`.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
import typer
from flwr.app import Context, RecordDict

from client.app import app as client_app
from client.budget import cost
from client.database import Database
from client.ledger import Contribution, Limits, append, read, writing
from client.vault import Concept, Vault
from common.crowd import colluders
from common.errors import ShoalError
from common.prior import decode_prior, encode_prior
from common.privacy import central, decode, epsilon
from common.statistics import block_length
from server.keys import signing_key
from server.publication import Fit, Publisher, remake
from server.registry import Registry
from server.rounds import TOLERANCE, load_basis, planned
from server.settings import RunSettings
from server.sums import EXCHANGES
from simulations.faults import POINTS, mortal, plan_fault, recorded, suffering
from simulations.outages import MOMENTS, NOON, Moment, Outage, serve
from simulations.postgres import postgres, programs
from simulations.village import BACKBONE, settle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from server.books import Entry
    from simulations.memory import Node

WIDTH: Final = 24
"""As `simulations.village` enrols people for."""
DIMENSIONS: Final = 12
"""One for each person of a generation."""
PEOPLE: Final = 11
"""Enough for a round after three dropouts; devices want eight."""
FEWEST: Final = 8
EPSILON: Final = 50.0
"""So little noise that a few rounds give a version, and faults can hit its publication. People here allow it."""
BUDGET: Final = Limits(central=2000.0, local=100_000.0)
GENERATION: Final = 5
"""Runs after which other people come."""
CLIP: Final = 4.0
DEADLINE: Final = 4.0
LATE: Final = 100.0
"""Seconds after which a late server comes back: all deadlines are over."""
ATTEMPTS: Final = 6
"""Server processes for one run: two faults kill two of them at most, the next ends it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong in a run."""

    victim: str
    """`server`, `late server`, `database` or `device`."""
    moment: Moment = ("", "", "")
    device: int = 0
    point: str = ""

    def __str__(self) -> str:
        what = self.point if self.victim == "device" else f"{self.moment[2]} {self.moment[0]} {self.moment[1]}".strip()
        return f"{self.victim}: {what}"


@dataclass(slots=True)
class Tally:
    """What became of it all; `wrong` must stay empty."""

    seed: int
    limit: float = len(EXCHANGES) * DEADLINE
    """Seconds that a round may take."""
    runs: int = 0
    rounds: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    contributions: Counter[str] = field(default_factory=Counter)
    versions: int = 0
    longest: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kills = Counter[str]()
        for name, count in self.kills.items():
            kills[name.split(":")[0]] += count
        lines = [
            f"seed {self.seed}: {self.runs} runs, {self.rounds.total()} rounds ({_listed(self.rounds)})",
            f"faults: {_listed(kills)}; {len(self.kills)} different ones",
            f"contributions: {_listed(self.contributions)}",
            f"longest round {self.longest:g} of {self.limit:g} s",
            f"versions: {self.versions}, each made again from its sums",
            *(f"WRONG: {line}" for line in self.wrong),
            "nothing lost, nothing twice, nothing stuck, no ε under-reported" if not self.wrong else "FAILED",
        ]
        return "\n".join(lines)


def plan(seed: int, run: int, *, database: bool) -> list[Fault]:
    """Choose a run's faults: every fault there is has its turn, in an order of the seed's; one run in four has two."""
    chance = random.Random(f"{seed}/{run}")  # noqa: S311 - reproducible on purpose
    faults = [Fault("server", moment) for moment in MOMENTS] + [Fault("late server", moment) for moment in MOMENTS[::4]]
    faults += [Fault("device", point=point, device=index % PEOPLE) for index, point in enumerate(POINTS)]
    faults += [Fault("database", moment) for moment in MOMENTS] if database else []
    random.Random(f"{seed}/{run // len(faults)}").shuffle(faults)  # noqa: S311 - the same
    chosen = [faults[run % len(faults)]]
    return chosen + ([chance.choice(faults)] if chance.random() < 0.25 else [])


class Town:
    """A generation of people with one-hot concepts, and the server's settings."""

    def __init__(self, folder: Path, settings: RunSettings, generation: int) -> None:
        """Enrol and teach them.

        Args:
            folder: where everybody lives.
            settings: the server's.
            generation: its number; names people.
        """
        self.settings = settings
        key = signing_key(settings.state_folder)
        self.folders = [settle(folder / f"{generation}-{number}", key) for number in range(PEOPLE)]
        for number, home in enumerate(self.folders):
            plan_fault(home)
            with writing(Database(home)) as rows:
                append(rows, home, BUDGET)
            for name in range(GENERATION + 2):
                _teach(home, number, f"it-{name}")

    def nodes(self, faults: list[Fault]) -> dict[int, Node]:
        """Give everybody as they are this time."""
        found: dict[int, Node] = {}
        for number, home in enumerate(self.folders):
            context = Context(number, number, {"state-folder": str(home)}, RecordDict(), {})
            points = [fault.point for fault in faults if fault.victim == "device" and fault.device == number]
            answer = suffering(client_app, home)
            found[number] = (
                mortal(answer, context, points[0])  # type: ignore[arg-type] # called as the app is
                if points
                else lambda message, answer=answer, context=context: answer(message, context)  # type: ignore[misc]
            )
        return found


def contributions(home: Path) -> dict[str, Contribution]:
    """Read what a person's ledger says left, by round."""
    with Database(home).transaction("DEFERRED") as rows:
        events = [entry.event for entry in read(rows, home)]
    return {event.round_id: event for event in events if isinstance(event, Contribution)}


def _teach(home: Path, number: int, name: str) -> None:
    """Leave a concept whose coordinates are one-hot, of nine tenths of the clip's length."""
    token = np.zeros(WIDTH, np.float32)
    token[number] = 0.9 * CLIP
    zero = np.zeros(WIDTH, np.float32)
    concept = Concept(
        name=name, kind="object", class_word="it", backbone=BACKBONE, anchor=zero, token=token, loss=1.0, forwards=9
    )
    Vault(home).save_concept(concept)


def hold(town: Town, faults: list[Fault], tally: Tally, now: float) -> float:
    """Hold one run, with as many server processes as it takes; give the time after it."""
    nodes = town.nodes(faults)
    outages = [Outage(fault.moment, deadly="server" in fault.victim) for fault in faults if fault.victim != "device"]
    for attempt in range(ATTEMPTS):
        code = serve(town.settings, nodes, since_noon=now, outages=outages)
        now += LATE if any(fault.victim == "late server" for fault in faults) else DEADLINE / 8
        if code == 0:
            return now + LATE
        if code > 0 or attempt == ATTEMPTS - 1:
            tally.wrong.append(f"run {tally.runs}: the server ended with {code}, {', '.join(map(str, faults))}")
            return now + LATE
        outages = [outage for outage in outages if not outage.deadly] if attempt else outages[1:]
    return now


def check(folders: list[Path], entries: list[Entry], registry: Registry, tally: Tally) -> None:
    """Compare each new round in the books with what its people recorded and booked.

    Args:
        folders: of the people, who may have been in these rounds.
        entries: the rounds.
        registry: has their sums.
        tally: is added to.
    """
    integers, ledgers = [recorded(home) for home in folders], [contributions(home) for home in folders]
    for entry in entries:
        tally.rounds[entry.state] += 1
        lasted = (entry.ended - entry.started).total_seconds()
        if entry.reason.startswith("its deadline passed"):
            lasted = 0.0  # it was ended by the first process that could
        tally.longest = max(tally.longest, lasted)
        if lasted > tally.limit + 1e-6:
            tally.wrong.append(f"round {entry.round_id} lasted {lasted:g} s")
        booked = {number for number, ledger in enumerate(ledgers) if entry.round_id in ledger}
        if entry.state == "aborted":
            tally.contributions["spent, round aborted"] += len(booked)
            continue
        [item] = registry.sums_of([entry.round_id])
        counts = multiplicities(item.total, entry, integers)
        if counts is None:
            tally.wrong.append(f"round {entry.round_id} is not a sum of what its people masked")
            continue
        _compare(entry, counts, ledgers, tally)


def _compare(entry: Entry, counts: dict[int, int], ledgers: list[dict[str, Contribution]], tally: Tally) -> None:
    name = entry.round_id
    if twice := [number for number, count in counts.items() if count not in {0, 1}]:
        tally.wrong.append(f"round {name} counts {twice} otherwise than once")
    included = {number for number, count in counts.items() if count == 1}
    booked = {number for number, ledger in enumerate(ledgers) if name in ledger}
    if len(included) != entry.people:
        tally.wrong.append(f"round {name} says {entry.people} people and has {len(included)}")
    if unbooked := included - booked:
        tally.wrong.append(f"round {name} has {unbooked}, whose ledgers know nothing of it")
    least = epsilon([central(entry.mechanism, survivors=entry.people, colluders=colluders(entry.called))], delta=1e-6)
    for number in included & booked:
        if cost([ledgers[number][name]]).central < least * (1 - 1e-9):
            tally.wrong.append(f"{number} booked less than the {least:g} that round {name} cost")
    tally.contributions["in a sum, once"] += len(included)
    tally.contributions["spent, answer lost on its way"] += len(booked - included)


def multiplicities(
    total: NDArray[np.float64], entry: Entry, integers: list[dict[bytes, NDArray[np.uint32]]]
) -> dict[int, int] | None:
    """Say how often each person's integers are in a sum: its coordinates in the basis of theirs; None if it is none.

    Args:
        total: the sum as it is in the books.
        entry: its round.
        integers: what each person masked, by the seed of the rotation, in rounds of all kinds of names.
    """
    for seed in {seed for found in integers for seed in found}:
        who = [number for number, found in enumerate(integers) if seed in found]
        rows = np.array([decode(integers[number][seed], entry.mechanism, seed=seed) for number in who])
        found, *_ = np.linalg.lstsq(rows.T, total, rcond=None)
        counts = np.rint(found).astype(int)
        if np.allclose(counts @ rows, total, rtol=0, atol=1e-6 * np.abs(rows).max()):
            return dict(zip(who, counts.tolist(), strict=True))
    return None


def soak(folder: Path, url: str, *, rounds: int, seed: int) -> Tally:
    """Hold runs until so many rounds are in the books."""
    tally, now, town = Tally(seed=seed), 0.0, None
    settings = _settings(folder, url)
    for people in range(FEWEST, PEOPLE + 1):  # once, before any process is made: it takes half a second each
        fewest = max(FEWEST, int(np.ceil((1 - TOLERANCE) * people)))
        planned(
            length=block_length(DIMENSIONS),
            people=people,
            honest=fewest - colluders(people),
            epsilon=EPSILON,
            delta=1e-6,
        )
    known: set[str] = set()
    while tally.rounds.total() < rounds and not tally.wrong:
        if tally.runs % GENERATION == 0:
            if town is not None:
                for home in town.folders:
                    shutil.rmtree(home)
            town = Town(folder / "people", settings, tally.runs // GENERATION)
        faults = plan(seed, tally.runs, database=url.startswith("postgresql"))
        tally.kills.update(map(str, faults))
        if town is None:
            raise ShoalError("nobody lives here: a generation comes before its first run")
        now = hold(town, faults, tally, now)
        with Registry(url) as registry:
            entries = [entry for entry in registry.rounds() if entry.round_id not in known]
            check(town.folders, entries, registry, tally)
            known |= {entry.round_id for entry in entries}
            if registry.open_rounds():
                tally.wrong.append(f"run {tally.runs}: a round is still open, {', '.join(map(str, faults))}")
        tally.runs += 1
    with Registry(url) as registry:
        _check_versions(registry, settings, tally)
    return tally


def _settings(folder: Path, url: str) -> RunSettings:
    np.save(folder / "basis.npy", np.eye(WIDTH, DIMENSIONS, dtype=np.float32))
    return RunSettings(
        state_folder=folder / "server",
        backbone=BACKBONE,
        public_basis=folder / "basis.npy",
        registry=url,
        kinds=("object",),
        rounds=1,
        minimum_people=FEWEST,
        epsilon=EPSILON,
        clip=(CLIP,),
        cohorts=1,
        poll_seconds=1.0,
        deadline_seconds=DEADLINE,
        patience_seconds=3 * DEADLINE,
    )


def _check_versions(registry: Registry, settings: RunSettings, tally: Tally) -> None:
    """Every acknowledged sum is in the last version, and every version follows from its sums."""
    priors = [decode_prior(signed.payload) for signed in registry.versions()]
    tally.versions = len(priors)
    for prior in priors:
        again = remake(registry, prior)
        if again is None or encode_prior(again) != encode_prior(prior):
            tally.wrong.append(f"version {prior.version} does not follow from its sums")
    publisher = Publisher(
        registry,
        signing_key(settings.state_folder),
        backbone=settings.backbone,
        public_basis=load_basis(settings.public_basis),
        fit=Fit(
            minimum_people=settings.minimum_people, max_directions=settings.max_directions, cohorts=settings.cohorts
        ),
    )
    for entry in registry.rounds():
        if entry.state in {"withheld", "rejected"}:
            tally.wrong.append(f"round {entry.round_id} is {entry.state}: {entry.reason}")
    missing = publisher.advance("object", f"{NOON:%Y-%m-%dT%H:%M:%S+00:00}")
    if missing is not None:
        tally.wrong.append(f"rounds {set(missing.rounds) - set(priors[-1].rounds if priors else ())} are in no version")


def main(
    rounds: Annotated[int, typer.Option(help="At least so many.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the plan.")] = 0,
    sqlite: Annotated[bool, typer.Option("--sqlite", help="Instead of PostgreSQL.")] = False,  # noqa: FBT002 - typer
) -> None:
    """Hold the fault run and print its tally; the exit code is 1 where anything is wrong."""
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shoal-soak-")))
        if sqlite or programs() is None:
            print("on SQLite: no connections to kill there")
            url = f"sqlite:///{folder / 'registry.sqlite'}"
        else:
            url = stack.enter_context(postgres())
        tally = soak(folder, url, rounds=rounds, seed=seed)
    print(f"{tally}\n{time.monotonic() - began:.0f} s, since {NOON:%H:%M} of the server's own clock")
    raise typer.Exit(bool(tally.wrong))


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


if __name__ == "__main__":
    typer.run(main)
