"""The operator's database: opened at an SQLAlchemy URL, brought up to date, and written to one transaction at a time.

SQLite by default, PostgreSQL by URL (`postgresql+psycopg://...`). A connection that breaks is made anew and its
transaction tried again, so every transaction given to `transact` must be one that may run twice.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from common.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from alembic.runtime.migration import MigrationContext

Result = TypeVar("Result")

PATIENCE_SECONDS: Final = 60.0
"""How long a database that does not answer is tried again: a restart of PostgreSQL takes seconds."""
_PAUSES: Final = (0.05, 0.2, 1.0)
"""Seconds between attempts; the last for all that follow."""
_LOCK: Final = 0x53484F414C
"""The advisory lock under which one process at a time changes tables ("SHOAL")."""


class Database:
    """An engine whose tables are up to date."""

    def __init__(self, url: str, *, patience: float = PATIENCE_SECONDS) -> None:
        """Open the database, and make or change its tables as this version of Shoal needs them.

        Args:
            url: SQLAlchemy's.
            patience: seconds for which a lost connection is tried again.

        Raises:
            ConfigError: the URL or the database is unusable, or was written by a newer Shoal.
        """
        try:
            self._engine = sa.create_engine(url, pool_pre_ping=True)
        except (sa.exc.ArgumentError, ImportError) as error:
            raise ConfigError(
                f"registry: {type(error).__name__} for this URL: write one such as sqlite:///state/registry.db"
            ) from error
        self._patience = patience
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _durable)
        try:
            self.transact(_upgrade)
        except sa.exc.OperationalError as error:
            where = self._engine.url.render_as_string(hide_password=True)
            raise ConfigError(f"registry {where} does not open ({error.orig}): start it, or mend the URL") from error

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def transact(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Do some work in one transaction; where the connection breaks, do it again on a new one.

        Args:
            work: may run more than once, also after an attempt that was committed without our hearing of it.
        """
        end, attempt = time.monotonic() + self._patience, 0
        while True:
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
                if not _is_lost(error) or time.monotonic() >= end:
                    raise
                time.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
                attempt += 1


def _is_lost(error: sa.exc.DBAPIError) -> bool:
    """Tell a connection that broke, or a file that another process holds locked, from a mistake."""
    text = str(error.orig)
    return error.connection_invalidated or "database is locked" in text or type(error.orig).__module__ == "psycopg"


def _durable(connection: Any, _record: Any) -> None:  # noqa: ANN401 - the driver's own, untyped connection
    """Make SQLite keep what it confirmed through a power cut, let readers in, and wipe what it deletes."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=10000")
    connection.execute("PRAGMA secure_delete=ON")  # a round's replies, once it is over


def _upgrade(connection: sa.Connection) -> None:
    """Apply what revisions are missing, all or none; of several processes, one does."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    script = ScriptDirectory.from_config(config)
    if script.get_current_head() in _revisions(connection):
        return
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    found = _revisions(connection)
    known = {revision.revision for revision in script.walk_revisions()}
    if unknown := found - known:
        raise ConfigError(f"the registry is at revision {', '.join(unknown)}, from a newer Shoal: update this one")
    _run(config, script, connection, found)


def _run(config: Config, script: ScriptDirectory, connection: sa.Connection, found: set[str]) -> None:
    def revisions(_current: object, context: MigrationContext) -> list[Any]:
        if not found and sa.inspect(connection).has_table("rounds"):  # made by milestone 1, without Alembic
            context.stamp(script, "0001")
            return list(script._upgrade_revs("head", "0001"))  # noqa: SLF001 - as `alembic.command.upgrade` does
        return list(script._upgrade_revs("head", next(iter(found), "base")))  # noqa: SLF001 - the same

    with EnvironmentContext(config, script, fn=revisions) as environment:
        environment.configure(connection=connection, transactional_ddl=True)
        environment.run_migrations()


def _revisions(connection: sa.Connection) -> set[str]:
    if not sa.inspect(connection).has_table("alembic_version"):
        return set()
    return set(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars())
