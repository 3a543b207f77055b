"""The reference mode against an independent, slow, line-by-line reading of the paper's algorithm."""

from __future__ import annotations

import math

import numpy as np
import torch

from client.learn.reference import ReferenceSettings, reference_search

WIDTH, STEPS = 9, 60
SETTINGS = ReferenceSettings(history=16, noise_share=0.02)


def loss_of(token, draw):
    weights = np.linspace(0.5, 2.0, WIDTH)
    return float((weights * (token - draw) ** 2).sum())


def draws():
    generator = np.random.default_rng(5)
    return [generator.normal(size=WIDTH) * 0.3 + 1 for _ in range(STEPS)]


def slow_oracle(start, noise):
    """Algorithm 1 with loops and NumPy only: n = 2 perturbations, Adam, Subspace Gradient every τ steps."""
    token, first, second = start.copy(), np.zeros(WIDTH), np.zeros(WIDTH)
    buffer, removed, course = [], [], []
    for step, draw in enumerate(draws(), start=1):
        base = loss_of(token, draw)
        gradient = np.zeros(WIDTH)
        for u in noise[step - 1]:
            slope = (loss_of(token + SETTINGS.step * u, draw) - base) / SETTINGS.step
            gradient += slope * u / 2
        gradient /= math.sqrt((WIDTH - len(removed) + 2 - 1) / 2)
        for direction in removed:
            gradient -= (gradient @ direction) * direction
        for j in range(WIDTH):
            first[j] = 0.9 * first[j] + 0.1 * gradient[j]
            second[j] = 0.999 * second[j] + 0.001 * gradient[j] ** 2
            corrected = first[j] / (1 - 0.9**step), second[j] / (1 - 0.999**step)
            token[j] -= SETTINGS.rate * corrected[0] / (math.sqrt(corrected[1]) + 1e-3)
        buffer = [*buffer, token.copy()][-SETTINGS.history :]
        if step % SETTINGS.history == 0:
            rows = np.array(buffer)
            rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
            values, vectors = np.linalg.eigh(rows.T @ rows)
            order = np.argsort(values)[::-1]
            shares = np.cumsum(values[order]) / values.sum()
            kept = int(np.argmax(shares > 1 - SETTINGS.noise_share)) + 1
            removed = [vectors[:, i] for i in order[kept:]]
        course.append(token.copy())
    return course, len(removed)


def test_reference_mode_follows_the_paper_step_by_step():
    torch.set_default_dtype(torch.float64)
    try:
        generator = torch.Generator().manual_seed(4)
        noise = [torch.randn(2, WIDTH, generator=generator).numpy() for _ in range(STEPS)]
        course, removed = slow_oracle(np.full(WIDTH, 0.2), noise)
        batches = iter(draws())

        def next_losses():
            draw = next(batches)
            return lambda candidates: torch.tensor([loss_of(c.numpy(), draw) for c in candidates])

        search = reference_search(torch.full((WIDTH,), 0.2), next_losses, SETTINGS, torch.Generator().manual_seed(4))
        for step in range(STEPS):
            forwards, token = next(search)
            assert forwards == 3 * (step + 1)
            np.testing.assert_allclose(token.numpy(), course[step], rtol=1e-6, atol=1e-9)
        assert 0 < removed < WIDTH, "the comparison must cover Subspace Gradient"
    finally:
        torch.set_default_dtype(torch.float32)
