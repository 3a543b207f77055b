"""What a style takes from the things that it is asked for with: foretold, and held back once the style is found."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from client.backbone.engine import TorchEngine
from client.backbone.latents import Latents
from client.backbone.lexicon import Foresight, Lexicon
from client.backbone.probing import make_lexicon
from client.backbone.prompts import COMPANY, sayings
from client.learn.contrast import LATE, contrast
from client.learn.evidence import Predictions
from client.learn.photos import PROBES, Photos
from client.learn.search import learn, new_search
from client.learn.settings import Settings

WIDTH, THINGS, SEEN = 24, 3, 4
SETTINGS = Settings(forwards=900, seed=3)
STYLE = {"kind": "style", "class_word": ""}


@pytest.fixture
def taking(bowl):
    """A bowl with things that a token's first number leaves less of, and whose second number all things share."""
    things = torch.zeros(THINGS, WIDTH)
    things[:, 2 : 2 + THINGS] = 3 * torch.eye(THINGS)
    plain = bowl.states

    def states(candidates, kind, prompts, captions=()):
        if kind != COMPANY:
            return plain(candidates, kind, prompts, captions)
        left = (1 - candidates[:, None, :1]) * things[list(prompts)]
        return left + candidates[:, None, 1:2] * torch.ones(WIDTH)

    bowl.states = states
    bowl.templates = lambda kind: THINGS if kind == COMPANY else 1
    bowl.lexicon = Lexicon(
        centre=torch.zeros(8),
        features=torch.zeros(2, 8),
        weights=torch.zeros(3, WIDTH),
        basis=torch.eye(WIDTH),
        curvature=torch.eye(WIDTH),
        foresight=Foresight(
            told=torch.zeros(WIDTH), drawn=torch.zeros(8), views=torch.eye(8)[:SEEN],
            slopes=torch.eye(WIDTH)[2 : 2 + SEEN],
        ),
    )  # fmt: skip
    bowl.hidden = torch.zeros(WIDTH)
    bowl.hidden[:2] = 0.9
    return bowl


def test_only_what_makes_things_alike_is_held_back(taking):
    held = contrast(taking, **STYLE, settings=SETTINGS)
    tokens = torch.zeros(3, WIDTH)
    tokens[1, 1], tokens[2, 0] = 5.0, 0.5
    nothing, shared, taken = held.penalty(tokens).tolist()
    assert (nothing, shared) == pytest.approx((0, 0), abs=1e-6)
    assert taken > 0.01
    tokens[2, 0] = 1.0
    assert held.penalty(tokens)[2] == pytest.approx(4 * taken)
    torch.testing.assert_close(held.residuals(tokens).square().sum(dim=1), held.penalty(tokens))


@pytest.mark.parametrize("what", ["an object", "a stage", "an older lexicon", "no lexicon", "one thing"])
def test_where_it_cannot_be_foretold_nothing_is_held_back(taking, what):
    kind, settings = "style", SETTINGS
    if what == "an object":
        kind = "object"
    elif what == "a stage":
        settings = replace(SETTINGS, whole_range=True)
    elif what == "an older lexicon":
        taking.lexicon = replace(taking.lexicon, foresight=None)
    elif what == "no lexicon":
        taking.lexicon = None
    else:
        taking.templates = lambda _kind: 1
    assert contrast(taking, kind, "", settings) is None


def test_a_place_gives_way_to_what_should_be_small_besides():
    evidence = Predictions(forgetting=0.97)

    def states(places, prompts):
        return places[:, None].expand(-1, len(prompts), -1)

    place = torch.zeros(2)
    for _ in range(40):
        evidence.look(lambda places: places - 1, states, 0, place, torch.eye(2), 0.5)
        place = evidence.best(place, states)
    # The loss is half the square of each number less one; as much again, from zero, along the first.
    between = evidence.best(place, states, lambda places: 0.5**0.5 * places[:, :1])
    torch.testing.assert_close(place, torch.ones(2), atol=0.02, rtol=0)
    torch.testing.assert_close(between, torch.tensor([0.5, 1.0]), atol=0.02, rtol=0)


def test_a_style_is_found_first_and_then_leaves_more_of_the_things(taking, latents, monkeypatch):
    def search(weight):
        monkeypatch.setattr("client.learn.contrast.WEIGHT", weight)
        watched = []
        taking.forwards = 0
        found = learn(
            taking, latents, **STYLE, settings=SETTINGS, watch=lambda _forwards, token: watched.append(token.clone())
        )
        assert found.forwards == taking.forwards <= SETTINGS.forwards
        return torch.from_numpy(found.token), watched

    (free, before), (held, watched) = search(0.0), search(0.5)
    assert len(watched) > LATE + 2, "the search ended before anything was held back: this test could not fail"
    for one, other in zip(before[:LATE], watched, strict=False):
        torch.testing.assert_close(one, other)
    assert free[0] > 0.8
    assert held[0] < 0.8 * free[0]
    assert held[1] > 0.8


def test_what_was_best_is_judged_anew_when_it_begins_to_count(taking, latents):
    search = new_search(taking, latents, "style", "", SETTINGS)
    search.begin(None)
    search.step()
    fitting, leaving = taking.hidden.clone(), taking.hidden.clone()
    leaving[0] = 0.3
    for token, drawn in ((fitting, 1), (leaving, LATE - 1), (leaving, LATE)):
        search.descent.evidence.drawn = drawn
        search.descent.shape = replace(search.descent.shape, origin=token)
        search.descent.place = torch.zeros_like(search.descent.place)
        search.validate()
        if drawn < LATE:
            torch.testing.assert_close(search.best, fitting)
    torch.testing.assert_close(search.best, leaving)
    plain = float(taking.losses(leaving[None], search.validation, "style"))
    assert search.best_loss == pytest.approx(plain), "what was learned is told without what was added"


def test_a_search_that_holds_back_stopped_halfway_ends_in_the_same_bits(taking, latents, tmp_path):
    def run(**rest):
        return learn(taking, latents, **STYLE, settings=SETTINGS, **rest)

    whole, steps = run(), []
    paused = run(checkpoint=tmp_path / "kept", stop=lambda: steps.append(1) or len(steps) > LATE + 3)
    assert paused.reason == "paused"
    assert paused.forwards > LATE * (PROBES + 1)
    resumed = run(checkpoint=tmp_path / "kept")
    assert resumed.forwards == whole.forwards
    assert (resumed.token == whole.token).all()


def test_a_real_text_encoder_tells_what_things_lose(tiny_backbone):
    engine = TorchEngine(tiny_backbone)
    engine.lexicon = make_lexicon(engine)
    held = contrast(engine, "style", "", Settings())
    assert len(held.apart) == len(sayings(tiny_backbone).templates[COMPANY])
    word = engine.anchor("")
    away = word + torch.randn(4, engine.width, generator=torch.Generator().manual_seed(1))
    assert held.penalty(word[None]) == pytest.approx(0, abs=1e-8)
    assert (held.penalty(away) > 1e-6).all()
    task = Photos(
        engine=engine, latents=Latents(mean=torch.zeros(1, 4, 8, 8), spread=torch.zeros(1, 4, 8, 8)),
        kind="style", settings=Settings(), contrast=held,
    )  # fmt: skip
    evidence = task.evidence(4)
    assert not task.more(evidence, away).any()
    evidence.drawn = LATE
    torch.testing.assert_close(task.more(evidence, away), held.penalty(away))


def test_a_backbones_folder_may_say_which_things(tmp_path):
    own = {"templates": {"style": ["in {} style"]}, "things": ["fox", "hen"]}
    (tmp_path / "shoal.json").write_text(json.dumps(own))
    assert sayings(tmp_path).templates[COMPANY] == ("fox, in {} style", "hen, in {} style")
