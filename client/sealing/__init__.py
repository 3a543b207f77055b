"""Keeps what is private encrypted at rest: tokens, checkpoints, samples, and the secrets of rounds under way.

A vault has one master key of 32 random bytes. It lies in the vault itself, wrapped by a key that lies elsewhere: in
the system's keyring, in a passphrase, or, only where asked for, in a key file. So the way it is protected can be
changed without touching what it seals. What this is for: a stolen disk, a backup in the wrong hands, another
account. What it is not for: programs that run as the same person while the vault is in use.
"""

from client.sealing.seal import Seal
from client.sealing.vault_key import Kind, hand_down, id_of, inherit, kind_of, protect, seal_of

__all__ = ["Kind", "Seal", "hand_down", "id_of", "inherit", "kind_of", "protect", "seal_of"]
