"""``timesteps``: where on the noise schedule text steers the backbone, as ZOODiP measured it for PUTS.

For people's pictures and each range of timesteps: the norm of the loss's mean gradient with respect to the token,
at the anchor, beside the standard deviation of single draws' gradients; with plain and with antithetic noise (each
draw also with its noise reversed, the two averaged). A range is worth searching where the ratio is large.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from client.backbone.engine import TorchEngine
from client.backbone.latents import Latents, draw_batch
from client.photos import load_photos, stack
from simulations.benchmarks.framework import Report, Value
from simulations.demo import MODEL
from simulations.population import people, write_pictures

RANGES = ((0, 200), (200, 400), (400, 500), (500, 600), (600, 700), (700, 800), (800, 900), (900, 1000))
SMALL, FULL = (2, 8), (8, 32)
"""People, and draws of each person and range."""


def run(*, full: bool, seed: int) -> Report:
    """Measure on objects, in floating point."""
    count, draws = FULL if full else SMALL
    engine = TorchEngine(MODEL, int8=False)
    subjects = []
    with tempfile.TemporaryDirectory() as folder:
        for person in people(count, 0, seed):
            photos, _ = load_photos(write_pictures(person, Path(folder) / str(person.number)), engine.pixel_size)
            subjects.append((engine.encode(stack(photos)), engine.anchor(person.class_word)))
    rows = [_row(engine, subjects, bounds, draws, seed) for bounds in RANGES]
    return Report(
        name="timesteps",
        seed=seed,
        full=full,
        rows=rows,
        notes=[f"{count} people, {draws} draws each; signal and noise in units of loss over embedding, medians"],
    )


def _row(
    engine: TorchEngine, subjects: list[tuple[Latents, Tensor]], bounds: tuple[int, int], draws: int, seed: int
) -> dict[str, Value]:
    """Return signal and noise over one range, medians over people."""
    row: dict[str, Value] = {"timesteps": f"{bounds[0]} to {bounds[1]}"}
    for name, antithetic in (("plain", False), ("antithetic", True)):
        found = [signal_and_noise(engine, *subject, bounds, draws, seed, antithetic=antithetic) for subject in subjects]
        signal, noise = np.median(found, axis=0)
        row |= {f"signal, {name}": float(signal), f"noise, {name}": float(noise)}
        row[f"ratio, {name}"] = float(signal / noise)
    return row


def signal_and_noise(
    engine: TorchEngine,
    latents: Latents,
    anchor: Tensor,
    bounds: tuple[int, int],
    draws: int,
    seed: int,
    *,
    antithetic: bool,
) -> tuple[float, float]:
    """Return the norm of the mean gradient, its own variance taken off, and the deviation of one draw's."""
    generator = torch.Generator().manual_seed(seed)
    gradients = []
    for _ in range(draws):
        batch = draw_batch(latents, 2 if antithetic else 1, bounds, 1, generator, antithetic=antithetic)
        token = anchor.clone().requires_grad_()
        with torch.enable_grad():
            engine.losses_with_graph(token[None], batch, "object").sum().backward()
        gradients.append(token.grad)
    rows = torch.stack([g for g in gradients if g is not None])
    variance = float(rows.var(dim=0).sum())
    signal = float(rows.mean(dim=0).square().sum()) - variance / draws
    return max(signal, 0.0) ** 0.5, variance**0.5
