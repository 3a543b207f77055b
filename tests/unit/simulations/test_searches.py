"""What was learned is kept: nothing is learned twice, nothing is taken for another's, half a file is none."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from client.learn.photos import AXES
from client.learn.subspace import shaped, vocabulary_covariance
from common.prior import Cohort, Prior
from simulations.benchmarks import searches
from simulations.benchmarks.searches import Search, Trial, displacement
from simulations.population import people
from simulations.trials import Target

WIDTH = 12


@pytest.fixture
def trial(tmp_path):
    return Trial(kept=tmp_path, descent=120, forwards=400, published=1000, taught={"object": 240, "style": 240})


@pytest.fixture
def learned(monkeypatch):
    """Count who learned."""
    calls = []

    def learn(_trial, person):
        calls.append(person.number)
        return np.full(WIDTH, person.number, np.float32)

    monkeypatch.setattr(searches, "_displacement", learn)
    return calls


def prior(mean):
    cohort = Cohort(weight=1.0, mean=np.full(2, mean), basis=np.eye(2)[:, :1], spectrum=np.array([0.5]), residual=0.1)
    return Prior(
        backbone="ab" * 32,
        kind="object",
        version=1,
        people=10,
        rounds=("one",),
        public_basis=np.eye(WIDTH)[:, :2],
        cohorts=(cohort,),
        created="2026-01-01T00:00:00Z",
    )


def test_a_person_learns_once(trial, learned):
    first, second = people(2, 0, 0)
    assert displacement(trial, first)[0] == displacement(trial, first)[0] == first.number
    assert displacement(trial, second)[0] == second.number
    assert learned == [first.number, second.number]


def test_half_a_file_is_none(trial, learned):
    (person,) = people(1, 0, 0)
    displacement(trial, person)
    (file,) = trial.folder().rglob("*.npz")
    file.write_bytes(file.read_bytes()[:100])
    assert displacement(trial, person)[0] == person.number
    assert learned == [person.number] * 2


def test_another_budget_other_pictures_or_another_learner_are_learned_anew(trial, learned, monkeypatch):
    (person,) = people(1, 0, 0)
    other = replace(person, pictures=person.pictures[:-1])
    displacement(trial, person)
    displacement(
        Trial(kept=trial.kept, descent=120, forwards=400, published=1000, taught={"object": 100, "style": 100}), person
    )
    displacement(trial, other)
    monkeypatch.setattr(searches, "_sources", lambda: "changed")
    displacement(trial, person)
    assert len(learned) == 4


def test_each_prior_and_budget_has_a_file_of_its_own(trial):
    longer = replace(trial, forwards=800)
    ours = [Search(name="any", way="ours", prior=each).file(trial) for each in (None, prior(0.1), prior(0.2))]
    assert len({*ours, Search(name="any", way="ours").file(longer)}) == 4
    published = Search(name="any", way="published")
    assert published.file(trial) == published.file(longer)
    patient = replace(published, patience=90_000)
    assert (patient.budget(trial), patient.file(trial)) == (90_000, "published-90000-none")


def test_a_borrowed_token_is_its_owner_s_and_another_owner_s_is_another(trial, monkeypatch):
    newcomer, first, second = people(0, 3, 0)
    losses = {first.number: 0.5, second.number: 0.9}
    kept = {each.number: np.full(WIDTH, losses[each.number], np.float32) for each in (first, second)}
    goal = Target(evaluation=None, anchor_loss=1.0, gradient_loss=0.5, gradient_token=torch.zeros(WIDTH))
    engine = SimpleNamespace(losses=lambda tokens, _batch, _kind: tokens[:, 0])
    monkeypatch.setattr(searches, "searcher", lambda _kept: engine)
    monkeypatch.setattr(searches, "latents_of", lambda _engine, _person: None)
    monkeypatch.setattr(searches, "target", lambda *_: goal)
    monkeypatch.setattr(searches, "_gradient", lambda _trial, person: {"token": kept[person.number]})
    ways = [Search(name="any", way="borrowed", owner=owner) for owner in (first, second)]
    met, missed = (searches.found(trial, newcomer, way) for way in ways)
    assert (met.reached, met.share, missed.reached) == (1, 1.0, None)
    assert missed.share == pytest.approx(0.2)
    np.testing.assert_array_equal(met.token, kept[first.number])


def test_random_axes_are_as_many_and_as_long_and_know_nothing():
    words = torch.randn(400, WIDTH, generator=torch.Generator().manual_seed(1)) * torch.linspace(2, 0.5, WIDTH)
    engine = SimpleNamespace(
        vocabulary=lambda: words, anchor=lambda _: torch.zeros(WIDTH), lexicon=None, width=WIDTH, kind="mine"
    )
    most = max(AXES.values())
    known = shaped(vocabulary_covariance(words), torch.zeros(WIDTH), None, least=most, most=most).axes
    changed = searches.randomized(engine)
    words = vocabulary_covariance(changed.vocabulary())
    axes = shaped(words, torch.zeros(WIDTH), changed.lexicon, least=most, most=most).axes
    assert axes.shape == known.shape
    lengths = axes.norm(dim=1)
    torch.testing.assert_close(lengths, known.square().sum(dim=1).mean().sqrt().expand(len(axes)), rtol=1e-3, atol=0)
    gram = (axes / lengths[:, None]) @ (axes / lengths[:, None]).T
    torch.testing.assert_close(gram, torch.eye(len(axes)), rtol=0, atol=1e-3)
    assert changed.kind == "mine"


def test_as_published_those_who_have_not_searched_go_in_step_and_in_other_ways_each_alone(trial, monkeypatch):
    engine, searched = SimpleNamespace(), []

    def search(_trial, person, way, engine_of_it):
        searched.append((way.way, person.number, engine_of_it is engine))
        numbers = {"reached": 0, "share": 0.5, "forwards": 9, "start": "anchor"}
        return {name: np.array(value) for name, value in numbers.items()} | {"token": np.zeros(2, np.float32)}

    monkeypatch.setattr(searches, "searcher", lambda _kept: engine)
    monkeypatch.setattr(searches, "_gradient", lambda *_: {})
    monkeypatch.setattr(searches, "_search", search)
    some = people(0, 3, 0)
    published, ours = Search(name="any", way="published"), Search(name="any", way="ours")
    searches.found(trial, some[0], published)
    found = searches.found_by_all(trial, some, published)
    assert [each.share for each in found] == [0.5] * 3
    first, *rest = searched
    assert first == ("published", some[0].number, True)
    assert sorted(rest) == [("published", person.number, False) for person in some[1:]]
    searched.clear()
    searches.found_by_all(trial, some, ours)
    assert searched == [("ours", person.number, True) for person in some]
