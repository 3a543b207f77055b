"""docs/protocol.md, written out a second time: whole rounds derived from it without a line of `common/`.

One long function from the secrets to the sum, in the order of the document, on Python's integers and bytes and the
published primitives. The golden rounds must come out of it byte for byte; `test_vectors.py` asks the same of
`common.secagg`. Where the two ever differ, the document decides.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from fractions import Fraction
from math import comb
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

VECTORS = Path(__file__).parents[3] / "vectors"
ROUNDS = sorted(VECTORS.glob("secagg_good_round_*.json"))
GRAPH = json.loads((VECTORS / "secagg_good_graph.json").read_text())
PRIME = 2**256 + 297


# Section 1


def little(value, size):
    return value.to_bytes(size, "little")


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def sign(secret, *parts):
    return Ed25519PrivateKey.from_private_bytes(secret).sign(b"".join(parts))


def ed_public(secret):
    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def x_public(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def x25519(secret, public):
    return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))


def hkdf(label, material, *info):
    extracted = hmac.new(bytes(32), material, hashlib.sha256).digest()
    return hmac.new(extracted, label + b"".join(info) + b"\1", hashlib.sha256).digest()


def expand(seed, length):
    stream = Cipher(ChaCha20(seed, bytes(16)), mode=None).encryptor().update(bytes(4 * length))
    return [int.from_bytes(stream[at : at + 4], "little") for at in range(0, 4 * length, 4)]


def bitmap(members, people):
    data = bytearray((people + 7) // 8)
    for member in members:
        data[member // 8] |= 1 << member % 8
    return bytes(data)


# Section 5


def frame(kind, *parts):
    body = b"".join(parts)
    return b"SHOALAGG" + bytes([1, kind]) + little(len(body), 4) + body


# Section 6


def tail(population, marked, draws, least):
    ways = sum(comb(marked, x) * comb(population - marked, draws - x) for x in range(least, min(marked, draws) + 1))
    return Fraction(ways, comb(population, draws))


def numbers(n):
    """Give k, t, q, w."""
    q, c, d = 2 * n // 3 + 1, n // 5, n // 5

    def least(population, draws):
        for x in range(draws * c // population + 1, draws + 1):
            if n * tail(population, c, draws, x) <= Fraction(1, 2**80):
                return x
        return None

    for m in range(1, n // 4):
        w = least(n, m)
        if w is None or n * tail(n, d, m, m - w + 1) > Fraction(1, 2**20):
            continue
        t = least(n - 1, 2 * m)
        if t is not None:
            return 2 * m, t, q, w
    return n - 1, q - 1, q, 0


def circle(transcript, names):
    return sorted(range(len(names)), key=lambda at: sha(b"shoal secagg circle 1\0", transcript, names[at]))


def neighbours(order, k, at):
    n = len(order)
    if k == n - 1:
        return [other for other in range(n) if other != at]
    place = order.index(at)
    return sorted(order[(place + step) % n] for step in range(-(k // 2), k // 2 + 1) if step)


def round_from_secrets(given):  # noqa: C901, PLR0915 - the document from front to back
    """Derive every message of a round, and its sum, from what a golden vector gives."""
    terms, devices = given["terms"], given["devices"]
    read = bytes.fromhex

    # Section 4
    operator = read(terms["operator_secret"])
    parameters = sha(b"shoal secagg parameters 1\0", read(terms["announcement"]))
    length, bits = terms["length"], terms["modulus_bits"]
    fields = little(terms["minimum_people"], 2) + little(length, 4) + little(bits, 1)
    context = sha(b"shoal secagg context 1\0", ed_public(operator), parameters, fields)

    # Section 8.1: devices are numbered as given, members by their place on the list.
    said = {}
    for number, device in enumerate(devices):
        identity = ed_public(read(device["identity_secret"]))
        c, s = x_public(read(device["cipher_secret"])), x_public(read(device["mask_secret"]))
        commitment = sha(b"shoal secagg self mask commitment 1\0", context, identity, read(device["self_seed"]))
        certificate = sign(operator, b"shoal enrolment 1\0", identity)
        signature = sign(read(device["identity_secret"]), b"shoal secagg keys 1\0", context, identity, c, s, commitment)
        said[number] = identity + certificate + c + s + commitment + signature
    keys = {number: frame(1, body) for number, body in said.items()}
    U1 = sorted(set(said) - set(given["silent"]["keys"]), key=lambda number: said[number][:32])

    # Section 8.2
    n = len(U1)
    roster = frame(2, little(n, 2), *(said[number] for number in U1))
    T = sha(b"shoal secagg roster 1\0", context, little(n, 2), *(said[number] for number in U1))
    member = [{name: read(value) for name, value in devices[number].items() if isinstance(value, str)} for number in U1]
    drawn = [devices[number] for number in U1]
    names = [said[number][:32] for number in U1]
    k, t, _q, _w = numbers(n)
    order = circle(T, names)
    N = [neighbours(order, k, at) for at in range(n)]

    def pair(secret, other):
        """The X25519 secrets of a member with another: for shares, or for masks."""
        return x25519(member[other[0]][secret], x_public(member[other[1]][secret]))

    held = {}
    shares = {}
    for i in range(n):
        closed = sorted([i, *N[i]])
        value = {}
        for secret, chosen in (("self_seed", "seed_coefficients"), ("mask_secret", "mask_key_coefficients")):
            coefficients = [int.from_bytes(member[i][secret], "little"), *(int(one, 16) for one in drawn[i][chosen])]
            assert len(coefficients) == t
            for x, j in enumerate(closed, start=1):
                value[secret, j] = little(sum(a * x**power for power, a in enumerate(coefficients)) % PRIME, 33)
        sealed, commitments = [], []
        for j, nonce in zip(N[i], drawn[i]["nonces"], strict=True):
            key = hkdf(b"shoal secagg share encryption 1\0", pair("cipher_secret", (i, j)), T, names[i], names[j])
            held[i, j] = value["self_seed", j], value["mask_secret", j]
            sealed.append(read(nonce) + AESGCM(key).encrypt(read(nonce), b"".join(held[i, j]), T))
            for label, share in zip((b"self mask share", b"mask key share"), held[i, j], strict=True):
                commitments.append(sha(b"shoal secagg " + label + b" commitment 1\0", T, names[i], names[j], share))
        signature = sign(member[i]["identity_secret"], b"shoal secagg shared 1\0", T)
        shares[i] = (signature, sealed, frame(3, signature, little(k, 2), *sealed, *commitments))
    U2 = [i for i in range(n) if U1[i] not in given["silent"]["shares"]]

    # Section 8.3
    deliveries, masked = {}, {}
    signed = b"".join(shares[i][0] for i in U2)
    for i in U2:
        inbox = [shares[j][1][N[j].index(i)] for j in N[i] if j in U2]
        deliveries[i] = frame(4, little(n, 2), bitmap(U2, n), signed, little(len(inbox), 2), *inbox)
        y = list(drawn[i]["vector"])
        for at, mask in enumerate(
            expand(hkdf(b"shoal secagg self mask 1\0", member[i]["self_seed"], T, names[i]), length)
        ):
            y[at] += mask
        for j in N[i]:
            if j in U2:
                low, high = sorted((names[i], names[j]))
                seed = hkdf(b"shoal secagg pairwise mask 1\0", pair("mask_secret", (i, j)), T, low, high)
                for at, mask in enumerate(expand(seed, length)):
                    y[at] += mask if names[i] == low else -mask
        vector = b"".join(little(value % 2**bits, bits // 8) for value in y)
        signature = sign(member[i]["identity_secret"], b"shoal secagg masked 1\0", T, bitmap(U2, n))
        masked[i] = (signature, frame(5, signature, little(len(vector), 4), vector))
    U3 = [i for i in U2 if U1[i] not in given["silent"]["masked"]]

    # Section 8.4
    survivors = frame(6, little(n, 2), bitmap(U3, n), *(masked[i][0] for i in U3))
    confirmed = {
        i: sign(member[i]["identity_secret"], b"shoal secagg confirmed 1\0", T, bitmap(U2, n), bitmap(U3, n))
        for i in U3
    }
    U4 = [i for i in U3 if U1[i] not in given["silent"]["confirm"]]

    # Section 8.5
    gone = [i for i in U2 if i not in U3]
    sets = bitmap(U3, n) + bitmap(gone, n) + bitmap(U4, n)
    request = frame(8, little(n, 2), sets, *(confirmed[i] for i in U4))
    unmasked = {}
    for j in U4:
        owners = [i for i in N[j] if i in U2]
        parts = (b"\1" + held[i, j][0] if i in U3 else b"\2" + held[i, j][1] for i in owners)
        unmasked[j] = frame(9, little(len(owners), 2), *parts)

    # Section 10: the sum of what was put in, which is what section 9 must give.
    total = [sum(drawn[i]["vector"][at] for i in U3) % 2**bits for at in range(length)]

    def by_device(messages):
        return {str(U1[i]): data.hex() for i, data in sorted(messages.items(), key=lambda item: U1[item[0]])}

    return {
        "transcript": T.hex(),
        "keys": {"replies": {str(number): data.hex() for number, data in keys.items() if number in U1}},
        "shares": {
            "request": roster.hex(),
            "replies": by_device({i: shares[i][2] for i in U2}),
        },
        "masked": {"requests": by_device(deliveries), "replies": by_device({i: masked[i][1] for i in U3})},
        "confirm": {
            "request": survivors.hex(),
            "replies": by_device({i: frame(7, confirmed[i]) for i in U4}),
        },
        "unmask": {
            "request": request.hex(),
            "replies": by_device({j: data for j, data in unmasked.items() if U1[j] not in given["silent"]["unmask"]}),
        },
        "total": total,
        "people": len(U3),
    }


def test_there_are_rounds():
    assert len(ROUNDS) >= 3


@pytest.mark.parametrize("path", ROUNDS, ids=lambda path: path.stem)
def test_a_golden_round_follows_from_the_document(path):
    vector = json.loads(path.read_text())
    derived = round_from_secrets(vector["given"])
    for name, expected in vector["derived"].items():
        assert derived[name] == expected, name
    assert derived.keys() == vector["derived"].keys()


@pytest.mark.parametrize("row", [row for row in GRAPH["numbers"] if row["n"] < 300], ids=lambda row: str(row["n"]))
def test_the_golden_numbers_follow_from_the_document(row):
    assert numbers(row["n"]) == tuple(row[name] for name in "ktqw")


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in GRAPH["numbers"] if row["n"] >= 300], ids=lambda row: str(row["n"]))
def test_the_golden_numbers_of_large_rounds_follow_from_the_document(row):
    assert numbers(row["n"]) == tuple(row[name] for name in "ktqw")


@pytest.mark.parametrize("graph", GRAPH["graphs"], ids=lambda graph: str(graph["n"]))
def test_the_golden_graphs_follow_from_the_document(graph):
    names = [sha(little(number, 2)) for number in range(graph["n"])]
    order = circle(bytes.fromhex(graph["transcript"]), sorted(names))
    assert sha(b"".join(little(at, 2) for at in order)).hex() == graph["circle_sha256"]
    k = next(row["k"] for row in GRAPH["numbers"] if row["n"] == graph["n"])
    for at, expected in graph["neighbours"].items():
        assert neighbours(order, k, int(at)) == expected
