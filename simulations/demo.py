"""`make demo`: many people learn and share, the server makes priors, newcomers learn with fewer forwards.

Real pictures held out of the backbone's training, real learning with forward passes only, real rounds on
Flower's simulation engine. Ends with a table, ``build/demo/report.html`` and ``build/demo/report.json``.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from client.backbone.engine import TorchEngine
from client.learn.settings import Settings
from client.priors import current_prior
from client.quiet import quiet
from common.errors import ShoalError
from server.settings import RunSettings
from simulations.basis import public_basis
from simulations.pictures import draw_comparison, strip
from simulations.population import Person, people, write_pictures
from simulations.report import DemoReport, Newcomer, Quartiles, write_report
from simulations.run import Federation
from simulations.work import (
    PUBLISHED,
    Comparison,
    Job,
    compare_with_own_prior,
    compare_with_published,
    learn_and_keep,
    peak_memory_mb,
)
from simulations.workers import workers

T = TypeVar("T")

MODEL = Path(__file__).parents[1] / "client" / "backbone" / "pictograms"
SEARCHES = (PUBLISHED, "without_prior", "with_prior")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How large a demo is."""

    objects_a_wave: int = 10
    styles_a_wave: int = 6
    waves: int = 3
    new_objects: int = 6
    new_styles: int = 4
    forwards: int = 400
    reference_budget: int = 3000
    workers: int = 2
    seed: int = 1

    @property
    def population(self) -> int:
        """People who learn and contribute."""
        return self.waves * (self.objects_a_wave + self.styles_a_wave)


SMALL = Plan(
    objects_a_wave=3, styles_a_wave=3, waves=2, new_objects=1, new_styles=1, forwards=128, reference_budget=120
)
TARGET = (
    "the loss that reaches 80 % of the improvement which gradient-based textual inversion (same backbone in floating "
    "point) attains on the same pictures; median over the new people"
)


def split(plan: Plan) -> tuple[list[list[Person]], list[Person]]:
    """Return the waves of contributors and the newcomers; nobody's subject is another's."""
    objects = plan.waves * plan.objects_a_wave
    styles = plan.waves * plan.styles_a_wave
    everyone = people(objects + plan.new_objects, styles + plan.new_styles, plan.seed)
    of_kind = {kind: [p for p in everyone if p.kind == kind] for kind in ("object", "style")}
    waves = [
        of_kind["object"][w * plan.objects_a_wave : (w + 1) * plan.objects_a_wave]
        + of_kind["style"][w * plan.styles_a_wave : (w + 1) * plan.styles_a_wave]
        for w in range(plan.waves)
    ]
    return waves, of_kind["object"][objects:] + of_kind["style"][styles:]


class Demo:
    """One demo in one folder: its people, its federation, its workers."""

    def __init__(self, plan: Plan, folder: Path, model: Path, console: Console) -> None:
        """Lay out the people's folders and the public basis; nothing is learned yet."""
        self.plan, self.folder, self.console = plan, folder, console
        shutil.rmtree(folder, ignore_errors=True)
        self.waves, self.newcomers = split(plan)
        self.everyone = [p for wave in self.waves for p in wave] + self.newcomers
        for person in self.everyone:
            write_pictures(person, folder / "people" / str(person.number) / "photos")
        engine = TorchEngine(model)
        self.fingerprint = engine.fingerprint
        (folder / "server").mkdir(parents=True)
        self.basis_file = folder / "server" / "public-basis.npy"
        np.save(self.basis_file, public_basis(engine))
        self.job = Job(
            model=model,
            people=folder / "people",
            settings=Settings(forwards=plan.forwards),
            reference_budget=plan.reference_budget,
        )

    def settings(self) -> RunSettings:
        """Return what an operator would set."""
        return RunSettings(
            state_folder=self.folder / "server",
            backbone=self.fingerprint,
            public_basis=self.basis_file,
            kinds=("object", "style"),
            rounds=self.plan.waves,
            minimum_people=min(self.plan.objects_a_wave, self.plan.styles_a_wave),
            wave_size=(self.plan.objects_a_wave, self.plan.styles_a_wave),
            cohorts=1,
            unprotected_simulation=True,  # eight people a round would drown in their noise
            poll_seconds=1.0,
        )

    def run(self, pool: ProcessPoolExecutor) -> tuple[list[dict[str, Any]], list[Comparison]]:
        """Learn wave by wave while rounds run, then compare the newcomers' searches."""
        settings = self.settings()
        people_folder = self.job.people
        with (
            Federation(settings, people_folder=people_folder, people=len(self.everyone)) as running,
            _bars(self.console) as bars,
        ):
            learned = []
            for number, wave in enumerate(self.waves, start=1):
                results = pool.map(learn_and_keep, [self.job] * len(wave), wave)
                told = _told(bars, results, len(wave), f"people learn, round {number}")
                learned += [result | {"round": number} for result in told]
                self._await_version(number, running)
            running.wait(timeout=120)
            comparisons = pool.map(compare_with_own_prior, [self.job] * len(self.newcomers), self.newcomers)
            compared = list(_told(bars, comparisons, len(self.newcomers), "newcomers compare"))
            lots = self._abreast(compared)
            searched = chain.from_iterable(pool.map(compare_with_published, [self.job] * len(lots), lots))
            compared = list(_told(bars, searched, len(compared), "newcomers, as published"))
        return learned, compared

    def _abreast(self, compared: Sequence[Comparison]) -> list[list[Comparison]]:
        """Return newcomers in lots of a kind, in their order, each kind shared out to all workers."""
        lots = []
        for _, each in groupby(compared, key=lambda comparison: comparison.person.kind):
            some = list(each)
            together = math.ceil(len(some) / self.plan.workers)
            lots += [some[at : at + together] for at in range(0, len(some), together)]
        return lots

    def draw(self, pool: ProcessPoolExecutor, compared: list[Comparison]) -> dict[str, dict[str, NDArray[np.uint8]]]:
        """Return each newcomer's own pictures and what each search's tokens draw, by label (`draw_comparison`)."""
        count = len(compared)
        with _bars(self.console) as bars:
            drawn = pool.map(draw_comparison, [self.job.model] * count, compared, [self.plan.seed] * count)
            found = list(_told(bars, drawn, count, "newcomers drawn"))
        return {comparison.label: pictures for comparison, pictures in zip(compared, found, strict=True)}

    def _await_version(self, version: int, running: Federation, patience: float = 180) -> None:
        """Wait until everybody holds both kinds' prior of this version.

        Raises:
            ShoalError: the federation ended or the time is over.
        """
        end = time.monotonic() + patience
        missing = [(p, kind) for p in self.everyone for kind in ("object", "style")]
        while missing:
            missing = [(p, kind) for p, kind in missing if self._version(p, kind) < version]
            if not running.running and missing:
                raise ShoalError(f"the federation ended before version {version} of the priors: see {running.log}")
            if time.monotonic() > end:
                raise ShoalError(f"no version {version} of the priors after {patience:.0f} s: see {running.log}")
            time.sleep(0.5)

    def spectrum(self, kind: str) -> list[float]:
        """Return the variances along the newest prior's directions, from its largest cohort."""
        prior = current_prior(self.job.people / "0", self.fingerprint, kind)
        if prior is None:
            return []
        return [float(v) for v in prior.largest.spectrum]

    def _version(self, person: Person, kind: str) -> int:
        prior = current_prior(self.job.people / str(person.number), self.fingerprint, kind)
        return prior.version if prior else 0


def _bars(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


def _told(bars: Progress, results: Iterable[T], count: int, what: str) -> Iterator[T]:
    """Yield results as they come and say how many there are: as a bar, or line by line where there is no terminal."""
    task = bars.add_task(what, total=count)
    for done, result in enumerate(results, start=1):
        bars.advance(task)
        if not bars.console.is_terminal:
            bars.console.print(f"{what}: {done} of {count}")
        yield result


def quartiles(values: Sequence[int | None]) -> Quartiles:
    """Return median and quartiles of forwards to target; None where that quartile never met its target."""
    numbers = np.sort([math.inf if v is None else v for v in values])
    places = {"q1": 0.25, "median": 0.5, "q3": 0.75}
    found: dict[str, float | None] = {}
    for name, place in places.items():
        low, high = (numbers[int(f(place * (len(numbers) - 1)))] for f in (math.floor, math.ceil))
        found[name] = float((low + high) / 2) if math.isfinite(high) else None
    reached = sum(v is not None for v in values)
    return Quartiles(q1=found["q1"], median=found["median"], q3=found["q3"], reached=reached)


def report_of(demo: Demo, learned: list[dict[str, Any]], compared: list[Comparison], seconds: float) -> DemoReport:
    """Put together what ``report.json`` holds."""
    plan = demo.plan
    rounds = [
        {
            "round": number,
            "people": sum(r["round"] == number for r in learned),
            "median forwards": float(np.median([r["forwards"] for r in learned if r["round"] == number])),
            "started from a cohort": sum(r["start"] != "anchor" for r in learned if r["round"] == number),
        }
        for number in range(1, plan.waves + 1)
    ]
    return DemoReport(
        people=plan.population,
        new_people=len(compared),
        rounds=plan.waves,
        forwards_to_target={name: quartiles([c.forwards[name] for c in compared]) for name in SEARCHES},
        target=TARGET,
        gradient_baseline_loss=float(np.median([c.gradient_loss for c in compared])),
        seconds=seconds,
        peak_memory_mb=max([r["memory"] for r in learned] + [c.memory for c in compared] + [peak_memory_mb()]),
        newcomers=[_newcomer(c) for c in compared],
        spectra={kind: demo.spectrum(kind) for kind in ("object", "style")},
        history=rounds,
        notes=_notes(compared, plan),
    )


def _newcomer(comparison: Comparison) -> Newcomer:
    return Newcomer(
        label=comparison.label,
        kind=comparison.person.kind,
        class_word=comparison.person.class_word,
        start=comparison.start,
        target=comparison.target,
        gradient_loss=comparison.gradient_loss,
        forwards=comparison.forwards,
        curves=comparison.curves,
    )


def _notes(compared: list[Comparison], plan: Plan) -> list[str]:
    helped = sum(c.start != "anchor" for c in compared)
    return [
        f"The gate started {helped} of {len(compared)} newcomers from the prior and the others without it.",
        (
            f"A search that met no target within its {plan.forwards} forwards (the published algorithm: "
            f"{plan.reference_budget}) counts as later than all that did."
        ),
        "All forwards are counted, those of scoring and validating too; measuring the curves is not.",
    ]


def show(report: DemoReport, console: Console) -> None:
    """Print the table."""
    table = Table(title=f"Forwards to target: {report['new_people']} new people after {report['people']} others")
    for column in ("search", "lower quartile", "median", "upper quartile", "reached"):
        table.add_column(column, justify="left" if column == "search" else "right")
    for name, found in report["forwards_to_target"].items():
        cells = [found[key] for key in ("q1", "median", "q3")]
        written = ["not reached" if cell is None else f"{cell:,.0f}" for cell in cells]
        table.add_row(name.replace("_", " "), *written, str(found["reached"]))
    console.print(table)
    console.print(f"{report['seconds'] / 60:.1f} minutes, peak memory {report['peak_memory_mb']:.0f} MB a process")


def main(
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("build/demo"),
    model: Annotated[Path, typer.Option(help="Folder of the backbone.")] = MODEL,
    seed: Annotated[int, typer.Option(help="Who takes part, and every random draw.")] = 1,
    small: Annotated[bool, typer.Option("--small", help="A few people and forwards: does it all work?")] = False,  # noqa: FBT002 - typer
) -> None:
    """Let people learn, share and help newcomers, and write build/demo/report.html."""
    quiet()
    plan = SMALL if small else Plan()
    console = Console()
    begun = time.monotonic()
    demo = Demo(replace(plan, seed=seed), out, model, console)
    with workers(plan.workers) as pool:
        learned, compared = demo.run(pool)
        report = report_of(demo, learned, compared, time.monotonic() - begun)
        (out / "report.json").write_text(json.dumps(report, indent=1))  # before pictures: drawing may be stopped
        pictures = demo.draw(pool, compared)
    report["seconds"] = time.monotonic() - begun
    (out / "report.json").write_text(json.dumps(report, indent=1))
    write_report(out / "report.html", report, pictures)
    strip(pictures).save(out / "learning.png")
    show(report, console)
    console.print(f"report: {out / 'report.html'}")


if __name__ == "__main__":
    typer.run(main)
