"""Vaults of virtual people: nobody is protected, so their keys lie beside them, and a thousand cost no scrypt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from client.database import Database
from client.sealing import kind_of, protect
from client.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path

KEY: Final = "simulated.key"


def virtual_vault(folder: Path) -> Vault:
    """Open a virtual person's vault; a new one is given a key file in the same folder.

    Call it before anything else writes to the folder: a vault without a key takes the keyring of whoever runs this.
    """
    with Database(folder).transaction() as rows:
        if kind_of(rows) is None:
            protect(rows, "file", file=folder / KEY)
    return Vault(folder)
