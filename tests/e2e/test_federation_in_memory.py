"""Both apps as they are deployed, over a grid within this process: whole rounds in seconds."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from client.app import app as client_app
from client.federation import current_prior, enrol
from client.vault import Concept, Vault
from server.app import app as server_app
from server.keys import signing_key
from server.settings import RunSettings
from simulations.memory import MemoryGrid, person

WIDTH, DIMENSIONS = 24, 4
BACKBONE = "ab" * 32


@pytest.fixture
def settings(tmp_path):
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((WIDTH, DIMENSIONS)))[0]
    np.save(tmp_path / "basis.npy", basis.astype(np.float32))
    return RunSettings(
        state_folder=tmp_path / "server",
        backbone=BACKBONE,
        public_basis=tmp_path / "basis.npy",
        kinds=("object",),
        rounds=1,
        minimum_people=3,
        cohorts=2,
        poll_seconds=0.01,
        patience_seconds=1.0,
    )


def teach(folder, rng, kind="object", name="it"):
    anchor = rng.standard_normal(WIDTH).astype(np.float32)
    token = anchor + rng.normal(0.1, 0.2, WIDTH).astype(np.float32)
    concept = Concept(
        name=name, kind=kind, class_word="dog", backbone=BACKBONE, anchor=anchor, token=token, loss=1, forwards=9
    )
    Vault(folder).save_concept(concept)
    return concept.displacement


def hold(grid, settings):
    server_app(grid, Context(1, 0, {}, RecordDict(), settings.to_run_config()))


def test_three_rounds_of_new_people_each_leave_the_plain_mean_with_everybody(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("server.update.PEOPLE_PER_COHORT", 4)
    rng = np.random.default_rng(3)
    operator = signing_key(settings.state_folder).public_key()
    folders = [tmp_path / "people" / str(number) for number in range(12)]
    for folder in folders:
        enrol(folder, operator=operator, backbone=BACKBONE, width=WIDTH)
    grid = MemoryGrid({number: person(client_app, number, folder) for number, folder in enumerate(folders, start=1)})
    basis = np.load(settings.public_basis).astype(float)
    taught = []
    for wave, newcomers in enumerate([folders[:6], folders[6:9], folders[9:]]):
        taught += [basis.T @ teach(folder, rng) for folder in newcomers]
        hold(grid, settings)
        priors = [current_prior(folder, BACKBONE, "object") for folder in folders]
        assert {(prior.version, prior.people) for prior in priors} == {(wave + 1, len(taught))}
        mean = sum(cohort.weight * cohort.mean for cohort in priors[0].cohorts)
        np.testing.assert_allclose(mean, np.mean(taught, axis=0), atol=1e-9)
    # The second version has two cohorts, so the third wave contributed responsibilities as well.
    assert len(priors[0].cohorts) == 2


def test_a_person_contributes_once_however_often_rounds_come(settings, tmp_path):
    rng = np.random.default_rng(3)
    operator = signing_key(settings.state_folder).public_key()
    folders = [tmp_path / "people" / str(number) for number in range(4)]
    for folder in folders:
        enrol(folder, operator=operator, backbone=BACKBONE, width=WIDTH)
        teach(folder, rng)
    grid = MemoryGrid({number: person(client_app, number, folder) for number, folder in enumerate(folders, start=1)})
    hold(grid, settings)
    hold(grid, settings)
    assert current_prior(folders[0], BACKBONE, "object").people == 4
    assert [action for _, action in grid.sent].count("train.contribute") == 4


def test_someone_who_pinned_another_operator_takes_no_part_in_the_second_round(settings, tmp_path):
    rng = np.random.default_rng(3)
    operator = signing_key(settings.state_folder).public_key()
    other = signing_key(tmp_path / "other").public_key()
    folders = [tmp_path / "people" / str(number) for number in range(4)]
    for folder in folders:
        enrol(folder, operator=other if folder == folders[3] else operator, backbone=BACKBONE, width=WIDTH)
        teach(folder, rng)
    grid = MemoryGrid({number: person(client_app, number, folder) for number, folder in enumerate(folders, start=1)})
    hold(grid, settings)
    assert current_prior(folders[3], BACKBONE, "object") is None
    for folder in folders:
        teach(folder, rng, name="another")
    hold(grid, settings)
    assert current_prior(folders[0], BACKBONE, "object").people == 4 + 3
    assert current_prior(folders[3], BACKBONE, "object") is None
