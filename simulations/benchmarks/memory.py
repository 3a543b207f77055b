"""``memory``: resident memory of fresh processes, libraries included: one step of each way to learn, and one picture.

Each row is a process of its own that loads, notes its peak, works, and notes its peak again. The peak is the kernel's
(VmHWM): it counts mapped files once they are touched, as an honest figure must. ``private`` is what of the resident set
no file stands behind, when the work is done: the system cannot take it back without swap. ``seconds`` are processor
seconds of the work's second time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console

from client.backbone.compact import CompactEngine, Form
from client.backbone.engine import TorchEngine
from client.backbone.latents import Batch
from client.generate import Request, generate, load_pipeline
from client.learn.search import learn
from client.learn.settings import Settings
from client.quiet import quiet
from common.errors import ConfigError
from simulations.benchmarks.framework import Bar, Report, Value
from simulations.benchmarks.loops import (
    dreambooth_step,
    inversion_step,
    load_vae,
    our_step,
    published_step,
    random_latents,
)
from simulations.benchmarks.shapes import write_shape

LEAST_RATIO, GOAL_RATIO = 8.2, 10.0
"""DreamBooth over ours: the paper's, and beyond it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a measured process is to do."""

    way: str
    folder: str
    cache: str
    side: int
    seed: int


def run(*, full: bool, seed: int) -> Report:
    """Measure every way on one shape: Stable Diffusion 1.5's at 64 x 64 in the full form, a tiny one in the small."""
    shape, side = ("sd15", 64) if full else ("tiny", 8)
    with tempfile.TemporaryDirectory() as place:
        folder = write_shape(shape, Path(place) / shape, seed=seed)
        cache = str(Path(place) / "cache")
        rows = [measured(Order(way=way, folder=str(folder), cache=cache, side=side, seed=seed)) for way in WAYS]
    return report(rows, shape, seed, full=full)


def measured(order: Order) -> dict[str, Value]:
    """Carry out an order in a process of its own and return its row.

    Raises:
        ConfigError: the process failed, mostly for want of memory.
    """
    done = subprocess.run(  # noqa: S603 - this very module
        [sys.executable, "-m", "simulations.benchmarks.memory", json.dumps(asdict(order))],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise ConfigError(f"measuring {order.way!r} ended with {done.returncode}: {done.stderr[-600:] or 'no memory?'}")
    row: dict[str, Value] = json.loads(done.stdout.splitlines()[-1])
    Console(stderr=True).print(f"{order.way}, {order.side} x {order.side}: {row['running MB']:,.0f} MB")
    return row


def report(rows: list[dict[str, Value]], shape: str, seed: int, *, full: bool) -> Report:
    """Put DreamBooth over ours, a step over a picture, and loading over running."""
    running = {str(row["way"]): float(row["running MB"] or 0) for row in rows}
    loading = {str(row["way"]): float(row["loading MB"] or 0) for row in rows}
    ratio = running["dreambooth"] / running["ours"]
    net = (running["dreambooth"] - running["libraries"]) / (running["ours"] - running["libraries"])
    first = max(loading["ours, first time"], running["ours, first time"])
    return Report(
        name="memory",
        seed=seed,
        full=full,
        rows=rows,
        ratios={
            "dreambooth / ours": ratio,
            "dreambooth / ours, both without libraries": net,
            "dreambooth / a whole learning of ours": running["dreambooth"] / running["ours, a whole learning"],
            "published loop / ours": running["published"] / running["ours"],
            "drawing as shoal generate does / ours": running["drawing"] / running["ours"],
        },
        bars=[
            Bar("DreamBooth's memory over ours", ratio, LEAST_RATIO, "at least"),
            Bar("goal beyond: the same", ratio, GOAL_RATIO, "at least"),
            Bar(
                "DreamBooth's memory over a whole learning's",
                running["dreambooth"] / running["ours, a whole learning"],
                LEAST_RATIO,
                "at least",
            ),
            Bar("a step over drawing on the same engine", running["ours"] / running["drawing, int8"], 1.10, "at most"),
            Bar("loading peak over running peak", loading["ours"] / running["ours"], 1.2, "at most"),
            Bar("the same when int8 shards are made", first / running["ours"], 1.2, "at most"),
        ],
        notes=[
            f"{shape}, random weights; MB of 10^6 bytes, one process each, one thread, base and two perturbations",
            "peaks are VmHWM: mapped files count once they are touched; private: resident, and no file behind it",
        ],
    )


def _ours(order: Order) -> Callable[[], None]:
    return our_step(CompactEngine(Path(order.folder), Path(order.cache)), order.side, order.seed)


def _learning(order: Order) -> Callable[[], None]:
    engine = CompactEngine(Path(order.folder), Path(order.cache))
    latents = random_latents(engine, order.side, order.seed)
    settings = Settings(forwards=24, validation=2)  # a start from the vocabulary, a step along 16 axes, a validation

    def whole() -> None:
        learn(engine, latents, kind="object", class_word="dog", settings=settings)

    return whole


def _published(order: Order) -> Callable[[], None]:
    folder = Path(order.folder)
    return published_step(TorchEngine(folder), load_vae(folder), order.side, order.seed)


def _drawing(order: Order) -> Callable[[], None]:
    pipeline = load_pipeline(Path(order.folder))
    request = Request(prompt="a dog", steps=1, seed=order.seed)
    return lambda: list(generate(pipeline, request, lambda _: None)).clear()


def _drawing_int8(order: Order) -> Callable[[], None]:
    """One step of denoising with guidance on mapped int8 weights, then the VAE: the leanest way to draw."""
    folder = Path(order.folder)
    engine = CompactEngine(folder, Path(order.cache), form=Form(differences=False))
    shape = (1, *random_latents(engine, order.side, order.seed).mean.shape[1:])
    zero = torch.zeros(1, dtype=torch.long)
    batch = Batch(latents=torch.randn(shape), noise=torch.randn(shape), timesteps=zero + 700, templates=zero)

    @torch.inference_mode()
    def draw() -> None:
        engine.losses(torch.stack([engine.anchor("dog"), engine.anchor("")]), batch, "object")
        load_vae(folder).decode(batch.latents)

    return draw


WAYS: dict[str, Callable[[Order], Callable[[], None]]] = {
    "libraries": lambda _: lambda: None,
    "ours, first time": _ours,
    "ours": _ours,
    "ours, a whole learning": _learning,
    "published": _published,
    "inversion": lambda o: inversion_step(Path(o.folder), o.side, o.seed, checkpointing=False),
    "inversion, checkpointing": lambda o: inversion_step(Path(o.folder), o.side, o.seed, checkpointing=True),
    "dreambooth": lambda o: dreambooth_step(Path(o.folder), o.side, o.seed),
    "drawing": _drawing,
    "drawing, int8": _drawing_int8,
}
"""What is measured: each takes an order, loads, and returns what works. The first of ours makes the int8 shards."""


def resident(name: str) -> float:
    """Return a figure of the kernel's on this process, VmHWM or RssAnon, in MB of 10^6 bytes."""
    text = Path("/proc/self/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    if found is None:
        raise ConfigError(f"this system does not tell {name}: measure memory on Linux")
    return int(found[1]) * 1024 / 1e6


def forget_peak() -> None:
    """Let the kernel's peak begin anew (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def carry_out(order: Order) -> dict[str, Value]:
    """Load, work twice (DreamBooth's optimizer has its state from the first step on), and note both peaks."""
    quiet()
    torch.set_num_threads(1)
    work = WAYS[order.way](order)
    loading = resident("VmHWM")
    forget_peak()
    for _ in range(2):
        begun = time.process_time()
        work()
    return {
        "way": order.way,
        "loading MB": round(loading, 1),
        "running MB": round(resident("VmHWM"), 1),
        "private MB": round(resident("RssAnon"), 1),
        "seconds": round(time.process_time() - begun, 3),
    }


if __name__ == "__main__":
    print(json.dumps(carry_out(Order(**json.loads(sys.argv[1])))))
