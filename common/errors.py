"""Everything this project raises on purpose.

ShoalError                    catch this one, at a process's edge
├── ConfigError               mend the file or the arguments, start again
├── PhotoError                one photo is unusable: it is named and skipped
├── BackboneError             the diffusion model is missing, damaged or of the wrong kind
├── PriorError                a prior is refused: the last good one stays in use
├── VaultError                the person's own store is damaged or lacks what was asked for
├── BudgetExhaustedError      final: this person takes no further part
└── ProtocolError             the peer is wrong: drop its message
    ├── StaleRoundError       harmless: wait for the next round
    └── AbortedRoundError     too few are left, or somebody cheated: this sum is never opened

A message names what is wrong, the value, and the remedy, and never carries a photo, prompt, token or key.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class ShoalError(Exception):
    """Whatever went wrong in a way that was foreseen."""


class ConfigError(ShoalError):
    """A setting or an argument cannot be used as it stands."""


class PhotoError(ShoalError):
    """One photo cannot be used; the others can."""


class BackboneError(ShoalError):
    """A backbone cannot be loaded, or is not the one that was meant."""


class PriorError(ShoalError):
    """A prior's bytes, signature or numbers are not to be trusted."""


class VaultError(ShoalError):
    """The person's own store cannot give or keep what was asked."""


class BudgetExhaustedError(ShoalError):
    """This person's privacy budget is spent."""


class ProtocolError(ShoalError):
    """A message breaks the protocol."""


class StaleRoundError(ProtocolError):
    """A message belongs to a round that is over or to a prior that was replaced."""


class AbortedRoundError(ProtocolError):
    """A secure sum cannot be opened."""

    def __init__(
        self,
        message: str,
        *,
        blamed: Mapping[Any, str] = MappingProxyType({}),
        doubted: Mapping[Any, str] = MappingProxyType({}),
    ) -> None:
        """Say why; `blamed` and `doubted`, as `common.secagg.blame` has them: the labels of devices, each with why."""
        super().__init__(message)
        self.blamed, self.doubted = blamed, doubted
