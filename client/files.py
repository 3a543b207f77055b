"""Writes files whole or not at all: whoever looks, at whatever moment, finds the old one, the new one or none."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EACCES)
"""What file systems without hard links answer: FAT on memory cards, the shared storage of phones."""


BINARY = getattr(os, "O_BINARY", 0)
"""Windows would change the ends of lines."""


def write_whole(path: Path, data: bytes, *, replace: bool = False, mode: int = 0o666) -> None:
    """Write a file by way of a draft beside it; missing folders are made.

    The data are on the disk before the file has its name, so that a power cut leaves no half of it either.

    Args:
        path: of the file.
        data: all of it.
        replace: whether it may stand in the place of another.
        mode: who may do what with it, less what the process's mask takes away.

    Raises:
        FileExistsError: the file is there already and is not to be replaced.
        OSError: it cannot be written; no draft is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # a file stands where a folder should: that is not about `path`
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from error
    draft = path.with_name(f".shoal-{secrets.token_hex(8)}.draft")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            _name(draft, path)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def _name(draft: Path, path: Path) -> None:
    """Give the draft its name unless that is taken: a second hard link, because renaming would replace."""
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if path.exists():  # the best that is left: another process may come in between
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        draft.rename(path)
