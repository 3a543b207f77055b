"""`shoal vault`: how what you taught is protected on this disk, and another way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from client.database import FILE, Database
from client.options import Home, Json
from client.sealing import Kind, id_of, kind_of, protect

WORDS: Final[dict[Kind | None, str]] = {
    None: "nothing is in the vault yet; its key is made with the first thing that is",
    "keyring": "sealed by a key in the system's keyring, which opens when you log on",
    "passphrase": "sealed by a passphrase, which is asked for at a terminal or given in SHOAL_PASSPHRASE_FILE",
    "file": "sealed by a key file: who can read your files can read the vault, who gets a copy of it alone cannot",
}


def command(
    *,
    how: Annotated[
        Kind | None, typer.Option("--protect", help="Seal its key so from now on; passphrase also changes that.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Where a key file is to be, away from the vault.")] = None,
    machine: Json = False,
    home: Home,
) -> None:
    """Show how the vault is protected, or protect it in another way. What is in it stays as it is."""
    if how is not None:
        change(home, how, file)
    if machine:
        typer.echo(json.dumps({"vault": str(home / FILE), "protected_by": found(home)}))
        return
    Console().print(f"{home / FILE}: {WORDS[found(home)]}", markup=False, highlight=False, soft_wrap=True)


def found(home: Path) -> Kind | None:
    """Return how the vault is protected; None while there is nothing to protect."""
    if not (home / FILE).is_file():
        return None
    with Database(home).transaction("DEFERRED") as rows:
        return kind_of(rows)


def change(home: Path, how: Kind, file: Path | None) -> None:
    """Protect the vault in another way; the key that served before is taken out of the keyring.

    Raises:
        VaultError: the vault cannot be opened, or the new protection is not to be had; then the old one stays.
    """
    with Database(home).transaction() as rows:
        before, vault = kind_of(rows), id_of(rows)
        protect(rows, how, file=None if file is None else file.expanduser())
    if before == "keyring" != how and vault is not None:  # after the commit: until then it is needed
        from client.sealing import system_keyring  # noqa: PLC0415 - its backends take a tenth of a second to import

        system_keyring.delete(vault)
