from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from client.backbone.latents import Latents
from client.backbone.lexicon import Foresight, Lexicon
from client.learn.descent import Descent
from client.learn.evidence import Predictions
from client.learn.opening import PROMPTS, ROUNDS, Opening
from client.learn.photos import PROBES, Photos
from client.learn.preservation import Preservation
from client.learn.search import learn
from client.learn.settings import Settings
from client.learn.subspace import shaped

VIEWS, TOLD, ENTRIES = 8, 24, 8
SETTINGS = Settings(forwards=600, seed=3)


@pytest.fixture
def foresight():
    """Nothing is drawn where nothing is told, and views are the pictures' numbers themselves."""
    return Foresight(
        told=torch.zeros(TOLD),
        drawn=torch.zeros(ENTRIES),
        views=torch.eye(ENTRIES),
        slopes=2**0.5 * torch.eye(TOLD)[:VIEWS],
    )


@pytest.fixture
def wide(bowl, foresight):
    """A bowl that draws what its first eight numbers miss, so that photos of nothing are drawn at its bottom."""
    bowl.lexicon = Lexicon(
        centre=torch.zeros(ENTRIES),
        features=torch.zeros(2, ENTRIES),
        weights=torch.zeros(3, bowl.width),
        basis=torch.eye(bowl.width),
        curvature=torch.eye(bowl.width),
        foresight=replace(foresight, drawn=-(2**0.5) * bowl.hidden[:ENTRIES]),
    )
    bowl.drawn = lambda residuals, _timestep: residuals[..., :ENTRIES]
    return bowl


@pytest.fixture
def nothing():
    """Four photos of nothing."""
    return Latents(mean=torch.zeros(4, 2, 2, 2), spread=torch.full((4, 2, 2, 2), 0.1))


def told(places):
    """What a text encoder's norm may make of places."""
    moved = places + 0.3
    return moved / (0.5 + moved.norm(dim=-1, keepdim=True))


def drawn(states):
    """Pictures are linear in what is told, but not as the lexicon has it."""
    mixed = torch.randn(TOLD, ENTRIES, generator=torch.Generator().manual_seed(4))
    return states @ (2**0.5 * torch.eye(TOLD)[:, :ENTRIES] + 0.2 * mixed)


def test_rounds_of_asking_mend_slopes_that_mislead(foresight):
    goal = torch.randn(1, TOLD, generator=torch.Generator().manual_seed(5))
    photos = drawn(told(goal)).view(1, 2, 2, 2)
    opening = Opening.foretold(foresight, Latents(mean=photos, spread=0 * photos), templates=1)
    evidence = Predictions(forgetting=0.97, opening=opening)

    def states(places, prompts):
        return told(places)[:, None].expand(-1, len(prompts), -1)

    place, missed = torch.zeros(TOLD), []
    for _ in range(ROUNDS):
        place = evidence.best(place, states)
        evidence.opening = evidence.opening.seen(told(place)[None], drawn(told(place))[None])
        missed.append(evidence.opening.missed)
    assert missed[-1] < 0.05 * missed[0]


def test_draws_soon_outweigh_what_mean_pictures_said(foresight):
    asked, wanted = torch.zeros(TOLD), torch.zeros(TOLD)
    asked[0], wanted[0] = 2.0, -1.0
    photos = (foresight.slopes @ asked).view(1, 2, 2, 2)
    opening = Opening.foretold(foresight, Latents(mean=photos, spread=0 * photos), templates=1)
    evidence = Predictions(forgetting=0.99, opening=opening)

    def states(places, prompts):
        return places[:, None].expand(-1, len(prompts), -1)

    def residuals(places):
        return places - wanted

    place, found = torch.zeros(TOLD), []
    for _ in range(12):
        place = evidence.best(place, states)
        found.append(float(place[0]))
        evidence.look(residuals, states, 0, place, torch.eye(TOLD), 0.5)
    assert found[0] == pytest.approx(2, abs=0.1)
    assert found[1] > 0  # a single draw is mostly noise
    assert found[-1] == pytest.approx(-1, abs=0.15)


def test_each_captioned_photo_has_a_prompt_of_its_own_and_many_are_not_all_asked(foresight, nothing):
    assert len(Opening.foretold(foresight, nothing, templates=2)) == 2
    assert len(Opening.foretold(foresight, nothing.captioned(["a {}"] * 4), templates=2)) == 4
    many = Latents(mean=torch.zeros(9, 2, 2, 2), spread=torch.zeros(9, 2, 2, 2)).captioned(["a {}"] * 9)
    opening = Opening.foretold(foresight, many, templates=1)
    assert len(opening) == PROMPTS
    assert sum(share for _, share in opening.looks()) == pytest.approx(1)


def test_a_search_begins_where_the_lexicon_foretells_and_no_forward_is_spent_on_it(wide, nothing):
    task = Photos(engine=wide, latents=nothing, kind="object", settings=SETTINGS)
    shape = shaped(torch.eye(wide.width), torch.zeros(wide.width), None, most=wide.width)
    descent = Descent(task=task, shape=shape)
    assert wide.forwards == 0
    assert (descent.token - wide.hidden)[:ENTRIES].norm() < 0.1 * wide.hidden[:ENTRIES].norm()
    for _ in range(ROUNDS):
        assert descent.forwards == 1 * wide.templates("object")
        descent.step(torch.Generator().manual_seed(0))
    assert wide.forwards == ROUNDS * wide.templates("object")
    assert descent.forwards == PROBES + 1


def test_every_forward_of_a_search_with_an_opening_is_counted_and_it_ends_nearer_for_fewer(wide, nothing):
    watched = {}
    for foreseen in (True, False):
        if not foreseen:
            wide.lexicon = replace(wide.lexicon, foresight=None)
        wide.forwards, places = 0, []
        result = learn(
            wide, nothing, kind="object", class_word="dog", settings=SETTINGS,
            watch=lambda forwards, token, places=places: places.append((forwards, token)),
        )  # fmt: skip
        assert result.forwards == wide.forwards <= SETTINGS.forwards
        watched[foreseen] = next(f for f, token in places if (token - wide.hidden)[:ENTRIES].norm() < 0.2)
    assert watched[True] < watched[False]


def test_a_search_stopped_while_it_asks_goes_on_to_the_same_bits(wide, nothing, tmp_path):
    def run(**rest):
        return learn(wide, nothing, kind="object", class_word="dog", settings=SETTINGS, **rest)

    whole, steps = run(), []
    paused = run(checkpoint=tmp_path / "kept", stop=lambda: steps.append(1) or len(steps) > ROUNDS // 2)
    assert paused.reason == "paused"
    resumed = run(checkpoint=tmp_path / "kept")
    assert resumed.forwards == whole.forwards
    np.testing.assert_array_equal(resumed.token, whole.token)


def test_a_search_that_began_before_there_were_openings_goes_on_without_one(wide, nothing):
    task = Photos(engine=wide, latents=nothing, kind="object", settings=SETTINGS)
    shape = shaped(torch.eye(wide.width), torch.zeros(wide.width), None, most=wide.width)
    old = Descent(task=task, shape=shape)
    before = {name: tensor for name, tensor in old.tensors().items() if not name.startswith("opening.")}
    before.pop("drawn")
    restored = Descent.restored(task, before, 0)
    assert restored.evidence.opening is None
    assert restored.forwards == PROBES + 1
    restored.step(torch.Generator().manual_seed(0))


def test_what_asking_led_to_is_kept_if_no_draw_finds_better(wide, nothing, monkeypatch):
    def astray(self, evidence, shape, place):
        return found(self, evidence, shape, place) if not evidence.looks else torch.full((shape.size,), 9.0)

    found = Photos.best
    monkeypatch.setattr(Photos, "best", astray)
    places = []
    result = learn(
        wide, nothing, kind="object", class_word="dog", settings=SETTINGS,
        watch=lambda _forwards, token: places.append(token.clone()),
    )  # fmt: skip
    np.testing.assert_array_equal(result.token, places[ROUNDS].numpy())
    assert result.forwards == wide.forwards <= SETTINGS.forwards


def test_a_style_asks_nothing_first(wide, nothing):
    assert Photos(engine=wide, latents=nothing, kind="style", settings=SETTINGS).evidence(4).opening is None


@pytest.mark.parametrize("what", ["masks", "a stage", "preservation", "two vectors", "an older lexicon", "no lexicon"])
def test_where_mean_pictures_do_not_say_what_is_to_be_learned_there_is_no_opening(wide, nothing, what):
    preserved = None
    if what == "masks":
        nothing = nothing.masked(torch.ones(4, 8, 8))
    elif what == "preservation":
        preserved = Preservation(engine=wide, class_word="dog", weight=1.0, meaning=torch.ones(TOLD))
    elif what == "two vectors":
        wide.vectors = 2
    elif what == "an older lexicon":
        wide.lexicon = replace(wide.lexicon, foresight=None)
    elif what == "no lexicon":
        wide.lexicon = None
    settings = replace(SETTINGS, whole_range=what == "a stage")
    task = Photos(engine=wide, latents=nothing, kind="object", settings=settings, preserved=preserved)
    assert task.evidence(4).opening is None
