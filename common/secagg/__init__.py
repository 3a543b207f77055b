"""Secure sums: a server learns the sum of many devices' vectors, and nothing else about any of them.

`protocol.secure_sum` is the whole of it in one readable function; `client` and `server` are its two sides as state
machines, bytes in and bytes out; docs/protocol.md is its specification.
"""

from __future__ import annotations

from common.secagg.gathered import Sum
from common.secagg.graph import Topology, topology
from common.secagg.identity import Identity, certify, check_certificate
from common.secagg.protocol import secure_sum
from common.secagg.rules import Rules, digest_parameters
from common.secagg.states import Advertised, Confirmed, Done, Masked, Shared, State, read_state

__all__ = [
    "Advertised",
    "Confirmed",
    "Done",
    "Identity",
    "Masked",
    "Rules",
    "Shared",
    "State",
    "Sum",
    "Topology",
    "certify",
    "check_certificate",
    "digest_parameters",
    "read_state",
    "secure_sum",
    "topology",
]
