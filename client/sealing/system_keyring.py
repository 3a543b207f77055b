"""The system's keyring: Secret Service or KWallet on Linux, Keychain on macOS, Credential Locker on Windows."""

from __future__ import annotations

import os
from typing import Final

import keyring
from keyring.backend import KeyringBackend
from keyring.backends.chainer import ChainerBackend
from keyring.errors import KeyringError

from client.sealing.seal import KEY_BYTES
from common.errors import VaultError

SERVICE: Final = "shoal"
TRUSTED: Final = (
    "keyring.backends.SecretService",
    "keyring.backends.libsecret",
    "keyring.backends.kwallet",
    "keyring.backends.macOS",
    "keyring.backends.Windows",
)
"""Those that encrypt and are unlocked by logging on; other packages may add ones that keep plain text in a file."""


def usable() -> bool:
    """Tell whether there is a keyring that may hold a key."""
    return _backend() is not None


def store(vault: str) -> bytes:
    """Return the key that the keyring holds for a vault, made if there is none, once it can be read back.

    One that is there is never replaced: something may be sealed with it.

    Raises:
        VaultError: there is no keyring, or it takes nothing.
    """
    backend, key = _demand(), os.urandom(KEY_BYTES)
    try:
        if backend.get_password(SERVICE, vault) is not None:
            return fetch(vault)
        backend.set_password(SERVICE, vault, key.hex())
        kept = backend.get_password(SERVICE, vault)
    except (KeyringError, OSError, RuntimeError) as error:
        raise VaultError(f"the keyring took no key ({type(error).__name__}): unlock it, or use a passphrase") from error
    if kept != key.hex():
        raise VaultError("the keyring did not keep the key: use a passphrase")
    return key


def fetch(vault: str) -> bytes:
    """Return the key of a vault.

    Raises:
        VaultError: there is no keyring, it is locked, or it has no such key.
    """
    backend = _demand()
    try:
        found = backend.get_password(SERVICE, vault)
    except (KeyringError, OSError, RuntimeError) as error:
        message = f"the keyring gives no key ({type(error).__name__}): unlock it, then try again; nothing is lost"
        raise VaultError(message) from error
    if found is None:
        raise VaultError(
            f"the keyring has no key for this vault ({SERVICE}/{vault}): log on as the person whose it is, or restore "
            "the keyring from a backup. Nothing was deleted; without the key it stays closed"
        )
    try:
        return bytes.fromhex(found)
    except ValueError as error:
        raise VaultError(f"what the keyring holds as {SERVICE}/{vault} is no key: restore it from a backup") from error


def delete(vault: str) -> None:
    """Take a key out of the keyring, if it is there."""
    backend = _backend()
    if backend is None:
        return
    try:
        backend.delete_password(SERVICE, vault)
    except (KeyringError, OSError, RuntimeError):
        return


def _demand() -> KeyringBackend:
    backend = _backend()
    if backend is None:
        raise VaultError(
            "the vault's key is in the system's keyring, and none can be reached from here: log on to the desktop, or "
            "change to a passphrase there with `shoal vault --protect passphrase`"
        )
    return backend


def _backend() -> KeyringBackend | None:
    chosen = keyring.get_keyring()
    parts = list(chosen.backends) if isinstance(chosen, ChainerBackend) else [chosen]
    return next((part for part in parts if type(part).__module__.startswith(TRUSTED)), None)
