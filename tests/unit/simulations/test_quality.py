"""Whose tokens draw, and how strongly."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from simulations.benchmarks import quality
from simulations.benchmarks.promises import SOFTER, at_strength
from simulations.benchmarks.searches import Found
from simulations.benchmarks.ways import GRADIENT, REFERENCE, SMALL, largest
from simulations.population import people
from tests.unit.simulations.conftest import Inline

EVERY_WAY = ("gradient", "ours", "published")


@pytest.mark.parametrize(
    ("ran", "fewest", "published"),
    [((), 1, 3), (("gradient", "ours"), 1, 0), (EVERY_WAY, 2, 2), (EVERY_WAY, 3, 0)],
    ids=["nobody yet", "none as published", "two as published", "two as published, too few"],
)
def test_as_published_draw_those_who_searched_so_or_all_where_nobody_searched(monkeypatch, ran, fewest, published):
    newcomers = people(3, 0, 0)
    ways = {person.number: set(ran) - ({"published"} if person is newcomers[0] else set()) for person in newcomers}
    token = Found(reached=1, share=1.0, forwards=1, token=np.zeros(2, np.float32), start="anchor")
    monkeypatch.setattr(quality, "learned_by_crowd", lambda *_: np.zeros((1, 2)))
    monkeypatch.setattr(quality, "priors", lambda *_: [])
    monkeypatch.setattr(quality, "is_kept", lambda _trial, person, search: search.way in ways[person.number])
    monkeypatch.setattr(quality, "found", lambda *_: token)
    quiet = Console(file=io.StringIO())
    some, tokens = quality.learned(Inline, None, newcomers, newcomers, replace(SMALL, fewest=fewest), 0, quiet)
    assert len(some) == len(tokens[GRADIENT]) == 3
    assert len(tokens.get(REFERENCE, [])) == published


def test_styles_are_said_more_softly_too(monkeypatch):
    newcomers = people(0, 2, 0)
    token = Found(reached=1, share=1.0, forwards=1, token=np.array([2, 4], np.float32), start="anchor")
    engine = SimpleNamespace(anchor=lambda _word: torch.tensor([0.0, 2.0]))
    monkeypatch.setattr(quality, "learned_by_crowd", lambda *_: np.zeros((1, 2)))
    monkeypatch.setattr(quality, "priors", lambda *_: [])
    monkeypatch.setattr(quality, "is_kept", lambda *_: True)
    monkeypatch.setattr(quality, "found", lambda *_: token)
    monkeypatch.setattr(quality, "searcher", lambda _: engine)
    monkeypatch.setitem(SOFTER, "style", (0.5,))
    trial = SimpleNamespace(kept=None)
    _, tokens = quality.learned(Inline, trial, newcomers, newcomers, SMALL, 0, Console(file=io.StringIO()))
    ours = next(way for way in tokens if way.startswith(largest(SMALL)))
    assert [each.tolist() for each in tokens[at_strength(ours, 0.5)]] == [[1, 3]] * 2
