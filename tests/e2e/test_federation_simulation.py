"""The federation on Flower's simulation engine, in its own process, while people learn in others."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client.budget import mechanism_of
from client.database import Database
from client.ledger import Contribution, Opening, read
from client.priors import current_prior
from common.errors import ShoalError
from common.privacy import decode, reduce
from server.keys import signing_key
from server.registry import Registry
from server.settings import RunSettings
from simulations.faults import plan_fault, recorded
from simulations.run import UNPROTECTED, Federation
from simulations.village import BACKBONE, public_basis, settle, teach

PEOPLE = 8


@pytest.fixture
def settings(tmp_path):
    np.save(tmp_path / "basis.npy", public_basis().astype(np.float32))
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
def test_people_learn_meanwhile_and_everybody_gets_the_plain_mean(settings, tmp_path, capfd):
    rng = np.random.default_rng(5)
    people = tmp_path / "people"
    folders = [people / str(number) for number in range(PEOPLE)]
    taught = {"object": [], "style": []}
    # A wave of five and three: a round must wait for all of its wave.
    waved = RunSettings.from_run_config({**settings.to_run_config(), "wave-size": "5,3"})
    with Federation(waved, people_folder=people, people=PEOPLE) as federation:
        for wave in range(1, 4):
            for number, folder in enumerate(folders):
                kind = "object" if number < 5 else "style"
                taught[kind].append(public_basis().T @ teach(folder, rng, name=f"wave-{wave}", kind=kind))
            for kind, given in taught.items():
                priors = await_version(federation, folders, kind, wave)
                assert {prior.people for prior in priors} == {len(given)}
                mean = sum(cohort.weight * cohort.mean for cohort in priors[0].cohorts)
                np.testing.assert_allclose(mean, np.mean(given, axis=0), atol=1e-5)
        federation.wait(timeout=120)
    assert not federation.running
    # Loudly: where it is started, and in its log.
    assert UNPROTECTED in capfd.readouterr().err
    assert "UNPROTECTED SIMULATION" in federation.log.read_text()


DROPOUTS = ("train.keys", "train.shares", "train.masked", "train.confirm", "train.unmask")


@pytest.mark.slow
def test_with_noise_and_a_dropout_at_every_exchange_the_sum_is_that_of_the_integers_exactly(settings, tmp_path, capfd):
    rng, people, count = np.random.default_rng(5), tmp_path / "people", 18
    protected = replace(
        settings, unprotected_simulation=False, minimum_people=8, kinds=("object",), rounds=1, wave_size=(count,)
    )
    folders = [settle(people / str(number), signing_key(settings.state_folder)) for number in range(count)]
    for folder in folders:
        teach(folder, rng)
        plan_fault(folder)
    for folder, action in zip(folders, DROPOUTS, strict=False):
        plan_fault(folder, drop=action)
    plan_fault(folders[5], drop="train.masked", lost=True)
    with Federation(protected, people_folder=people, people=count) as federation:
        federation.wait(timeout=600)
    included = [folders[number] for number in range(count) if number not in {0, 1, 2, 5}]
    found = {folder: [entry.event for entry in ledger(folder)] for folder in folders}
    assert {folder for folder in folders if found[folder]} == {*included, folders[5]}
    assert [type(event) for event in found[folders[6]]] == [Contribution, Opening]
    assert [type(event) for event in found[folders[5]]] == [Contribution]
    [seed] = {seed for folder in included for seed in recorded(folder)}
    total = np.sum([recorded(folder)[seed].astype(np.int64) for folder in included], axis=0)
    mechanism = mechanism_of(found[folders[6]][0])
    assert mechanism.share_variance > 0
    with Registry(settings.registry_url) as registry:
        [booked] = registry.sums(BACKBONE, "object", public_basis())
    np.testing.assert_array_equal(booked.total, decode(reduce(total, mechanism), mechanism, seed=seed))
    assert "UNPROTECTED" not in capfd.readouterr().err + federation.log.read_text()


def ledger(folder):
    with Database(folder).transaction("DEFERRED") as rows:
        return read(rows, folder)


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
