from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from client.app import app, state_folder
from client.federation import enrol
from client.vault import Concept, Vault
from common.errors import ConfigError
from common.messages import ReadyQuery, RoundCall, pack_basis, to_fields

BACKBONE = "ab" * 32
BASIS = np.eye(12, 3)


@pytest.fixture(autouse=True)
def _task():
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1


@pytest.fixture
def folder(tmp_path):
    operator = Ed25519PrivateKey.generate().public_key()
    enrol(tmp_path, operator=operator, backbone=BACKBONE, width=12)
    ones = np.ones(12, np.float32)
    learned = Concept(
        name="my-dog", kind="object", class_word="dog", backbone=BACKBONE, anchor=ones, token=2 * ones, loss=1.0,
        forwards=9,
    )  # fmt: skip
    Vault(tmp_path).save_concept(learned)
    return tmp_path


def context(node_config=None, run_config=None):
    return Context(1, 1, node_config or {}, RecordDict(), run_config or {})


def ask(action, fields, folder, ttl=60.0):
    message = Message(RecordDict({"fields": ConfigRecord(fields)}), 1, action, ttl=ttl)
    return app(message, context({"state-folder": str(folder)}))


def call():
    return to_fields(
        RoundCall(
            round_id="r1",
            kind="object",
            backbone=BACKBONE,
            prior_version=0,
            clip=9.0,
            public_basis=pack_basis(BASIS),
        )
    )


def test_ready_says_yes_or_no_and_nothing_else(folder):
    query = to_fields(ReadyQuery(kind="object", backbone=BACKBONE, prior_version=0))
    assert dict(ask("query.ready", query, folder).content["fields"]) == {"ready": True}
    assert dict(ask("query.ready", query, folder / "nobody").content["fields"]) == {"ready": False}
    assert not (folder / "nobody").exists()


def test_a_contribution_is_the_only_thing_in_its_reply(folder):
    reply = ask("train.contribute", call(), folder)
    assert list(reply.content) == ["fields"]
    assert list(reply.content["fields"]) == ["contribution"]


def test_a_call_that_comes_too_late_books_nothing(folder):
    message = Message(RecordDict({"fields": ConfigRecord(call())}), 1, "train.contribute", ttl=60.0)
    message.metadata.created_at -= 61.0
    reply = app(message, context({"state-folder": str(folder)}))
    assert reply.error.reason == "StaleRoundError"
    assert Vault(folder).pending("object", BACKBONE) is not None


@pytest.mark.parametrize("action", ["query.ready", "train.contribute", "query.prior"])
@pytest.mark.parametrize("fields", [{}, {"ready": True}, {"round_id": b"\xff" * 10}])
def test_hostile_fields_get_the_name_of_an_error(folder, action, fields):
    assert ask(action, fields, folder).error.reason == "ProtocolError"


def test_the_text_of_an_error_never_leaves(folder, monkeypatch):
    def fail(*_):
        raise RuntimeError("the token is 0.123")

    monkeypatch.setattr("client.app.contribute", fail)
    reply = ask("train.contribute", call(), folder)
    assert reply.error.reason == "RuntimeError"
    assert "0.123" not in repr(reply)


def test_a_device_never_takes_its_folder_from_the_server(tmp_path):
    server_says = {"people-folder": str(tmp_path / "server")}
    own = {"state-folder": str(tmp_path / "own"), "partition-id": 3}
    assert state_folder(context(own, server_says)) == tmp_path / "own"
    assert state_folder(context({"partition-id": 3}, server_says)) == tmp_path / "server" / "3"
    with pytest.raises(ConfigError):
        state_folder(context({}, server_says))


def test_an_idle_device_loads_no_model_library():
    script = "import sys, client.app; print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
