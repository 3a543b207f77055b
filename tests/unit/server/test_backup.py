from __future__ import annotations

import sqlite3
import tarfile
from contextlib import closing

import numpy as np
import pytest
from typer.testing import CliRunner

from common.errors import ConfigError
from server.cli import app
from server.config import FILE, Federation, Inside
from server.keys import signing_key
from server.registry import Registry
from server.roster import Roster
from server.state import Beginning, prepare
from simulations.village import BACKBONE, public_basis


@pytest.fixture
def state(tmp_path):
    np.save(tmp_path / "b.npy", public_basis().astype(np.float32))
    beginning = Beginning(
        federation=Federation(host="127.0.0.1"), inside=Inside(), backbone=BACKBONE, public_basis=tmp_path / "b.npy"
    )
    state = prepare(tmp_path / "state", beginning).state
    with Roster(state) as roster:
        roster.admit("aa" * 32, "key", "rex")
    with Registry(f"sqlite:///{state / 'registry.sqlite'}"):
        pass
    for name in ("flower", "log", "bundle"):
        (state / name).mkdir()
        (state / name / "big").write_bytes(b"x")
    for name in ("run.lock", "parts.json", "bundle.fab", ".x.draft"):
        (state / name).write_bytes(b"x")
    return state


def run(*words):
    return CliRunner().invoke(app, ["backup", *(str(word) for word in words)])


def test_a_backup_is_a_state_folder_again(state, tmp_path):
    file = tmp_path / "b.tar.gz"
    found = run(state, file)
    assert found.exit_code == 0, found.output
    assert file.stat().st_mode & 0o077 == 0
    again = tmp_path / "again"
    again.mkdir()
    with tarfile.open(file) as archive:
        archive.extractall(again, filter="data")
    kept = {"shoal-server.toml", "signing-key.pem", "superexec.secret", "basis.npy", "tls"}
    assert {path.name for path in again.iterdir()} == kept | {"roster.sqlite", "registry.sqlite"}
    assert signing_key(again).private_bytes_raw() == signing_key(state).private_bytes_raw()
    assert (again / FILE).read_text() == (state / FILE).read_text()
    with Roster(again) as roster:
        assert [one.label for one in roster.devices()] == ["rex"]


def test_what_was_written_is_in_it_and_what_is_being_written_is_not(state, tmp_path):
    """What is committed may stand in a log beside the database's file, of which a plain copy would know nothing."""
    with closing(sqlite3.connect(state / "roster.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("UPDATE devices SET label = 'whole'")
        connection.execute("BEGIN")
        connection.execute("UPDATE devices SET label = 'half'")
        assert run(state, tmp_path / "b.tar.gz").exit_code == 0
        connection.execute("ROLLBACK")
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        archive.extract("roster.sqlite", tmp_path / "again", filter="data")
    with Roster(tmp_path / "again") as roster:
        assert [one.label for one in roster.devices()] == ["whole"]


def test_a_database_that_stays_busy_ends_in_words(state, tmp_path, monkeypatch):
    monkeypatch.setattr("server.backup.BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(state / "roster.sqlite", isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        found = run(state, tmp_path / "b.tar.gz")
        assert isinstance(found.exception, ConfigError)
        assert list(tmp_path.glob("*.tar.gz*")) == list(tmp_path.glob(".*.draft")) == []


def test_an_older_backup_is_not_replaced_by_accident(state, tmp_path):
    file = tmp_path / "b.tar.gz"
    file.write_bytes(b"older")
    assert isinstance(run(state, file).exception, ConfigError)
    assert file.read_bytes() == b"older"
    assert run(state, file, "--force").exit_code == 0
    assert isinstance(run(state, tmp_path / "no" / "where.tar.gz").exception, ConfigError)
