from __future__ import annotations

import sqlite3
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.database import FILE
from client.identity import identity, is_enrolled, keep_certificate, operator_key, request_enrolment
from common.enrolment import answer
from common.errors import ProtocolError, VaultError
from common.secagg import check_certificate

OPERATOR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
ask = partial(request_enrolment, operator=OPERATOR.public_key())


def test_request_certificate_kept(tmp_path):
    assert not is_enrolled(tmp_path)
    certificate = answer(OPERATOR, ask(tmp_path))
    assert not is_enrolled(tmp_path)
    keep_certificate(tmp_path, certificate)
    assert is_enrolled(tmp_path)
    mine = identity(tmp_path)
    assert check_certificate(OPERATOR.public_key().public_bytes_raw(), mine.public, mine.certificate)
    assert operator_key(tmp_path) == OPERATOR.public_key()


def test_the_devices_key_is_made_once_and_each_device_has_its_own(tmp_path):
    assert ask(tmp_path / "a") == ask(tmp_path / "a")
    assert ask(tmp_path / "a") != ask(tmp_path / "b")


def test_a_pinned_operator_is_never_replaced(tmp_path):
    ask(tmp_path)
    with pytest.raises(VaultError, match="another operator"):
        request_enrolment(tmp_path, STRANGER.public_key())
    with sqlite3.connect(tmp_path / FILE) as rows, pytest.raises(sqlite3.IntegrityError, match="chosen once"):
        rows.execute("UPDATE enrolment SET operator = zeroblob(32)")
    rows.close()
    assert operator_key(tmp_path) == OPERATOR.public_key()


def test_a_certificate_of_another_operator_or_for_another_device_is_refused(tmp_path):
    mine, others = ask(tmp_path / "a"), ask(tmp_path / "b")
    stranger = request_enrolment(tmp_path / "c", STRANGER.public_key())
    for certificate in (answer(OPERATOR, others), answer(STRANGER, stranger), bytes(64), b""):
        with pytest.raises(VaultError, match="not by the pinned operator"):
            keep_certificate(tmp_path / "a", certificate)
    assert not is_enrolled(tmp_path / "a")
    keep_certificate(tmp_path / "a", answer(OPERATOR, mine))


def test_where_nothing_is_nothing_is_made(tmp_path):
    assert not is_enrolled(tmp_path / "nobody")
    for use in (operator_key, identity):
        with pytest.raises(VaultError):
            use(tmp_path / "nobody")
    with pytest.raises(VaultError, match="never asked"):
        keep_certificate(tmp_path / "nobody", bytes(64))
    assert not (tmp_path / "nobody").exists()


def test_an_operator_certifies_no_key_without_proof_that_it_is_the_askers(tmp_path):
    request = ask(tmp_path)
    for broken in (b"", request[:-1], request + b"\0", b"\x02" + request[1:], request[:-1] + bytes([request[-1] ^ 1])):
        with pytest.raises(ProtocolError):
            answer(OPERATOR, broken)
    with pytest.raises(ProtocolError, match="another operator"):
        answer(STRANGER, request)
