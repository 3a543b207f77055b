"""Where a learning lies while it is not finished: one sealed checkpoint in the person's state folder.

Whoever learns holds the concept's lock, so that two programs never learn the same one at once; whoever wants the
concept forgotten says so in a file, and then waits for the lock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout
from numpy.typing import NDArray

from client.database import Database
from client.files import write_whole
from client.sealing import Seal, seal_of
from common.errors import ConfigError, VaultError

FOLDER: Final = "learning"
LOCKS: Final = "locks"
_LEAVING_SECONDS: Final = 120.0
"""How long a learner may take to end: it looks up before each step, and loads its model before the first."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A sealed file; a `client.learn.checkpoint.Store`."""

    path: Path
    seal: Seal = field(repr=False)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """What tells this learning from another of the same concept."""
        return self.path.stem

    def exists(self) -> bool:
        """Return whether something was begun."""
        return self.path.exists()

    def read_bytes(self) -> bytes:
        """Return what was sealed.

        Raises:
            VaultError: it is damaged or of another vault.
        """
        return self.seal.open(self.path.read_bytes(), self._label)

    def write_bytes(self, data: bytes, /) -> int:
        """Seal some data and put them in the place of what is there, whole."""
        write_whole(self.path, self.seal.seal(data, self._label), replace=True, mode=0o600)
        return len(data)

    @property
    def _label(self) -> str:
        return f"checkpoint/{self.path.name}"


def checkpoint_of(home: Path, name: str, what: str, pixels: NDArray[Any]) -> Checkpoint:
    """Return the checkpoint of a learning; other photos, or another ``what`` to learn, are another learning.

    Raises:
        VaultError: the vault's key is not to be had.
    """
    with Database(home).transaction() as rows:
        seal = seal_of(rows)
    digest = hashlib.sha256(seal.key + f"{what}/{pixels.shape}/".encode() + pixels.tobytes())
    return Checkpoint(_folder(home) / f"{name}.{digest.hexdigest()[:12]}.sealed", seal)


def is_begun(home: Path, name: str) -> bool:
    """Tell whether something unfinished of that name lies here, or is being learned."""
    if any((home / FOLDER).glob(f"{name}.*.sealed")):
        return True
    if not _beside(home, name).with_suffix(".lock").exists():
        return False
    try:
        with _lock(home, name).acquire(timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def learning_alone(home: Path, name: str) -> Iterator[Callable[[], bool]]:
    """Learn a concept as the only one; give the question "is it to be forgotten?", to be asked before each step.

    Raises:
        ConfigError: another program is learning it.
    """
    lock = _lock(home, name)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"<{name}> is being learned already: see `shoal status`, or wait") from error
    with lock:
        yield _wish(home, name).exists


@contextmanager
def forgetting(home: Path, name: str) -> Iterator[None]:
    """Have whoever learns a concept end, and delete what is unfinished of it; nobody begins anew within the body.

    Raises:
        VaultError: a learner does not end, or something cannot be deleted.
    """
    wish = _wish(home, name)
    try:
        wish.touch(mode=0o600)
        with _lock(home, name).acquire(timeout=_LEAVING_SECONDS):
            yield
            delete_unfinished(home, name)
    except Timeout as error:
        raise VaultError(f"the learning of <{name}> does not end: end that program, then try again") from error
    except OSError as error:
        raise VaultError(f"cannot delete in {home} ({error.strerror}): allow that, then try again") from error
    finally:
        wish.unlink(missing_ok=True)


def delete_unfinished(home: Path, name: str) -> None:
    """Delete every checkpoint of that name; for whoever holds its lock."""
    for file in (home / FOLDER).glob(f"{name}.*.sealed"):
        file.unlink(missing_ok=True)


def _folder(home: Path, name: str = FOLDER) -> Path:
    folder = home / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _lock(home: Path, name: str) -> FileLock:
    return FileLock(_beside(home, name).with_suffix(".lock"), mode=0o600)


def _wish(home: Path, name: str) -> Path:
    return _beside(home, name).with_suffix(".forget")


def _beside(home: Path, name: str) -> Path:
    """Return where locks are; they stay, so they bear no name."""
    return _folder(home, LOCKS) / hashlib.sha256(name.encode()).hexdigest()[:16]
