"""A round of tastes by the apps as they are deployed, over a grid in this process; a newcomer draws with what came."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from flwr.app import Context, RecordDict
from rich.console import Console

from client.app import app as client_app
from client.backbone.engine import fingerprint
from client.choices import Choice, Choices, Recipe
from client.database import Database
from client.drawing import Order, draw
from client.federation import enrol
from client.generate import load_pipeline
from client.ledger import Contribution, read
from client.lesson import Listener
from client.priors import current_prior
from client.statement import as_tables, statement
from client.taste.known import taste_token
from client.taste.lesson import study_taste
from client.taste.standing import MATURE, standing
from client.vault import Concept, Vault
from common.enrolment import answer
from common.errors import ConfigError
from common.statistics import clip
from server.app import app as server_app
from server.exchange import Clock
from server.keys import signing_key
from server.settings import RunSettings
from simulations.memory import MemoryGrid, virtual_person
from simulations.run import pretend
from simulations.vaults import virtual_vault

pytestmark = pytest.mark.slow

WIDTH, DIMENSIONS, PEOPLE = 32, 4, 4
QUIET = Listener(says=lambda _: None, progress=lambda _: None, stop=lambda: False)
BASIS = np.linalg.qr(np.random.default_rng(0).standard_normal((WIDTH, DIMENSIONS)))[0].astype(np.float32)


@pytest.fixture
def backbone(tiny_backbone):
    return fingerprint(tiny_backbone)


@pytest.fixture
def settings(tmp_path, backbone):
    np.save(tmp_path / "basis.npy", BASIS)
    return RunSettings(
        state_folder=tmp_path / "server", backbone=backbone, public_basis=tmp_path / "basis.npy", kinds=("taste",),
        rounds=1, minimum_people=3, unprotected_simulation=True, poll_seconds=0.2, patience_seconds=1.0,
    )  # fmt: skip


@pytest.fixture
def folders(tmp_path, settings, backbone, monkeypatch):
    """Some people, the last of whom is a newcomer without any choice; the server's seconds pass when it sleeps."""
    seconds = [0.0]

    def sleep(duration):
        seconds[0] += duration

    monkeypatch.setattr("server.app.Clock", lambda: Clock(now=lambda: seconds[0], sleep=sleep))
    operator, found = signing_key(settings.state_folder), []
    for number in range(PEOPLE + 1):
        folder = tmp_path / "people" / str(number)
        virtual_vault(folder)
        certify = partial(answer, operator)
        enrol(folder, operator=operator.public_key(), certify=certify, backbone=backbone, width=WIDTH)
        pretend(folder)
        found.append(folder)
    return found


def hold(folders, settings):
    people = folders[0].parent
    grid = MemoryGrid({number: virtual_person(client_app, number, people) for number in range(len(folders))})
    server_app(grid, Context(1, 0, {}, RecordDict(), settings.to_run_config()))


def rate(folder, backbone, count):
    """Choose, as somebody would at a terminal; which, does not matter here."""
    for number in range(count):
        first = Recipe(prompt="a dog", seed=2 * number, steps=2, guidance=2.0, backbone=backbone)
        Choices(folder).record(Choice(first=first, second=replace(first, seed=2 * number + 1), picked="first"))


def learn(folder, model):
    study_taste(folder, str(model), QUIET, forwards=300, engine="quanto")
    return Vault(folder).concept("taste")


def taught(folder, backbone, anchor, rng):
    """Leave a taste in the vault as if it had been learned."""
    token = anchor + rng.normal(0.05, 0.02, WIDTH).astype(np.float32)
    concept = Concept(
        name="taste", kind="taste", class_word="", backbone=backbone, anchor=anchor, token=token, loss=0.5, forwards=9
    )
    virtual_vault(folder).save_concept(concept)
    return concept


def test_a_newcomer_without_a_choice_draws_with_the_tastes_of_others(
    folders, settings, tiny_backbone, backbone, tmp_path
):
    *people, newcomer = folders
    rng = np.random.default_rng(1)
    pipeline = load_pipeline(tiny_backbone)
    with pytest.raises(ConfigError, match="shoal rate"):
        taste_token(newcomer, pipeline, tiny_backbone, QUIET)
    rate(people[0], backbone, MATURE)
    concepts = [learn(people[0], tiny_backbone)]
    concepts += [taught(folder, backbone, concepts[0].anchor, rng) for folder in people[1:]]
    hold(folders, settings)

    prior = current_prior(newcomer, backbone, "taste")
    assert (prior.kind, prior.people) == ("taste", PEOPLE)
    given = [clip(BASIS.T.astype(np.float64) @ one.displacement, settings.bound("taste")) for one in concepts]
    [cohort] = prior.cohorts
    np.testing.assert_allclose(cohort.mean, np.mean(given, axis=0), atol=1e-4)
    token, anchor = taste_token(newcomer, pipeline, tiny_backbone, QUIET)
    np.testing.assert_allclose(anchor, concepts[0].anchor, atol=1e-5)
    np.testing.assert_allclose(token, anchor + BASIS @ np.mean(given, axis=0), atol=1e-3)
    assert standing(newcomer).choices == 0

    console = Console(quiet=True)
    for strength in (0.0, 4.0):
        order = Order(
            prompt="a dog", seed=3, steps=2, taste=True, strength=strength, folder=tmp_path / f"drawn-{strength:g}"
        )
        draw(order, str(tiny_backbone), newcomer, console)
    plain, tasteful = (next((tmp_path / name).iterdir()).read_bytes() for name in ("drawn-0", "drawn-4"))
    assert plain != tasteful


def test_a_taste_is_given_once_however_often_it_is_learned_anew(folders, settings, tiny_backbone, backbone):
    *people, _ = folders
    rate(people[0], backbone, MATURE)
    first = learn(people[0], tiny_backbone)
    rng = np.random.default_rng(1)
    for folder in people[1:]:
        taught(folder, backbone, first.anchor, rng)
    hold(folders, settings)
    rate(people[0], backbone, 1)
    again = learn(people[0], tiny_backbone)
    assert not np.array_equal(again.token, first.token)
    hold(folders, settings)
    with Database(people[0]).transaction("DEFERRED") as rows:
        events = [entry.event for entry in read(rows, people[0])]
    assert [event.kind for event in events if isinstance(event, Contribution)] == ["taste"]
    assert current_prior(people[0], backbone, "taste").people == PEOPLE
    console = Console(width=200)
    with console.capture() as told:
        for part in as_tables(statement(people[0])):
            console.print(part)
    assert "│ taste │" in told.get()
