"""A lying server gets nobody's vector; with the check switched off that each lie needs, it does."""

from __future__ import annotations

import pytest

from common.secagg import client
from simulations.attacks.unmasking import LIES, switch_off, works


@pytest.mark.parametrize("name", LIES)
def test_a_lie_works_only_without_the_check_against_it(name):
    lie, needed = LIES[name]
    assert works(lie, needed)
    assert not works(lie, frozenset())


@pytest.mark.parametrize("name", LIES)
def test_no_other_check_is_what_stops_a_lie(name):
    """Each lie ends at its own check: switching all others off does not help it."""
    lie, needed = LIES[name]
    others = frozenset().union(*(checks for _, checks in LIES.values())) - needed
    if "certificates" in needed:
        others -= {"signatures"}  # a certificate is one
    assert not works(lie, others)


def test_checks_are_back_afterwards():
    before = client.check_unmasking
    with switch_off(frozenset({"confirmation"})):
        assert client.check_unmasking is not before
    assert client.check_unmasking is before
