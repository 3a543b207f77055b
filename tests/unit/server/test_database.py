"""How the operator's database is opened: on either kind, new, old, by many at once, and through lost connections."""

from __future__ import annotations

import sqlite3
import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from common.errors import ConfigError
from server.database import Database
from server.tables import METADATA, ROUNDS

MILESTONE_1 = """
CREATE TABLE rounds (id VARCHAR(64) NOT NULL PRIMARY KEY, kind VARCHAR(16) NOT NULL, backbone VARCHAR(64) NOT NULL,
    public_basis VARCHAR(64) NOT NULL, state VARCHAR(16) NOT NULL, exchange VARCHAR(16) NOT NULL,
    called INTEGER NOT NULL, people INTEGER NOT NULL, sum BLOB, clip FLOAT NOT NULL, length INTEGER NOT NULL,
    scale FLOAT NOT NULL, share_variance BIGINT NOT NULL, modulus_bits INTEGER NOT NULL, noise_variance FLOAT NOT NULL,
    prior_version INTEGER NOT NULL, started DATETIME NOT NULL, ended DATETIME NOT NULL);
CREATE INDEX rounds_by_prior ON rounds (backbone, kind, public_basis, state);
CREATE TABLE priors (backbone VARCHAR(64) NOT NULL, kind VARCHAR(16) NOT NULL, version INTEGER NOT NULL,
    payload BLOB NOT NULL, signature BLOB NOT NULL, created VARCHAR(40) NOT NULL,
    PRIMARY KEY (backbone, kind, version));
INSERT INTO rounds VALUES ('r1', 'object', 'ab', 'cd', 'done', 'train.unmask', 9, 8, x'00', 1.0, 6, 1.0, 1, 32, 0.5, 0,
    '2025-01-31 12:00:00.000000', '2025-01-31 12:01:00.000000');
"""


def ids(database):
    return database.transact(lambda connection: connection.execute(sa.select(ROUNDS.c.id)).scalars().all())


def test_migrations_lead_to_the_very_tables_that_the_code_expects(database_url):
    database = Database(database_url)
    with database._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    database.close()


def test_a_database_of_milestone_1_is_brought_up_to_date_with_all_that_is_in_it(tmp_path):
    path = tmp_path / "registry.db"
    with sqlite3.connect(path) as old:
        old.executescript(MILESTONE_1)
    old.close()
    database = Database(f"sqlite:///{path}")
    with database._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        row = connection.execute(sa.select(ROUNDS)).one()
    assert (row.id, row.people, row.dropouts, row.reason) == ("r1", 8, "{}", "")
    with pytest.raises(sa.exc.IntegrityError, match="immutable"), database._engine.begin() as connection:
        connection.execute(sa.delete(ROUNDS))
    database.close()


def test_many_that_open_a_new_database_at_once_all_succeed(database_url):
    gate, failures = threading.Barrier(6), []

    def start():
        gate.wait()
        try:
            Database(database_url).close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test names it
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_an_upgrade_that_dies_half_way_leaves_the_tables_as_they_were(database_url, monkeypatch):
    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("alembic.op.add_column", die)  # the tables of both revisions are made by then
        with pytest.raises(KeyboardInterrupt):
            Database(database_url)
    engine = sa.create_engine(database_url)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()
    database = Database(database_url)
    assert ids(database) == []
    database.close()


def test_a_database_of_a_newer_shoal_is_left_alone(database_url):
    database = Database(database_url)
    with database._engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(ConfigError, match="newer Shoal"):
        Database(database_url)


def test_a_folder_that_is_not_there_is_named_without_a_password(tmp_path):
    with pytest.raises(ConfigError, match="does not open"):
        Database(f"sqlite:///{tmp_path / 'nowhere' / 'registry.db'}", patience=0.0)
    with pytest.raises(ConfigError, match="does not open") as caught:
        Database(f"postgresql+psycopg://shoal:hunter2@/postgres?host={tmp_path}", patience=0.0)
    assert "hunter2" not in str(caught.value)


def test_a_connection_that_is_killed_in_the_middle_is_made_anew(postgres_url):
    database, attempts = Database(postgres_url), []

    def work(connection):
        attempts.append(1)
        if len(attempts) == 1:
            process = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar()
            with database._engine.connect() as other:
                other.execute(sa.text(f"SELECT pg_terminate_backend({process})"))
        return connection.execute(sa.text("SELECT 7")).scalar()

    assert database.transact(work) == 7
    assert len(attempts) == 2
    database.close()


def test_a_mistake_is_not_tried_again(database_url):
    database, attempts = Database(database_url), []

    def work(connection):
        attempts.append(1)
        connection.execute(sa.text("SELECT nothing FROM nowhere"))

    with pytest.raises(sa.exc.DBAPIError):
        database.transact(work)
    assert len(attempts) == 1
    database.close()
