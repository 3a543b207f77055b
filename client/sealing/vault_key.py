"""The vault's master key: how it is wrapped, and how this process comes by it, once.

The record is one row of the vault. What unwraps it is looked for again only in a new process: `_OPENED` holds what
this process opened already, because scrypt is slow on purpose and a descriptor can be read once.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Literal, get_args

from client.sealing import key_file, passphrase
from client.sealing.seal import KEY_BYTES, Seal
from common.errors import VaultError

Kind = Literal["keyring", "passphrase", "file"]
_MOST_WORK: Final = 2**20
"""A record that asks for more was not written here."""
_OPENED: Final[dict[str, bytes]] = {}
"""Master keys by the vault's id, of this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How a master key is protected; no secret itself."""

    vault: str
    """The vault's id, random."""
    kind: Kind
    wrapped: str
    """The master key, sealed, hex."""
    salt: str = ""
    """Of the passphrase, hex."""
    work: int = 0
    """scrypt's n."""
    file: str = ""
    """Where the key file is."""

    @property
    def label(self) -> str:
        """What the wrapped key is sealed under: a record that was altered does not open."""
        return f"vault key/{self.vault}/{self.kind}/{self.salt}/{self.work}"


def seal_of(rows: sqlite3.Connection) -> Seal:
    """Return what seals and opens a vault's contents.

    A vault without a key is given one, which needs a transaction that may write.

    Raises:
        VaultError: the key cannot be had, and why; what is sealed stays as it is.
    """
    record = _read(rows)
    if record is None:
        return Seal(_create(rows, _best(), file=None, ask=_new_passphrase))
    if record.vault not in _OPENED:
        _OPENED[record.vault] = _unwrap(record, _wrapping_key(record))
    return Seal(_OPENED[record.vault])


def kind_of(rows: sqlite3.Connection) -> Kind | None:
    """Return how the vault's key is protected; None while it has none."""
    record = _read(rows)
    return None if record is None else record.kind


def id_of(rows: sqlite3.Connection) -> str | None:
    """Return the vault's id, under which the keyring knows it; None while it has no key."""
    record = _read(rows)
    return None if record is None else record.vault


def protect(
    rows: sqlite3.Connection, kind: Kind, *, file: Path | None = None, ask: Callable[[], str] = passphrase.ask_new
) -> None:
    """Protect the master key in this way from now on, or with another passphrase. What it seals is not touched.

    Args:
        rows: a transaction that may write.
        kind: how.
        file: the key file; None is the one named by `SHOAL_KEY_FILE`.
        ask: gives the new passphrase.

    Raises:
        VaultError: the vault cannot be opened, or the new protection is not to be had; then the old one stays.
    """
    before = _read(rows)
    if before is None:
        _create(rows, kind, file=file, ask=ask)
        return
    _write(rows, _wrap(before.vault, seal_of(rows).key, kind, file=file, ask=ask))


def hand_down(rows: sqlite3.Connection) -> str:
    """Return what `inherit` takes, for a child process of the same program; it is a secret."""
    key = seal_of(rows).key
    record = _read(rows)
    if record is None:  # cannot be: it was made above
        raise VaultError("the vault has no key: open it first")
    return f"{record.vault}:{key.hex()}"


def inherit(handed: str) -> None:
    """Take over a vault's key from the parent process, which was asked for the passphrase so that we are not."""
    vault, _, key = handed.partition(":")
    _OPENED[vault] = bytes.fromhex(key)


def _create(rows: sqlite3.Connection, kind: Kind, *, file: Path | None, ask: Callable[[], str]) -> bytes:
    """Make a master key and its record."""
    master = os.urandom(KEY_BYTES)
    record = _wrap(secrets.token_hex(8), master, kind, file=file, ask=ask)
    _write(rows, record)
    _OPENED[record.vault] = master
    return master


def _best() -> Kind:
    """Return what was asked for, else the keyring, else a passphrase where somebody can be asked."""
    if os.environ.get(key_file.VARIABLE):
        return "file"
    if passphrase.given() is not None:
        return "passphrase"
    from client.sealing import system_keyring  # noqa: PLC0415 - its backends take a tenth of a second to import

    if system_keyring.usable():
        return "keyring"
    if passphrase.is_terminal():
        return "passphrase"
    raise VaultError(
        "there is no keyring here to keep the vault's key in: give a passphrase in SHOAL_PASSPHRASE_FILE or "
        "SHOAL_PASSPHRASE, or name a place for a key in SHOAL_KEY_FILE, which protects less (docs/vault.md)"
    )


def _new_passphrase() -> str:
    found = passphrase.given()
    return passphrase.ask_new() if found is None else passphrase.checked(found)


def _wrap(vault: str, master: bytes, kind: Kind, *, file: Path | None, ask: Callable[[], str]) -> Record:
    salt, work, place = "", 0, ""
    if kind == "passphrase":
        salt, work = secrets.token_hex(16), passphrase.WORK
        key = passphrase.derive(ask(), bytes.fromhex(salt), work=work)
    elif kind == "file":
        found = key_file.named() if file is None else file.absolute()
        place, key = str(found), key_file.make(found)
    else:
        from client.sealing import system_keyring  # noqa: PLC0415 - as above

        key = system_keyring.store(vault)
    bare = Record(vault=vault, kind=kind, wrapped="", salt=salt, work=work, file=place)
    return replace(bare, wrapped=Seal(key).seal(master, bare.label).hex())


def _wrapping_key(record: Record) -> bytes:
    if record.kind == "passphrase":
        found = passphrase.given()
        if found is None and not passphrase.is_terminal():
            raise VaultError(
                "the vault is locked: give its passphrase in SHOAL_PASSPHRASE_FILE or SHOAL_PASSPHRASE, or start this "
                "at a terminal, where it is asked for"
            )
        words = passphrase.ask_once() if found is None else found
        return passphrase.derive(words, bytes.fromhex(record.salt), work=record.work)
    if record.kind == "file":
        return key_file.read(_place(Path(record.file)))
    from client.sealing import system_keyring  # noqa: PLC0415 - as above

    return system_keyring.fetch(record.vault)


def _place(recorded: Path) -> Path:
    """Return where the key file is: where it was made, else where the person says that it is now."""
    return key_file.named() if os.environ.get(key_file.VARIABLE) and not recorded.exists() else recorded


def _unwrap(record: Record, key: bytes) -> bytes:
    try:
        return Seal(key).open(bytes.fromhex(record.wrapped), record.label)
    except VaultError as error:
        what = {
            "passphrase": "this is not the vault's passphrase: try again",
            "file": "the key file is not this vault's: put the right one back",
            "keyring": "what the keyring holds is not this vault's key: restore the keyring from a backup",
        }
        raise VaultError(f"{what[record.kind]}; nothing was deleted") from error


def _read(rows: sqlite3.Connection) -> Record | None:
    found = rows.execute("SELECT record FROM sealing").fetchone()
    if found is None:
        return None
    try:
        record = Record(**json.loads(found[0]))
        sound = record.kind in get_args(Kind) and 0 <= record.work <= _MOST_WORK
        bytes.fromhex(record.salt + record.wrapped)
    except (ValueError, TypeError) as error:
        raise VaultError("the record of the vault's key is damaged: restore the vault from a backup") from error
    if not sound:
        raise VaultError("the vault's key is protected in a way that is not known here: update Shoal")
    return record


def _write(rows: sqlite3.Connection, record: Record) -> None:
    text = json.dumps(asdict(record), sort_keys=True)
    rows.execute("INSERT INTO sealing VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record", (text,))
