"""A key in a file of its own, readable by its owner alone: only where it is asked for, by `SHOAL_KEY_FILE`.

Whoever can read the person's files can read the vault then; it protects a vault that is copied without the file.
Simulations use it, where nobody is protected, and machines without a keyring that must start unattended.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from client.files import write_whole
from client.sealing.seal import KEY_BYTES
from common.errors import VaultError

VARIABLE: Final = "SHOAL_KEY_FILE"
_OTHERS: Final = 0o077


def named() -> Path:
    """Return where the key file is to be.

    Raises:
        VaultError: nobody said it.
    """
    if not os.environ.get(VARIABLE):
        raise VaultError(f"name the key file in {VARIABLE}, away from the vault: a copy of both is open")
    return Path(os.environ[VARIABLE]).expanduser().absolute()


def make(file: Path) -> bytes:
    """Return the key in a file, made if there is none; several vaults may share one.

    Raises:
        VaultError: it cannot be written or read, or is no key.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(file, os.urandom(KEY_BYTES).hex().encode() + b"\n", mode=0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise VaultError(f"the key file {file} cannot be written ({error.strerror}): name another place") from error
    return read(file)


def read(file: Path) -> bytes:
    """Return the key in a file.

    Raises:
        VaultError: it cannot be read, others can read it too, or it is no key.
    """
    try:
        if os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & _OTHERS:
            raise VaultError(f"the key file {file} is open to others: chmod 600 it")
        key = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except FileNotFoundError as error:
        message = f"the key file {file} is gone: put it back, or say where it is with {VARIABLE}; nothing was deleted"
        raise VaultError(message) from error
    except OSError as error:
        raise VaultError(f"the key file {file} cannot be read ({error.strerror}): mend that") from error
    except ValueError as error:
        raise VaultError(f"{file} holds no key: put the right one back; nothing was deleted") from error
    if len(key) != KEY_BYTES:
        raise VaultError(f"{file} holds {len(key)} bytes, a key has {KEY_BYTES}: put the right one back")
    return key
