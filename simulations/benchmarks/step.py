"""``step``: processor time of one step, the published loop beside ours, in one process on one thread, taking turns.

Processor seconds, not a clock's: others may be using the machine. Each row is the best of a few rounds. The slopes'
cosine with float32's stands beside, because speed without it is worth nothing: of predictions as our search probes
them, which is what the gate judges, and of losses a thousandth apart, as the published algorithm does.
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from client.backbone.compact import EXACT, CompactEngine, Form
from client.backbone.engine import TorchEngine
from client.backbone.folder import SHIPPED
from client.backbone.gate import LEAST_COSINE, Scored, Verdict, compared, jacobian, slopes
from simulations.benchmarks.framework import Bar, Report, Value
from simulations.benchmarks.loops import Step, load_vae, our_step, published_step, search_step
from simulations.benchmarks.shapes import write_shape

ROUNDS = 2

BARS = {32: 4.0, 64: 3.0}
"""How many times faster than the published loop a step must be, by the side of the latents, on Stable Diffusion 1.5."""


OFFERED = ("differences", "quanto")
"""Engines that are taken without being named; bfloat16 on candidates as they are stands beside for comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A backbone and the sides of the latents that steps are timed at."""

    name: str
    folder: Path
    sides: tuple[int, ...]


def run(*, full: bool, seed: int) -> Report:
    """Time Pictograms and a shape: Stable Diffusion 1.5's in the full form, a tiny one in the small."""
    shape, sides = ("sd15", (32, 64)) if full else ("tiny", (8,))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as place:
            folder = write_shape(shape, Path(place) / shape, seed=seed)
            subjects = [
                Subject(name="Pictograms", folder=SHIPPED, sides=(16,)),
                Subject(name=shape, folder=folder, sides=sides),
            ]
            rows = [row for subject in subjects for row in timed(subject, Path(place) / "cache", seed)]
    finally:
        torch.set_num_threads(threads)
    return report(rows, seed, full=full)


def timed(subject: Subject, cache: Path, seed: int) -> list[dict[str, Value]]:
    """Return one row for each way and side."""
    quanto, ours = TorchEngine(subject.folder), CompactEngine(subject.folder, cache)
    points = CompactEngine(subject.folder, cache, form=Form(differences=False))
    agreement = followed({"quanto": quanto, "differences": ours, "bfloat16": points}, subject, cache)
    vae = load_vae(subject.folder)
    rows: list[dict[str, Value]] = []
    for side in subject.sides:
        steps: dict[tuple[str, str], Step] = {
            ("published loop", "quanto"): published_step(quanto, vae, side, seed),
            ("ours", "quanto"): our_step(quanto, side, seed),
            ("ours", "differences"): our_step(ours, side, seed),
            ("ours", "bfloat16"): our_step(points, side, seed),
        }
        steps["our search", "differences"], searched = search_step(ours, side, seed)
        forwards = {"published loop": 3, "ours": 3, "our search": searched}
        seconds = best_of(steps, f"{subject.name}, {side} x {side}")
        first = seconds["published loop", "quanto"] / forwards["published loop"]
        for (loop, engine), took in seconds.items():
            each = took / forwards[loop]
            rows.append(
                {
                    "backbone": subject.name,
                    "latents": side,
                    "loop": loop,
                    "engine": engine,
                    "forwards": forwards[loop],
                    "seconds": took,
                    "seconds a forward": each,
                    "times faster": first / each,
                    "slope cosine": agreement[engine][0].cosine,
                    "slope error": agreement[engine][0].error,
                    "loss slope cosine": agreement[engine][1].cosine,
                }
            )
    return rows


def followed(engines: dict[str, Scored], subject: Subject, cache: Path) -> dict[str, tuple[Verdict, Verdict]]:
    """Return how closely each engine follows float32's slopes: of predictions, and of losses."""
    exact = CompactEngine(subject.folder, cache, form=EXACT)
    predictions, losses = jacobian(exact), slopes(exact)
    return {
        name: (compared(jacobian(engine), predictions), compared(slopes(engine), losses))
        for name, engine in engines.items()
    }


def best_of(steps: dict[tuple[str, str], Step], what: str, rounds: int = ROUNDS) -> dict[tuple[str, str], float]:
    """Return the least processor time of each step, all of them taking turns; the first round is for warming up."""
    told, found = Console(stderr=True), dict.fromkeys(steps, math.inf)
    for turn in range(rounds + 1):
        for (loop, engine), step in steps.items():
            begun = time.process_time()
            step()
            took = time.process_time() - begun
            if turn:
                found[loop, engine] = min(took, found[loop, engine])
            told.print(f"{what}, round {turn} of {rounds}: {loop}, {engine}: {took:.3g} s")
    return found


def report(rows: list[dict[str, Value]], seed: int, *, full: bool) -> Report:
    """Put promises beside measurements; only Stable Diffusion's shape has any about time."""
    ours = [row for row in rows if row["loop"] == "ours" and row["engine"] == "differences"]
    bars = [
        Bar(
            f"slope cosine, {row['engine']} on {row['backbone']}",
            float(row["slope cosine"] or 0),
            LEAST_COSINE,
            "at least",
        )
        for row in rows
        if row["loop"] == "ours" and row["engine"] in OFFERED and row["latents"] in {8, 16, 32}
    ]
    bars += [
        Bar(
            f"times faster than the published loop, {side} x {side}", float(row["times faster"] or 0), bound, "at least"
        )
        for row in ours
        for side, bound in BARS.items()
        if row["backbone"] == "sd15" and row["latents"] == side
    ]
    return Report(
        name="step",
        seed=seed,
        full=full,
        rows=rows,
        ratios={f"{row['backbone']} {row['latents']}": float(row["times faster"] or 0) for row in ours},
        bars=bars,
        notes=[
            "processor seconds of one step (base and two perturbations) on one thread, best of two rounds",
            (
                "our search: a whole step, predictions of a place and of probes around it and what finding the next "
                "place takes of the text encoder; times faster is by forward pass"
            ),
            "published loop: VAE encode, text encoder and U-Net for each of three forwards, quanto int8 in float32",
            "weights other than Pictograms' are random: their cost is the real model's, their pictures are not",
        ],
    )
