"""``large``: a step of ours on Stable Diffusion XL's true shape: memory and processor time, in fresh processes.

Random weights, as wherever no real ones can be had: the cost is the real model's, the pictures are not. Making them
takes 8 GB of memory and 11 GB of disk in the full form.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from simulations.benchmarks.framework import Report
from simulations.benchmarks.memory import Order, measured
from simulations.benchmarks.shapes import write_shape

SIDES = {True: (64, 128), False: (8,)}
"""Of the latents, in the full form and the small: 512 and 1024 pixels, of which the second is what XL was made for."""


def run(*, full: bool, seed: int) -> Report:
    """Measure a step of base and two perturbations, the first time, when int8 shards are made, and afterwards."""
    shape = "sdxl" if full else "tiny-xl"
    with tempfile.TemporaryDirectory() as place:
        folder = write_shape(shape, Path(place) / shape, seed=seed)
        orders = [
            Order(way=way, folder=str(folder), cache=str(Path(place) / "cache"), side=side, seed=seed)
            for way, side in (("ours, first time", SIDES[full][0]), *(("ours", side) for side in SIDES[full]))
        ]
        rows = [{"latents": order.side} | measured(order) for order in orders]
    return Report(
        name="large",
        seed=seed,
        full=full,
        rows=rows,
        ratios={},
        bars=[],
        notes=[
            f"{shape}, random weights; MB of 10^6 bytes, one process each, one thread, base and two perturbations",
            "seconds are processor seconds of one step, the second of a process",
        ],
    )
