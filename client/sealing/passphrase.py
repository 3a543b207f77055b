"""A passphrase, from wherever this process is given one, and the key that is derived from it."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from client.sealing.seal import KEY_BYTES
from common.errors import VaultError

VARIABLE, FILE_VARIABLE, DESCRIPTOR_VARIABLE = "SHOAL_PASSPHRASE", "SHOAL_PASSPHRASE_FILE", "SHOAL_PASSPHRASE_FD"
CREDENTIAL: Final = "shoal-passphrase"
"""The name under which systemd hands it over (systemd.exec(5), LoadCredential=)."""
WORK: Final = 2**17
"""scrypt's n, with r = 8 and p = 1: 128 MB and about half a second (RFC 7914; OWASP's recommendation of 2024)."""
SHORTEST: Final = 8
_LONGEST: Final = 4096
Ask = Callable[[str], str]
"""Asks the person on their terminal, without echo."""


def derive(passphrase: str, salt: bytes, *, work: int = WORK) -> bytes:
    """Return 32 bytes made from a passphrase by scrypt (RFC 7914), shape of a key."""
    return Scrypt(salt=salt, length=KEY_BYTES, n=work, r=8, p=1).derive(passphrase.encode())


def given(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the passphrase that this process was given: a variable, a descriptor, a file, or systemd's credential.

    Raises:
        VaultError: the descriptor or file that was named cannot be read, or holds nothing.
    """
    if environment.get(VARIABLE):
        return environment[VARIABLE]
    if environment.get(DESCRIPTOR_VARIABLE):
        return _from_descriptor(environment[DESCRIPTOR_VARIABLE])
    if environment.get(FILE_VARIABLE):
        return _line(_read(Path(environment[FILE_VARIABLE])), environment[FILE_VARIABLE])
    credential = Path(environment.get("CREDENTIALS_DIRECTORY", "")) / CREDENTIAL
    if environment.get("CREDENTIALS_DIRECTORY") and credential.exists():
        return _line(_read(credential), str(credential))
    return None


def is_terminal() -> bool:
    """Tell whether somebody could be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()


def ask_once(ask: Ask = getpass.getpass) -> str:
    """Ask for the vault's passphrase."""
    return ask("Passphrase of the vault: ")


def ask_new(ask: Ask = getpass.getpass) -> str:
    """Ask for a new passphrase, twice.

    Raises:
        VaultError: it is too short, or the two differ.
    """
    chosen = checked(ask("New passphrase for what you teach: "))
    if ask("The same once more: ") != chosen:
        raise VaultError("the two passphrases differ: nothing was changed, try again")
    return chosen


def checked(passphrase: str) -> str:
    """Return a new passphrase if it can protect anything.

    Raises:
        VaultError: it is too short.
    """
    if len(passphrase) < SHORTEST:
        raise VaultError(f"a passphrase needs at least {SHORTEST} characters, this has {len(passphrase)}: take more")
    return passphrase


@lru_cache(maxsize=1)
def _from_descriptor(number: str) -> str:
    """Read a descriptor to its end; kept, because that is possible once."""
    try:
        with os.fdopen(int(number), "rb") as file:
            data = file.read(_LONGEST)
    except (OSError, ValueError) as error:
        message = f"{DESCRIPTOR_VARIABLE}={number} cannot be read ({error}): pass an open file descriptor"
        raise VaultError(message) from error
    return _line(data, DESCRIPTOR_VARIABLE)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_LONGEST)
    except OSError as error:
        raise VaultError(f"the passphrase file {file} cannot be read ({error.strerror}): mend that") from error


def _line(data: bytes, where: str) -> str:
    """Return the first line, as editors end one."""
    try:
        found = data.decode().split("\n", 1)[0].removesuffix("\r")
    except UnicodeDecodeError as error:
        raise VaultError(f"{where} holds no text: put the passphrase into its first line, as UTF-8") from error
    if not found:
        raise VaultError(f"{where} is empty: put the passphrase into its first line")
    return found
