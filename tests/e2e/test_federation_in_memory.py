"""Both apps as they are deployed, over a grid within this process: whole rounds in seconds."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from client.app import app as client_app
from client.budget import spent
from client.database import Database
from client.identity import identity
from client.ledger import Contribution, Opening, read
from client.priors import current_prior
from client.vault import Vault
from common.privacy import decode, reduce
from common.secagg import shares
from common.secagg.messages import Shares, Unmasking
from server.app import app as server_app
from server.exchange import Clock
from server.keys import signing_key
from server.registry import Registry
from server.roster import Roster
from server.settings import RunSettings
from simulations.memory import MemoryGrid, dropping, person, virtual_person
from simulations.run import pretend
from simulations.village import BACKBONE, public_basis, settle, teach


@pytest.fixture
def settings(tmp_path):
    np.save(tmp_path / "basis.npy", public_basis().astype(np.float32))
    return RunSettings(
        state_folder=tmp_path / "server",
        backbone=BACKBONE,
        public_basis=tmp_path / "basis.npy",
        kinds=("object",),
        rounds=1,
        minimum_people=3,
        unprotected_simulation=True,
        cohorts=2,
        poll_seconds=0.2,
        patience_seconds=1.0,
    )


@pytest.fixture(autouse=True)
def seconds(monkeypatch):
    """Let the server's seconds pass only when it sleeps: a node of this grid answers at once or never."""
    seconds = [0.0]

    def sleep(duration):
        seconds[0] += duration

    monkeypatch.setattr("server.app.Clock", lambda: Clock(now=lambda: seconds[0], sleep=sleep))
    return seconds


@pytest.fixture
def village(settings, tmp_path):
    """Virtual people: makes so many, and gives their folders and a grid of them."""

    def build(count):
        key = signing_key(settings.state_folder)
        folders = [settle(tmp_path / "people" / str(number), key) for number in range(count)]
        for folder in folders:
            pretend(folder)
        return folders, MemoryGrid({n: virtual_person(client_app, n, tmp_path / "people") for n in range(count)})

    return build


def hold(grid, settings):
    server_app(grid, Context(1, 0, {}, RecordDict(), settings.to_run_config()))


def ledger(folder):
    with Database(folder).transaction("DEFERRED") as rows:
        return read(rows, folder)


def states(settings):
    with sqlite3.connect(settings.state_folder / "registry.sqlite") as rows:
        return rows.execute("SELECT state, exchange, called, people FROM rounds ORDER BY ended").fetchall()


def test_three_rounds_of_new_people_each_leave_the_plain_mean_with_everybody(settings, village, monkeypatch):
    monkeypatch.setattr("server.update.PEOPLE_PER_COHORT", 4)
    rng, taught = np.random.default_rng(3), []
    folders, grid = village(12)
    for wave, newcomers in enumerate([folders[:6], folders[6:9], folders[9:]]):
        taught += [public_basis().T @ teach(folder, rng) for folder in newcomers]
        hold(grid, settings)
        priors = [current_prior(folder, BACKBONE, "object") for folder in folders]
        assert {(prior.version, prior.people) for prior in priors} == {(wave + 1, len(taught))}
        mean = sum(cohort.weight * cohort.mean for cohort in priors[0].cohorts)
        np.testing.assert_allclose(mean, np.mean(taught, axis=0), atol=1e-5)
    # The second version has two cohorts, so the third wave contributed responsibilities as well.
    assert len(priors[0].cohorts) == 2


def test_a_person_contributes_once_however_often_rounds_come(settings, village):
    rng = np.random.default_rng(3)
    folders, grid = village(4)
    for folder in folders:
        teach(folder, rng)
    hold(grid, settings)
    hold(grid, settings)
    assert current_prior(folders[0], BACKBONE, "object").people == 4
    assert [action for _, action in grid.sent].count("train.masked") == 4
    assert all([type(entry.event) for entry in ledger(folder)][1:] == [Contribution, Opening] for folder in folders)


def test_someone_who_pinned_another_operator_takes_part_in_no_round(settings, village, tmp_path):
    rng = np.random.default_rng(3)
    folders, grid = village(4)
    elsewhere = settle(tmp_path / "elsewhere", signing_key(tmp_path / "other"))
    grid.nodes = {**grid.nodes, 9: person(client_app, 9, elsewhere)}
    for folder in (*folders, elsewhere):
        teach(folder, rng)
    hold(grid, replace(settings, minimum_people=4))
    assert current_prior(folders[0], BACKBONE, "object").people == 4
    assert current_prior(elsewhere, BACKBONE, "object") is None
    assert ledger(elsewhere) == ()


@pytest.fixture
def recorded(monkeypatch):
    """What each device masked, by its concept's displacement: seen inside this process, not through the exit."""
    import client.contribution

    seen, plain, protect = {}, client.contribution.contribution, client.contribution.protect
    now = []

    def encode(displacement, announced):
        now.append(displacement.tobytes())
        return plain(displacement, announced)

    def record(vector, mechanism, seed, randomness):
        integers = protect(vector, mechanism, seed, randomness)
        seen[now[-1]] = (integers, mechanism, seed)
        return integers

    monkeypatch.setattr("client.contribution.contribution", encode)
    monkeypatch.setattr("client.contribution.protect", record)
    return seen


DROPOUTS = ("train.keys", "train.shares", "train.masked", "train.confirm", "train.unmask")


def test_with_a_dropout_at_every_exchange_the_sum_is_that_of_the_integers_exactly(settings, tmp_path, recorded):
    """Real noise and real budgets. One device answers and its vector gets lost: it is not in the sum, but spent."""
    protected = replace(settings, unprotected_simulation=False, minimum_people=8)
    rng, key = np.random.default_rng(5), signing_key(settings.state_folder)
    folders = [settle(tmp_path / "people" / str(number), key) for number in range(18)]
    taught = [teach(folder, rng) for folder in folders]
    nodes = {number: person(client_app, number, folder) for number, folder in enumerate(folders)}
    for number, action in enumerate(DROPOUTS):
        nodes[number] = dropping(nodes[number], action)
    nodes[5] = dropping(nodes[5], "train.masked", lost=True)
    hold(MemoryGrid(nodes), protected)
    assert states(protected) == [("done", "train.unmask", 17, 14)]
    included = [number for number in range(18) if number not in {0, 1, 2, 5}]
    booked = {number for number in range(18) if ledger(folders[number])}
    assert booked == {*included, 5}
    [(mechanism, seed)] = {(mechanism, seed) for _, mechanism, seed in recorded.values()}
    assert mechanism.share_variance > 0
    total = np.sum([recorded[taught[number].tobytes()][0].astype(np.int64) for number in included], axis=0)
    with Registry(settings.registry_url) as registry:
        [found] = registry.sums(BACKBONE, "object", public_basis())
    np.testing.assert_array_equal(found.total, decode(reduce(total, mechanism), mechanism, seed=seed))
    for number in booked:
        assert 0 < spent(ledger(folders[number])).central <= protected.epsilon
    assert not any(isinstance(entry.event, Opening) for entry in ledger(folders[5]))


@pytest.mark.parametrize("action", DROPOUTS)
def test_when_too_many_drop_out_it_costs_those_alone_whose_vector_left(settings, tmp_path, action):
    protected = replace(settings, unprotected_simulation=False, minimum_people=8)
    rng, key = np.random.default_rng(5), signing_key(settings.state_folder)
    folders = [settle(tmp_path / "people" / str(number), key) for number in range(8)]
    for folder in folders:
        teach(folder, rng)
    nodes = {number: person(client_app, number, folder) for number, folder in enumerate(folders)}
    for number in range(3):
        nodes[number] = dropping(nodes[number], action)
    hold(MemoryGrid(nodes), protected)
    assert {state for state, *_ in states(protected)} == {"aborted"}
    left = {"train.keys": 0, "train.shares": 0, "train.masked": 5, "train.confirm": 8, "train.unmask": 8}[action]
    assert sum(len(ledger(folder)) > 0 for folder in folders) == left
    waiting = sum(Vault(folder).pending("object", BACKBONE) is not None for folder in folders)
    assert waiting == 8 - left


def test_a_device_refuses_a_round_without_noise_whatever_the_server_says(settings, tmp_path):
    rng, key = np.random.default_rng(5), signing_key(settings.state_folder)
    folders = [settle(tmp_path / "people" / str(number), key) for number in range(4)]
    for folder in folders:
        teach(folder, rng)
        pretend(folder)  # not even where its own ledger says that it is a simulation
    hold(MemoryGrid({number: person(client_app, number, folder) for number, folder in enumerate(folders)}), settings)
    assert {(state, exchange) for state, exchange, *_ in states(settings)} == {("aborted", "train.keys")}
    assert all(len(ledger(folder)) == 1 for folder in folders)
    assert all(Vault(folder).pending("object", BACKBONE) is not None for folder in folders)


def spoil_ciphertexts(node):
    """Seal noise for the neighbours instead of shares."""

    def change(message, reply):
        if message.metadata.message_type == "train.shares":
            sent = Shares.from_bytes(reply.content["fields"]["reply"])
            noise = tuple(os.urandom(len(one)) for one in sent.sealed)
            reply.content["fields"]["reply"] = replace(sent, sealed=noise).to_bytes()
        return reply

    return lambda message: change(message, node(message))


def share_another_secret(node):
    """Share secrets that are not those announced, with good ciphertexts and commitments."""

    def answer(message):
        if message.metadata.message_type != "train.shares":
            return node(message)
        with pytest.MonkeyPatch.context() as patch:
            real = shares.split
            patch.setattr("common.secagg.client.shares.split", lambda _, *numbers: real(os.urandom(32), *numbers))
            return node(message)

    return answer


def reveal_noise(node):
    """Answer the last exchange with noise instead of the others' shares."""

    def answer(message):
        reply = node(message)
        if message.metadata.message_type == "train.unmask" and not reply.has_error():
            said = Unmasking.from_bytes(reply.content["fields"]["reply"]).shares
            forged = Unmasking(tuple((what, os.urandom(len(share))) for what, share in said))
            reply.content["fields"]["reply"] = forged.to_bytes()
        return reply

    return answer


HOSTILE = 4


@pytest.mark.parametrize("lie", [spoil_ciphertexts, share_another_secret, reveal_noise], ids=lambda lie: lie.__name__)
def test_a_hostile_device_ends_one_round_and_is_left_out_of_the_next(settings, tmp_path, lie, caplog, seconds):
    """The others hold the round again without it; the exclusion outlives the server, and ends by itself."""
    protected = replace(settings, unprotected_simulation=False, minimum_people=8, patience_seconds=600.0)
    rng, key, people = np.random.default_rng(5), signing_key(settings.state_folder), 13
    folders = [settle(tmp_path / "people" / str(number), key) for number in range(people)]
    for folder in folders:
        for name in ("first", "second", "third"):
            teach(folder, rng, name=name)
    nodes = {number: person(client_app, number, folder) for number, folder in enumerate(folders)}
    nodes[HOSTILE] = lie(nodes[HOSTILE])
    if lie is reveal_noise:  # alone it could do no harm: as many others are silent as may be
        for number in range(4):
            nodes[number] = unlucky_once(nodes[number], "train.unmask")
    hold(MemoryGrid(nodes), protected)
    assert states(protected) == [("aborted", "train.unmask", 13, 0), ("done", "train.unmask", 12, 12)]
    # The next round came at once; the silent alone were waited for.
    assert seconds[0] < protected.deadline_seconds * (2 if lie is reveal_noise else 1)
    with Registry(protected.registry_url) as registry:
        [out] = registry.exclusions()
    assert out.identity == identity(folders[HOSTILE]).public
    assert ("another secret" if lie is share_another_secret else "contradicts") in out.reason
    assert "`shoal-server excluded`" in caplog.text
    assert '"devices": 1' in caplog.text
    assert out.identity.hex() not in caplog.text
    # Another process knows it, whatever connection the device comes from.
    nodes[99] = nodes.pop(HOSTILE)
    hold(MemoryGrid(nodes), protected)
    assert states(protected)[2:] == [("done", "train.unmask", 12, 12)]
    assert len(Vault(folders[HOSTILE]).concepts()) == 3
    given = [event for event in (entry.event for entry in ledger(folders[HOSTILE])) if isinstance(event, Contribution)]
    assert len(given) == 1  # keys were asked of it once more, and never a vector


def test_a_revoked_certificate_is_refused_from_whatever_node_it_comes(settings, tmp_path):
    protected = replace(settings, unprotected_simulation=False, minimum_people=8)
    rng, key = np.random.default_rng(5), signing_key(settings.state_folder)
    folders = [settle(tmp_path / "people" / str(number), key) for number in range(9)]
    for folder in folders:
        teach(folder, rng)
    with Roster(settings.state_folder) as roster:
        revoked = identity(folders[0]).public.hex()
        roster.admit(revoked, "a node key", "lost-phone")
        roster.revoke(revoked)
    nodes = {number: person(client_app, number, folder) for number, folder in enumerate(folders, start=70)}
    hold(MemoryGrid(nodes), protected)
    assert states(protected) == [("done", "train.unmask", 8, 8)]
    assert not ledger(folders[0])


def unlucky_once(node, action):
    """Give the same node, whose first answer in an exchange gets lost."""
    lost = []

    def answer(message):
        reply = node(message)
        if message.metadata.message_type == action and not lost:
            return lost.append(reply)
        return reply

    return answer
