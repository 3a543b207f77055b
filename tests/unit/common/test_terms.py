from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from common.enrolment import Admission, Application, answer, read_admission, read_application, request, to_json
from common.errors import ConfigError, ProtocolError
from common.invitation import Invitation, fingerprint, read_code, write_code
from common.terms import Terms, open_terms, sign_terms

OPERATOR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = OPERATOR.public_key().public_bytes_raw()
PINNED = fingerprint(PUBLIC)
GOOD = {
    "name": "Reef",
    "address": "reef.example:8443",
    "authority": "",
    "backbone": "ab" * 32,
    "width": 24,
    "bundles": ("cd" * 32,),
    "kinds": ("object", "style"),
    "minimum_people": 8,
    "epsilon": 1.0,
    "delta": 1e-6,
    "rounds_a_month": 31,
    "hours": (2,),
    "poll_seconds": 5.0,
    "jitter_seconds": 30.0,
    "issued": 1_800_000_000,
}


def node_key(curve=SECP384R1):
    public = generate_private_key(curve()).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def test_terms_come_back_as_they_were_signed():
    signed = sign_terms(Terms(**GOOD), OPERATOR)
    assert open_terms(signed, PINNED) == (Terms(**GOOD), PUBLIC)


def test_terms_of_another_operator_are_refused():
    other = Ed25519PrivateKey.generate()
    with pytest.raises(ProtocolError, match="not the operator of your code"):
        open_terms(sign_terms(Terms(**GOOD), other), PINNED)


def test_changed_terms_are_refused():
    signed = json.loads(sign_terms(Terms(**GOOD), OPERATOR))
    signed["terms"] = signed["terms"].replace('"minimum_people": 8', '"minimum_people": 3')
    with pytest.raises(ProtocolError, match="not as the operator signed"):
        open_terms(json.dumps(signed).encode(), PINNED)


def test_another_operators_signature_under_the_pinned_key_is_refused():
    signed = json.loads(sign_terms(Terms(**GOOD), Ed25519PrivateKey.generate()))
    signed["operator"] = PUBLIC.hex()
    with pytest.raises(ProtocolError, match="not as the operator signed"):
        open_terms(json.dumps(signed).encode(), PINNED)


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"[]", b"{}", b'{"terms": 1, "operator": "", "signature": ""}', b"[" * 65536, b"\xff"]
)
def test_what_are_no_terms_is_refused(data):
    with pytest.raises(ProtocolError):
        open_terms(data, PINNED)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", ""),
        ("name", "a\nb"),
        ("address", "reef.example"),
        ("address", "reef.example:8443/x"),
        ("backbone", "abc"),
        ("width", 0),
        ("bundles", ()),
        ("bundles", ("xx",)),
        ("kinds", ("smell",)),
        ("kinds", ()),
        ("minimum_people", 0),
        ("epsilon", 0.0),
        ("epsilon", float("nan")),
        ("delta", 1.0),
        ("hours", (24,)),
        ("poll_seconds", 0.0),
        ("jitter_seconds", -1.0),
    ],
)
def test_terms_out_of_bounds_are_refused(name, value):
    with pytest.raises(ProtocolError, match=name):
        Terms(**{**GOOD, name: value})


@pytest.mark.parametrize("change", [{"more": 1}, {"width": "24"}, {"hours": ["2"]}, {"epsilon": True}])
def test_signed_terms_of_another_form_are_refused(change):
    text = json.dumps({**GOOD, **change})
    signature = OPERATOR.sign(b"shoal terms 1\0" + text.encode())
    data = json.dumps({"terms": text, "operator": PUBLIC.hex(), "signature": signature.hex()}).encode()
    with pytest.raises(ProtocolError):
        open_terms(data, PINNED)


@pytest.mark.parametrize("secret", [b"", b"0123456789"])
def test_a_code_is_read_however_it_is_typed(secret):
    invitation = Invitation(PINNED, secret)
    text = write_code(invitation)
    for typed in (text, text.lower(), text.replace("-", ""), f" {text.replace('-', ' ')}\n"):
        assert read_code(typed) == invitation


@pytest.mark.parametrize("text", ["", "A", "HELLO-WORLD", "1" * 42, "A" * 41, "É" * 26])
def test_what_is_no_code_is_refused(text):
    with pytest.raises(ConfigError, match="no code"):
        read_code(text)


def test_a_codes_secret_is_not_shown():
    assert "0123456789" not in repr(Invitation(PINNED, b"0123456789"))


def test_an_enrolment_travels_as_json():
    device = Ed25519PrivateKey.generate()
    application = Application(request=request(device, PUBLIC), node_key=node_key(), secret=b"0123456789")
    assert read_application(to_json(application)) == application
    assert application.identity == device.public_key().public_bytes_raw()
    admission = Admission(certificate=answer(OPERATOR, application.request), node=2**63 + 1)
    assert read_admission(to_json(admission)) == admission


def test_a_nodes_key_is_on_the_curve_that_flower_takes_and_has_one_spelling():
    asking = request(Ed25519PrivateKey.generate(), PUBLIC)
    key = node_key()
    for bad in (node_key(SECP256R1), "", "none", f"{key}\n", f"# {key}", key.replace("\n", "\r\n")):
        with pytest.raises(ProtocolError, match="node's key"):
            Application(request=asking, node_key=bad)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"request": 1, "node_key": 2, "secret": 3}', b"x" * 5000])
def test_what_is_no_application_is_refused(data):
    with pytest.raises(ProtocolError):
        read_application(data)
    with pytest.raises(ProtocolError):
        read_admission(data)
