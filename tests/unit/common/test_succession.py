from __future__ import annotations

import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import ProtocolError
from common.invitation import fingerprint
from common.succession import MOST, Link, follows, read_links, succeed, to_plain

FIRST, SECOND, THIRD, THIEF = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(1, 5))
CHAIN = (succeed(FIRST, SECOND), succeed(SECOND, THIRD))


def public(key):
    return key.public_key().public_bytes_raw()


def pin(key):
    return fingerprint(public(key))


def test_a_key_is_followed_link_by_link():
    assert follows(public(FIRST), pin(FIRST), ())
    assert follows(public(SECOND), pin(FIRST), CHAIN)
    assert follows(public(THIRD), pin(FIRST), CHAIN)
    assert follows(public(THIRD), pin(FIRST), CHAIN[::-1])
    assert follows(public(THIRD), pin(SECOND), CHAIN)


def test_there_is_no_way_back_and_none_around():
    assert not follows(public(FIRST), pin(SECOND), CHAIN)
    assert not follows(public(THIRD), pin(FIRST), CHAIN[1:])
    assert not follows(public(THIEF), pin(FIRST), (*CHAIN, succeed(THIEF, THIEF)))


def test_a_circle_comes_to_an_end():
    assert not follows(public(THIEF), pin(FIRST), (succeed(FIRST, SECOND), succeed(SECOND, FIRST)))


FORGED = {
    "by the thief's own key": Link(
        previous=public(FIRST),
        following=public(THIEF),
        endorsement=succeed(THIEF, FIRST).endorsement,
        acceptance=succeed(THIEF, THIEF).acceptance,
    ),
    "another's endorsement": replace(succeed(FIRST, THIEF), endorsement=CHAIN[0].endorsement),
    "another key put in": replace(CHAIN[0], following=public(THIEF)),
    "not accepted": replace(succeed(FIRST, THIEF), acceptance=bytes(64)),
    "accepted by the old key": replace(succeed(FIRST, THIEF), acceptance=succeed(FIRST, THIEF).endorsement),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_link_leads_nowhere(name):
    assert not FORGED[name].holds
    assert not follows(public(THIEF), pin(FIRST), (*CHAIN, FORGED[name]))


def test_no_link_can_be_turned_round():
    """The two signatures are on the same words: each must be by the key at its own end."""
    link = CHAIN[0]
    turned = Link(
        previous=link.following,
        following=link.previous,
        endorsement=link.acceptance,
        acceptance=link.endorsement,
    )
    assert not turned.holds


def test_links_are_read_as_they_were_written():
    assert read_links(json.loads(json.dumps(to_plain(CHAIN)))) == CHAIN
    assert read_links([]) == ()


PLAIN = to_plain(CHAIN)[0]
BAD = {
    "no list": 7,
    "nothing": None,
    "text": "links",
    "no links": [1],
    "a field less": [{name: PLAIN[name] for name in list(PLAIN)[1:]}],
    "a field more": [PLAIN | {"name": "x"}],
    "no hex": [PLAIN | {"previous": "zz" * 32}],
    "a number": [PLAIN | {"previous": 5}],
    "short": [PLAIN | {"endorsement": "00"}],
    "many": [PLAIN] * (MOST + 1),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_succession_is_refused(name):
    with pytest.raises(ProtocolError, match="follow one another"):
        read_links(BAD[name])
