"""What the server's log says, and that nothing of anybody gets into it: planted secrets are sought in a whole run."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from flwr.app import Context, Error, Message, RecordDict
from starlette.testclient import TestClient

from client.app import app as client_app
from client.identity import identity
from client.vault import Concept, Vault
from server.app import app as server_app
from server.config import FILE
from server.exchange import Clock
from server.keys import signing_key
from server.log import FIELDS, events
from server.settings import RunSettings
from server.web.app import create
from server.web.password import set_password
from simulations.memory import MemoryGrid, person
from simulations.village import BACKBONE, WIDTH, public_basis, settle


@pytest.fixture
def heard():
    """Every line that anything logs, at the finest level."""

    class Listener(logging.Handler):
        def __init__(self):
            super().__init__(logging.DEBUG)
            self.lines = []

        def emit(self, record):
            self.lines.append(self.format(record))

    listener, names = Listener(), ["", "flwr", "flwr.shoal", "server", "uvicorn"]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).addHandler(listener)
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield listener.lines
    for name in names:
        logging.getLogger(name).removeHandler(listener)
        logging.getLogger(name).setLevel(before[name])


def test_an_event_is_json_with_fields_of_the_list_alone(heard):
    events("flwr.shoal").info("a sum", kind="object", people=9, token="0.123", name="my-dog")  # noqa: S106 - planted
    said = json.loads(heard[-1])
    assert (said["event"], said["kind"], said["people"], said["level"]) == ("a sum", "object", 9, "info")
    assert said.keys() <= FIELDS
    assert "my-dog" not in heard[-1]


class Telling:
    """A node that answers with an error whose text tells a secret, as a broken app would."""

    def __call__(self, message):
        return Message(Error(code=2, reason="ValueError: planted-in-an-error 0.7312"), reply_to=message)


def taught(folder, number, rng):
    """Plant secrets in everything that a person has; give them."""
    token = rng.standard_normal(WIDTH).astype(np.float32)
    anchor = np.zeros(WIDTH, np.float32)
    name, word = f"planted-name-{number}", f"planted-word-{number}"
    concept = Concept(
        name=name, kind="object", class_word=word, backbone=BACKBONE, anchor=anchor, token=token, loss=1.0, forwards=9
    )
    Vault(folder).save_concept(concept)
    numbers = [f"{value:.5f}"[:7] for value in token if abs(value) > 0.1]
    me = identity(folder)
    return {name, word, folder.name, token.tobytes().hex(), me.public.hex(), *numbers}


def test_a_whole_runs_logs_have_nothing_of_anybody(tmp_path, heard, monkeypatch, capfd):
    np.save(tmp_path / "basis.npy", public_basis().astype(np.float32))
    settings = RunSettings(
        state_folder=tmp_path / "server", backbone=BACKBONE, public_basis=tmp_path / "basis.npy", kinds=("object",),
        rounds=2, minimum_people=8, cohorts=1, poll_seconds=0.2, patience_seconds=30.0,
    )  # fmt: skip
    seconds = [0.0]
    monkeypatch.setattr(
        "server.app.Clock",
        lambda: Clock(now=lambda: seconds[0], sleep=lambda some: seconds.__setitem__(0, seconds[0] + some)),
    )
    rng, key = np.random.default_rng(7), signing_key(settings.state_folder)
    folders = [settle(tmp_path / f"planted-folder-{number}", key) for number in range(10)]
    secrets = set().union(*(taught(folder, number, rng) for number, folder in enumerate(folders)))
    secrets |= {"planted-in-an-error", "0.7312", "planted-password", key.private_bytes_raw().hex()}
    nodes = {number: person(client_app, number, folder) for number, folder in enumerate(folders)}
    nodes[77] = Telling()
    server_app(MemoryGrid(nodes), Context(1, 0, {}, RecordDict(), settings.to_run_config()))
    (settings.state_folder / FILE).write_text(
        f'[rounds]\nbackbone = "{BACKBONE}"\npublic-basis = "{tmp_path / "basis.npy"}"\nkinds = "object"\n'
    )
    set_password(settings.state_folder, "planted-password")
    with TestClient(create(settings.state_folder), base_url="http://127.0.0.1") as page:
        page.post("/login", data={"password": "planted-password-wrong"})
        page.post("/login", data={"password": "planted-password"})
        assert page.get("/").status_code == 200
        shown = page.get("/").text + page.get("/metrics").text + page.get("/rounds").text
    said = "\n".join(line for line in heard if not line.startswith("HTTP Request:"))
    assert '"event": "a sum"' in said, "nothing was logged, so nothing was tested"
    assert '"ValueError' not in said
    everything = "\n".join((said, shown, *capfd.readouterr()))
    assert [secret for secret in sorted(secrets) if secret in everything] == []


def test_the_test_has_teeth(heard, tmp_path):
    """A server that logs what it was sent would be noticed."""
    secrets = taught(settle(tmp_path / "planted-folder-0", signing_key(tmp_path)), 0, np.random.default_rng(7))
    logging.getLogger("flwr.shoal").warning("from %s", tmp_path / "planted-folder-0")
    assert any(secret in "\n".join(heard) for secret in secrets)
