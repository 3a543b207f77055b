from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from client.app import UNFORESEEN, app, device
from client.database import FILE, Database
from client.identity import identity
from client.ledger import read
from client.vault import Vault
from common.errors import ConfigError
from common.messages import PriorNotice, ReadyQuery, RoundStep, to_fields
from common.privacy import Mechanism
from simulations.company import Company, announce
from simulations.village import BACKBONE, public_basis, settle, teach

OPERATOR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MECHANISM = Mechanism(length=15, scale=64.0, share_variance=42_000, modulus_bits=24)
CALL = announce(public_basis(), MECHANISM, round_id="r1", backbone=BACKBONE)
STEP = RoundStep(round_id="r1", context=bytes(32), request=b"")
READY = ReadyQuery(kind="object", backbone=BACKBONE, prior_version=0)
NOTICE = PriorNotice(backbone=BACKBONE, payload=b"payload", signature=bytes(64))
QUESTIONS = {
    "query.ready": READY,
    "train.keys": CALL,
    "train.shares": STEP,
    "train.masked": STEP,
    "train.confirm": STEP,
    "train.unmask": STEP,
    "query.prior": NOTICE,
}
ANSWERS = {
    "query.ready": "is_ready",
    "train.keys": "answer_keys",
    "train.shares": "answer_shares",
    "train.masked": "contribute",
    "train.confirm": "answer_confirm",
    "train.unmask": "answer_unmask",
    "query.prior": "receive_prior",
}
TRAINING = [action for action in QUESTIONS if action.startswith("train.")]
SECRETS = ("my-secret-dog", "a photo of my dog on the beach", "IMG_2041.jpg", "0.12345678")


@pytest.fixture(autouse=True)
def _task():
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1


@pytest.fixture
def folder(tmp_path):
    settle(tmp_path, OPERATOR)
    teach(tmp_path, np.random.default_rng(7), name="my-secret-dog")
    return tmp_path


def context(node_config=None, run_config=None):
    return Context(1, 1, node_config or {}, RecordDict(), run_config or {})


def ask(action, fields, folder, *, age=0.0):
    message = Message(RecordDict({"fields": ConfigRecord(fields)}), 1, action, ttl=60.0)
    message.metadata.created_at -= age
    return app(message, context({"state-folder": str(folder)}))


def ledger(folder):
    with Database(folder).transaction("DEFERRED") as rows:
        return read(rows, folder)


def test_ready_says_yes_or_no_and_nothing_else(folder):
    assert dict(ask("query.ready", to_fields(READY), folder).content["fields"]) == {"ready": True}
    assert dict(ask("query.ready", to_fields(READY), folder / "nobody").content["fields"]) == {"ready": False}
    assert not (folder / "nobody").exists()


def test_each_exchange_answers_with_the_bytes_of_one_message_and_nothing_of_the_person(folder):
    company, step, said = Company(OPERATOR, CALL, others=8), CALL, []
    concept = Vault(folder).concept("my-secret-dog")
    for action in TRAINING:
        reply = ask(action, to_fields(step), folder)
        assert list(reply.content) == ["fields"]
        assert list(reply.content["fields"]) == ["reply"]
        said.append(reply.content["fields"]["reply"])
        if action != "train.unmask":
            step = company.next(said[-1])
    private = Database(folder)
    with private.transaction("DEFERRED") as rows:
        (sealed,) = rows.execute("SELECT private FROM enrolment").fetchone()
    for kept in (b"my-secret-dog", b"dog", sealed):
        assert kept in (folder / FILE).read_bytes()
        assert not any(kept in data for data in said)
    for secret in (identity(folder).secret, concept.token.tobytes()):
        assert secret not in (folder / FILE).read_bytes()
        assert not any(secret in data for data in said)
    assert not any(str(folder).encode() in data for data in said)
    assert not any(concept.displacement[:2].tobytes() in data for data in said)


@pytest.mark.parametrize("action", QUESTIONS)
def test_what_comes_too_late_is_not_answered_and_books_nothing(folder, action):
    assert ask(action, to_fields(QUESTIONS[action]), folder, age=61.0).error.reason == "StaleRoundError"
    assert ledger(folder) == ()
    assert Vault(folder).pending("object", BACKBONE) is not None


@pytest.mark.parametrize("action", QUESTIONS)
@pytest.mark.parametrize("fields", [{}, {"ready": True}, {"round_id": b"\xff" * 10}, {"request": [1.0]}])
def test_hostile_fields_get_the_name_of_an_error(folder, action, fields):
    assert ask(action, fields, folder).error.reason == "ProtocolError"


@pytest.mark.parametrize("action", QUESTIONS)
@pytest.mark.parametrize("kind", [RuntimeError, ValueError, OSError, KeyError])
def test_the_text_of_an_error_never_leaves(folder, monkeypatch, action, kind):
    def fail(*_):
        raise kind(*SECRETS)

    monkeypatch.setattr(f"client.app.{ANSWERS[action]}", fail)
    reply = ask(action, to_fields(QUESTIONS[action]), folder)
    assert reply.error.reason == UNFORESEEN  # not even its type, which may depend on what was read
    assert not any(secret in repr(reply) + repr(vars(reply)) + repr(reply.error) for secret in SECRETS)
    assert not any(secret.encode() in reply.deflate() for secret in SECRETS)


@pytest.mark.parametrize("action", QUESTIONS)
def test_a_vault_that_cannot_be_read_says_nothing_of_where_it_is(folder, action):
    (folder / FILE).write_bytes(b"my-secret-dog" * 100)
    reply = ask(action, to_fields(QUESTIONS[action]), folder)
    assert reply.error.reason == "VaultError"
    assert str(folder).encode() not in reply.deflate()
    assert b"my-secret-dog" not in reply.deflate()


def test_a_device_never_takes_its_folder_from_the_server(tmp_path):
    server_says = {"people-folder": str(tmp_path / "server")}
    own = {"state-folder": str(tmp_path / "own"), "partition-id": 3}
    assert device(context(own, server_says)).folder == tmp_path / "own"
    assert device(context({"partition-id": 3}, server_says)).folder == tmp_path / "server" / "3"
    with pytest.raises(ConfigError):
        device(context({}, server_says))


def test_a_device_is_never_taken_for_a_simulation(tmp_path):
    server_says = {"people-folder": str(tmp_path), "unprotected-simulation": True, "partition-id": 3}
    own = {"state-folder": str(tmp_path / "own")}
    assert not device(context(own, server_says)).simulated
    assert not device(context({**own, "partition-id": 3}, server_says)).simulated
    assert device(context({"partition-id": 3}, server_says)).simulated


def test_an_idle_device_loads_no_model_library_and_no_accountant():
    heavy = ("torch", "diffusers", "transformers", "dp_accounting", "scipy")
    script = f"import sys, client.app; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
