"""The federation on Flower's simulation engine, in its own process, while people learn in others."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client.priors import current_prior
from client.vault import Concept, Vault
from common.errors import ShoalError
from server.settings import RunSettings
from simulations.run import Federation

WIDTH, DIMENSIONS, PEOPLE = 24, 4, 8
BACKBONE = "ab" * 32


@pytest.fixture
def settings(tmp_path):
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((WIDTH, DIMENSIONS)))[0]
    np.save(tmp_path / "basis.npy", basis.astype(np.float32))
    return RunSettings(
        state_folder=tmp_path / "server",
        backbone=BACKBONE,
        public_basis=tmp_path / "basis.npy",
        kinds=("object", "style"),
        rounds=3,
        minimum_people=3,
        unprotected_simulation=True,
        poll_seconds=1.0,
        patience_seconds=300.0,
    )


def teach(folder, kind, name, rng):
    anchor = rng.standard_normal(WIDTH).astype(np.float32)
    token = anchor + rng.normal(0.1, 0.2, WIDTH).astype(np.float32)
    concept = Concept(
        name=name, kind=kind, class_word="", backbone=BACKBONE, anchor=anchor, token=token, loss=1, forwards=9
    )
    Vault(folder).save_concept(concept)
    return concept.displacement


def await_version(federation, folders, kind, version):
    end = time.monotonic() + 600
    while True:
        priors = [current_prior(folder, BACKBONE, kind) for folder in folders]
        if all(prior and prior.version == version for prior in priors):
            return priors
        assert federation.running, federation.log.read_text()
        assert time.monotonic() < end, federation.log.read_text()
        time.sleep(0.5)


@pytest.mark.slow
def test_people_learn_meanwhile_and_everybody_gets_the_plain_mean(settings, tmp_path):
    rng = np.random.default_rng(5)
    people = tmp_path / "people"
    folders = [people / str(number) for number in range(PEOPLE)]
    basis = np.load(settings.public_basis).astype(float)
    taught = {"object": [], "style": []}
    # A wave of five and three: a round must wait for all of its wave.
    waved = RunSettings.from_run_config({**settings.to_run_config(), "wave-size": "5,3"})
    with Federation(waved, people_folder=people, people=PEOPLE) as federation:
        for wave in range(1, 4):
            for number, folder in enumerate(folders):
                kind = "object" if number < 5 else "style"
                taught[kind].append(basis.T @ teach(folder, kind, f"wave-{wave}", rng))
            for kind, given in taught.items():
                priors = await_version(federation, folders, kind, wave)
                assert {prior.people for prior in priors} == {len(given)}
                mean = sum(cohort.weight * cohort.mean for cohort in priors[0].cohorts)
                np.testing.assert_allclose(mean, np.mean(given, axis=0), atol=1e-3)  # integers, rounded at random
        federation.wait(timeout=120)
    assert not federation.running


@pytest.mark.slow
def test_a_federation_that_is_stopped_leaves_no_process(settings, tmp_path):
    with Federation(settings, people_folder=tmp_path / "people", people=2) as federation:
        family = [federation._process.pid, *descendants(federation._process.pid)]
        assert len(family) > 3  # Ray's own are among them
        with pytest.raises(ShoalError, match="not over"):
            federation.wait(timeout=0.1)
    assert not federation.running
    end = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in family):
        assert time.monotonic() < end, [pid for pid in family if Path(f"/proc/{pid}").exists()]
        time.sleep(0.5)


@pytest.mark.slow
def test_a_federation_that_fails_says_where_to_look(settings, tmp_path):
    broken = replace(settings, registry="nothing://at/all")
    federation = Federation(broken, people_folder=tmp_path / "people", people=2)
    with federation, pytest.raises(ShoalError, match=r"federation\.log"):
        federation.wait(timeout=300)
    assert "registry" in federation.log.read_text()


def descendants(pid):
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found += [int(child), *descendants(child)]
    return found
