"""A throwaway PostgreSQL from the system's own packages, for tests and fault runs: reachable by a socket file alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import sqlalchemy as sa

from common.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEBIAN: Final = Path("/usr/lib/postgresql")
"""Where Debian keeps each version's programs, off the PATH."""
_START_SECONDS: Final = 120.0
_ROOT: Final = 0


def programs() -> Path | None:
    """Find the folder of PostgreSQL's programs; None where it is not installed."""
    found = [Path(path).parent for path in [shutil.which("initdb")] if path]
    versions = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return (found + [path.parent for path in versions])[-1] if found or versions else None


@contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL as long as the body runs, under another user if we are root, which it refuses to be.

    Yields:
        The SQLAlchemy URL of an empty database.

    Raises:
        ConfigError: it is not installed, or does not start.
    """
    found = programs()
    if found is None:
        raise ConfigError("PostgreSQL is not installed: apt-get install postgresql")
    user = "postgres" if os.geteuid() == _ROOT else None
    folder = Path(tempfile.mkdtemp(prefix="shoal-pg-"))  # a short path: a socket's may have 107 characters
    try:
        if user:
            shutil.chown(folder, user)
        data, log = folder / "data", folder / "log"
        make = [str(found / "initdb"), "--pgdata", str(data), "--username", "shoal", "--auth", "trust", "--no-sync"]
        subprocess.run(make, user=user, cwd=folder, check=True, capture_output=True)  # noqa: S603 - the system's own
        with log.open("wb") as output:
            server = _start(found, data, user, output)
        try:
            _await_ready(found, folder, server, log)
            yield f"postgresql+psycopg://shoal@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing in it is worth keeping
            server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def drop_connections(url: str) -> None:
    """Have a PostgreSQL close every connection but the one that asks for it."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
    with engine.connect() as connection:
        connection.execute(sa.text(f"SELECT pg_terminate_backend(pid) {others}"))
    engine.dispose()


def _start(found: Path, data: Path, user: str | None, output: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [str(found / "postgres"), "-D", str(data), "-k", str(data.parent), "-c", "listen_addresses="]
    return subprocess.Popen(  # noqa: S603 - the system's own
        command,
        user=user,
        cwd=data.parent,
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def _await_ready(found: Path, folder: Path, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    ask = [str(found / "pg_isready"), "--quiet", "--host", str(folder), "--username", "shoal"]
    while server.poll() is None and time.monotonic() < end:
        if subprocess.run(ask, check=False).returncode == 0:  # noqa: S603 - the system's own
            return
        time.sleep(0.1)
    raise ConfigError(f"PostgreSQL does not start: {log.read_text()[-500:]}")
