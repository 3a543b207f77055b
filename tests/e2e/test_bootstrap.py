"""From a folder of public pictures to a federation that runs on them: `shoal-server bootstrap`, then a device joins."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from client.backbone.engine import fingerprint
from client.join import join
from server.config import read_config
from server.rounds import load_basis
from server.service.proxy import find_proxy
from simulations.bootstrap import FEWEST
from simulations.demo import MODEL
from simulations.harbour import Harbour, surroundings
from simulations.population import people, write_pictures
from simulations.vaults import virtual_vault

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_proxy() is None and "CI" not in os.environ, reason="no nginx: apt install nginx-light"),
]


def bootstrap(state, images):
    command = [sys.executable, "-m", "server", "bootstrap", str(state), str(images), "--json"]
    return subprocess.run(command, env=surroundings(), capture_output=True, text=True, check=False)


def test_a_federation_begins_with_a_folder_of_public_pictures(tmp_path):
    images = tmp_path / "images"
    for person in people(FEWEST + 1, 0, seed=3):
        write_pictures(person, images / f"{person.class_word} {person.number}")
    harbour = Harbour(tmp_path)
    (harbour.state / "basis.npy").unlink()
    harbour.set(backbone="")
    found = bootstrap(harbour.state, images)
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert told["backbone"] == fingerprint(MODEL)
    assert FEWEST <= told["concepts"] <= FEWEST + 1
    config = read_config(harbour.state)
    basis = load_basis(config.run_settings().public_basis)
    assert basis.shape[1] == told["dimensions"]
    # A second time would throw the priors' basis away.
    assert bootstrap(harbour.state, images).returncode == 1
    with harbour:
        virtual_vault(tmp_path / "me")
        terms = join(tmp_path / "me", harbour.url, harbour.code(), lambda _terms, _operator: True)
    assert (terms.backbone, terms.width) == (told["backbone"], len(basis))
