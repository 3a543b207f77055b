"""``bending``: how well slopes of a prediction foretell it elsewhere, along tokens and along the text encoder's states.

Between a token and a prediction stand the text encoder, which costs no forward pass, and the U-Net. Slopes are taken at
one place by probes along all axes; then a prediction a move away is foretold by them, once on a straight line along the
token, once by how the text encoder's states moved (`client.learn.evidence`). What is missed is told as a share of how
far the prediction moved: above one, standing still would have been the better guess.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from client.backbone.engine import TorchEngine
from client.backbone.latents import draw_batch
from client.learn.estimator import forward_jacobian
from client.learn.look import reading_of
from client.learn.photos import Photos
from client.learn.settings import Settings
from simulations.benchmarks.framework import Report, Value
from simulations.benchmarks.searches import latents_of
from simulations.demo import MODEL
from simulations.population import Person, people

SMALL, FULL = (1, 1), (8, 3)
"""People of each kind, and draws of each person and move."""

MOVES: Final = (1.0, 3.0)
"""How far from where slopes were taken, in standard deviations of the words."""


def run(*, full: bool, seed: int) -> Report:
    """Measure on objects and on styles, in floating point, from where a search of each begins."""
    count, draws = FULL if full else SMALL
    engine = TorchEngine(MODEL, int8=False)
    rows: list[dict[str, Value]] = []
    everybody = people(count, count, seed)
    for kind in ("object", "style"):
        for length in MOVES:
            missed = [
                foretold(engine, person, length, seed + draw)
                for person in everybody
                if person.kind == kind
                for draw in range(draws)
            ]
            along, through = np.median(missed, axis=0).tolist()
            rows.append(
                {"kind": kind, "move": length, "missed along the token": along, "missed through the text": through}
            )
    return Report(
        name="bending",
        seed=seed,
        full=full,
        rows=rows,
        notes=[
            f"{count} people of each kind, {draws} draws each, medians; float32",
            "missed: of how far the prediction moved; above 1, standing still is the better guess",
        ],
    )


@torch.inference_mode()
def foretold(engine: TorchEngine, person: Person, length: float, seed: int) -> tuple[float, float]:
    """Return what slopes miss of a prediction that far in a random direction: along the token, through its states."""
    latents = latents_of(engine, person)
    task = Photos(engine=engine, latents=latents, kind=person.kind, settings=Settings())
    shape = task.shape(task.covariance(), task.anchors(engine.anchor(person.class_word))[-1][1])
    generator = torch.Generator().manual_seed(seed)
    batch = draw_batch(latents, 1, task.timesteps, engine.templates(person.kind), generator)
    here, step = torch.zeros(shape.size), task.settings.step
    there = torch.randn(shape.size, generator=generator)
    there *= length / there.norm()
    before, slopes = forward_jacobian(lambda places: task.residuals(shape.token(places), batch), here, step)
    moved = task.residuals(shape.token(there[None]), batch)[0] - before
    places = torch.cat([here[None], step * torch.eye(shape.size), there[None]])
    states = engine.states(shape.token(places), person.kind, [int(batch.templates[0])], latents.captions)[:, 0]
    probed = reading_of((states[1:-1] - states[0]) / step) @ (states[-1] - states[0])
    along, through = (float((moved - move @ slopes).norm() / moved.norm()) for move in (there, probed))
    return along, through
