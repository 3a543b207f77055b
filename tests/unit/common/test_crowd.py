from __future__ import annotations

import pytest

from common.crowd import colluders, fewest_survivors
from common.errors import ProtocolError
from common.secagg import topology


@pytest.mark.parametrize(("people", "expected"), [(3, 1), (5, 1), (6, 2), (10, 2), (11, 3), (128, 26), (1024, 205)])
def test_one_in_five_may_collude_and_one_at_least(people, expected):
    assert colluders(people) == expected


@pytest.mark.parametrize("people", [3, 8, 12, 128, 1024])
def test_no_sum_of_fewer_than_the_quorum_or_the_announced_minimum_is_opened(people):
    assert fewest_survivors(people, 3) == topology(people).quorum
    assert fewest_survivors(people, people) == people
    assert fewest_survivors(people, 3) > colluders(people)


def test_a_crowd_outside_the_protocol_is_refused():
    with pytest.raises(ProtocolError):
        fewest_survivors(1025, 8)
