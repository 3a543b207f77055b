"""Crowds own nothing of the newcomers', and as many different things as there are."""

from __future__ import annotations

from collections import Counter

import pytest

from common.errors import ConfigError
from simulations.population import CROWD, PICTURES, crowd, owner_of_many, people


def test_a_crowd_owns_nothing_of_the_newcomers():
    newcomers = people(30, 30, 0)
    objects = {p.subject for p in newcomers if p.kind == "object"}
    pictures = {m for p in newcomers for m in p.pictures}
    assert not objects & {p.subject for p in crowd("object", 300, newcomers, 0)}
    assert not pictures & {m for p in crowd("style", 300, newcomers, 0) for m in p.pictures}


def test_who_owns_many_pictures_of_the_style_owns_none_of_the_newcomers():
    newcomers = people(0, 3, 0)
    owner = owner_of_many(newcomers, 40, 0)
    assert len(set(owner.pictures)) == len(owner.captions) == 40
    assert not set(owner.pictures) & {m for p in newcomers for m in p.pictures}
    assert owner == owner_of_many(newcomers, 40, 0) != owner_of_many(newcomers, 40, 1)


def test_nobody_is_twice_in_a_crowd_and_things_go_round():
    newcomers = people(30, 0, 0)
    found = crowd("object", 300, newcomers, 0)
    assert len({p.pictures for p in found}) == len({p.number for p in found}) == 300
    assert min(p.number for p in found) == CROWD > 2 * 150  # more than everybody of `people`
    assert set(Counter(p.subject for p in found).values()) == {2, 3}  # of 120 objects
    assert {len(p.pictures) for p in found} <= set(range(PICTURES[0], PICTURES[1] + 1))


def test_a_larger_crowd_begins_with_the_smaller_one():
    newcomers = people(2, 2, 0)
    for kind in ("object", "style"):
        assert crowd(kind, 40, newcomers, 0)[:10] == crowd(kind, 10, newcomers, 0)
        assert crowd(kind, 10, newcomers, 1) != crowd(kind, 10, newcomers, 0)


def test_a_crowd_that_there_is_no_room_for_is_refused():
    with pytest.raises(ConfigError, match="ask for fewer"):
        crowd("object", 1, people(150, 0, 0), 0)
