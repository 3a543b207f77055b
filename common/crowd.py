"""What is assumed of the people in a round; device and server count the same way, each for itself."""

from __future__ import annotations

from common.secagg.graph import COLLUDERS, topology


def colluders(people: int) -> int:
    """Count whose noise protects nobody, because they may work with the server: one in 5 of n, at least one."""
    return -(-people // COLLUDERS)


def fewest_survivors(people: int, minimum: int) -> int:
    """Count the fewest vectors in a sum of n people that is ever opened: the quorum, or n_min if that is more.

    Raises:
        ProtocolError: n is outside the protocol.
    """
    return max(minimum, topology(people).quorum)
