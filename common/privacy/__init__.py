"""Central differential privacy without a trusted centre: every device adds a share of the noise.

`randomness` is the only source of chance, `rotation` and `mechanism` turn vectors into integers and back,
`discrete_gaussian` draws the noise, `accounting` says what it costs, `planning` chooses how much.
"""

from __future__ import annotations

from common.privacy.accounting import RoundEvent, central, dp_event, epsilon, local, rho
from common.privacy.mechanism import Mechanism, decode, draw_share, encode, noise_variance, reduce
from common.privacy.planning import plan
from common.privacy.randomness import Randomness

__all__ = [
    "Mechanism",
    "Randomness",
    "RoundEvent",
    "central",
    "decode",
    "dp_event",
    "draw_share",
    "encode",
    "epsilon",
    "local",
    "noise_variance",
    "plan",
    "reduce",
    "rho",
]
