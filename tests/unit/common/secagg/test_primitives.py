"""The primitives are the published ones: vectors of their RFCs, and the exact inputs they are given here."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import ProtocolError
from common.secagg import Identity, Rules, certify, check_certificate, digest_parameters
from common.secagg.identity import verify
from common.secagg.keys import agree, derive, private_key, public_key
from common.secagg.masks import add_pair, expand, pack, unpack, wrap

RULES = Rules(operator=b"o" * 32, parameters=b"p" * 32, minimum_people=3, length=4, modulus_bits=24)


def test_x25519_is_that_of_rfc_7748():
    """Section 6.1."""
    bob = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    alice = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    assert public_key(bob).hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    assert agree(private_key(bob), alice).hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def test_hkdf_is_that_of_rfc_5869():
    """Written out from HMAC: extract with a salt of 32 zero bytes, one block of expansion."""
    material, info = b"m" * 32, (b"transcript" * 3, b"name")
    pseudorandom = hmac.new(bytes(32), material, hashlib.sha256).digest()
    expected = hmac.new(pseudorandom, b"label" + b"".join(info) + b"\1", hashlib.sha256).digest()
    assert derive(b"label", material, *info) == expected


def test_masks_are_the_keystream_of_rfc_8439():
    """Appendix A.1, test vector 1: key, nonce and counter zero."""
    stream = bytes.fromhex("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
    assert expand(bytes(32), 8).tolist() == np.frombuffer(stream, "<u4").tolist()


def test_a_pair_of_masks_cancels():
    secret, digest = b"s" * 32, b"t" * 32
    one = add_pair(np.zeros(6, np.uint32), secret, digest, own=b"a" * 32, other=b"b" * 32)
    two = add_pair(np.zeros(6, np.uint32), secret, digest, own=b"b" * 32, other=b"a" * 32)
    assert one.any()
    assert not (one + two).any()
    assert (add_pair(np.zeros(6, np.uint32), secret, b"u" * 32, own=b"a" * 32, other=b"b" * 32) != one).any()


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_packing_is_little_endian_and_comes_back(bits):
    rules = replace(RULES, modulus_bits=bits)
    vector = np.array([0, 1, (1 << bits) - 1, 0x01020304 & ((1 << bits) - 1)], np.uint32)
    data = pack(vector, rules)
    assert data == b"".join(int(value).to_bytes(bits // 8, "little") for value in vector)
    assert unpack(data, rules).tolist() == vector.tolist()
    assert unpack(data, rules).dtype == np.uint32


def test_packing_reduces_modulo():
    assert unpack(pack(np.array([1 << 24, 5, 1 << 31, 0], np.uint32), RULES), RULES).tolist() == [0, 5, 0, 0]
    assert wrap(np.array([(1 << 24) + 7], np.uint32), RULES).tolist() == [7]


@pytest.mark.parametrize("size", [0, 11, 13, 16])
def test_a_vector_of_another_size_is_refused(size):
    with pytest.raises(ProtocolError, match="instead of 12"):
        unpack(bytes(size), RULES)


@pytest.mark.parametrize(
    "change",
    [
        {"operator": b"o" * 31},
        {"parameters": b""},
        {"minimum_people": 2},
        {"minimum_people": 1025},
        {"length": 0},
        {"length": 65537},
        {"modulus_bits": 12},
        {"modulus_bits": 40},
    ],
    ids=str,
)
def test_terms_outside_the_protocol_are_refused(change):
    with pytest.raises(ProtocolError, match=f"the round's {next(iter(change))} is out of the protocol"):
        replace(RULES, **change)


def test_the_context_covers_every_term():
    changed = [
        {"operator": b"x" * 32},
        {"parameters": b"x" * 32},
        {"minimum_people": 4},
        {"length": 5},
        {"modulus_bits": 16},
    ]
    contexts = {RULES.context, *(replace(RULES, **change).context for change in changed)}
    assert len(contexts) == 6
    assert digest_parameters(b"a") != digest_parameters(b"b")


def test_an_identity_is_its_certificate():
    operator, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    secret = Ed25519PrivateKey.generate().private_bytes_raw()
    public = Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    identity = Identity(secret, certify(operator, public))
    assert identity.public == public
    assert check_certificate(operator.public_key().public_bytes_raw(), public, identity.certificate)
    assert not check_certificate(other.public_key().public_bytes_raw(), public, identity.certificate)
    assert not check_certificate(operator.public_key().public_bytes_raw(), bytes(32), identity.certificate)
    assert verify(public, identity.sign(b"message"), b"message")
    assert not verify(public, identity.sign(b"message"), b"another")
    assert not verify(b"no key", b"no signature", b"message")


def test_an_operators_signature_on_a_prior_is_no_certificate():
    """The domain keeps the uses of one key apart."""
    operator = Ed25519PrivateKey.generate()
    signature = operator.sign(b"shoal prior 1\0" + bytes(32))
    assert not check_certificate(operator.public_key().public_bytes_raw(), bytes(32), signature)


@pytest.mark.parametrize(("secret", "certificate"), [(b"", bytes(64)), (bytes(32), bytes(63))])
def test_an_identity_of_other_sizes_is_refused(secret, certificate):
    with pytest.raises(ProtocolError, match="enrol again"):
        Identity(secret, certificate)
