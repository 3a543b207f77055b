"""Searches in step find what they would find alone, from fewer and larger calls."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from client.backbone.compact import CompactEngine, Form
from client.backbone.engine import TorchEngine
from client.backbone.latents import draw_batch
from client.learn.reference import ReferenceSettings, published_draws, reference_search
from simulations.lockstep import in_lockstep

WORDS = ("dog", "cat", "house")
WHOLE = Form(weights="whole", arithmetic=torch.float32)


@pytest.fixture(scope="module", params=["points", "differences"])
def engine(request, tiny_backbone, tmp_path_factory):
    if request.param == "points":
        return TorchEngine(tiny_backbone, int8=False)
    return CompactEngine(tiny_backbone, tmp_path_factory.mktemp("cache"), form=WHOLE)


@pytest.fixture
def calls(engine, monkeypatch):
    """Record how many people each call of all is for."""
    counted, real = [], engine.losses_of_many

    def counting(candidates, batch, kind):
        counted.append(len(batch))
        return real(candidates, batch, kind)

    monkeypatch.setattr(engine, "losses_of_many", counting, raising=False)
    return counted


def latents_of(engine, number, *, captioned):
    side = engine.pixel_size
    pixels = np.random.default_rng(number).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    latents = engine.encode(pixels)
    return latents.captioned([f"a {{}} in a {word}" for word in WORDS[:2]]) if captioned else latents


def search(engine, latents, number, steps):
    generator = torch.Generator().manual_seed(number)
    draws = published_draws(engine, latents, "object", generator)
    found = reference_search(engine.anchor(WORDS[number]), draws, ReferenceSettings(), generator)
    for _ in range(steps):
        _, token = next(found)
    return token


@pytest.mark.parametrize("captioned", [False, True])
def test_each_finds_what_it_finds_alone_however_long_the_others_search(engine, calls, captioned):
    latents = [latents_of(engine, number, captioned=captioned) for number in range(3)]
    steps = (4, 2, 3)

    def seated(number):
        return lambda seat: search(seat, latents[number], number, steps[number])

    together = in_lockstep(engine, [seated(number) for number in range(3)])
    alone = [search(engine, latents[number], number, steps[number]) for number in range(3)]
    assert calls == [3, 3, 2, 1]
    for one, another, word in zip(together, alone, WORDS, strict=True):
        moved = another - engine.anchor(word)
        torch.testing.assert_close(one, another, rtol=0, atol=0.02 * float(moved.abs().max()))


def test_what_is_no_single_draw_is_told_alone(engine, calls):
    latents = latents_of(engine, 0, captioned=False)
    several = draw_batch(latents, 3, engine.timesteps, engine.templates("object"), torch.Generator().manual_seed(0))
    tokens = torch.stack([engine.anchor(word) for word in WORDS])

    def look(seat):
        assert seat.width == engine.width
        return seat.losses(tokens, several, "object")

    for losses in in_lockstep(engine, [look] * 2):
        torch.testing.assert_close(losses, engine.losses(tokens, several, "object"))
    assert calls == []


def test_what_a_call_breaks_on_everybody_hears(engine, monkeypatch):
    heard = []

    def broken(*_given):
        raise RuntimeError("no more memory")

    monkeypatch.setattr(engine, "losses_of_many", broken, raising=False)
    latents = latents_of(engine, 0, captioned=False)

    def listen(seat):
        try:
            search(seat, latents, 0, 1)
        except RuntimeError as error:
            heard.append(str(error))
            raise

    with pytest.raises(RuntimeError, match="no more memory"):
        in_lockstep(engine, [listen] * 3)
    assert heard == ["no more memory"] * 3


def test_who_breaks_off_holds_nobody_up(engine, calls):
    latents = latents_of(engine, 0, captioned=False)

    def broken(_seat):
        raise ValueError("a photo cannot be read")

    with pytest.raises(ValueError, match="cannot be read"):
        in_lockstep(engine, [broken, lambda seat: search(seat, latents, 0, 2)])
    assert calls == [1, 1]


def test_ctrl_c_ends_all_searches(engine, monkeypatch):
    latents, ended = latents_of(engine, 0, captioned=False), []

    def interrupted(*_given):
        raise KeyboardInterrupt

    def search_on(seat):
        try:
            search(seat, latents, 0, 100)
        finally:
            ended.append(seat)

    monkeypatch.setattr(engine, "losses_of_many", interrupted, raising=False)
    with pytest.raises(KeyboardInterrupt):
        in_lockstep(engine, [search_on] * 3)
    assert len(ended) == 3


def test_photos_are_encoded_one_search_after_the_other(engine):
    side = engine.pixel_size
    pixels = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    alone = engine.encode(pixels)
    for latents in in_lockstep(engine, [lambda seat: seat.encode(pixels)] * 12):
        torch.testing.assert_close(latents.mean, alone.mean)
