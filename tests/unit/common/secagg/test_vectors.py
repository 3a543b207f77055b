"""Golden bytes of the secure sum: rounds that must come out as they are, messages and lies that must be refused."""

from __future__ import annotations

import json
import os
import secrets
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import ProtocolError
from common.secagg import Rules, client, digest_parameters, messages, read_state, topology
from common.secagg.graph import draw_graph
from simulations.secagg import Cohort, Round, enrol

VECTORS = Path(__file__).parents[3] / "vectors"
ROUNDS = sorted(VECTORS.glob("secagg_good_round_*.json"))
BAD_MESSAGES = sorted(VECTORS.glob("secagg_bad_message_*.json"))
LIES = sorted(VECTORS.glob("secagg_bad_lie_*.json"))
GRAPH = json.loads((VECTORS / "secagg_good_graph.json").read_text())
FORMS = {
    "keys": (None, messages.Advertisement),
    "shares": (messages.Roster, messages.Shares),
    "masked": (messages.Delivery, messages.MaskedVector),
    "confirm": (messages.Survivors, messages.Confirmation),
    "unmask": (messages.UnmaskRequest, messages.Unmasking),
}


def load(path):
    return json.loads(path.read_text())


def test_there_are_vectors_of_all_sorts():
    assert len(ROUNDS) >= 3
    assert len(BAD_MESSAGES) >= 30
    assert len(LIES) >= 25
    assert {load(path)["message"] for path in BAD_MESSAGES} == {
        form.__name__ for both in FORMS.values() for form in both if form
    }
    assert {load(path)["exchange"] for path in LIES} == FORMS.keys() - {"keys"}


class Draws:
    """Gives the recorded random draws of one device, in order and each once."""

    def __init__(self, device):
        secret = [device[name] for name in ("cipher_secret", "mask_secret", "self_seed")]
        self.data = iter([bytes.fromhex(item) for item in [*secret, *device["nonces"]]])
        self.numbers = iter([int(item, 16) for item in device["seed_coefficients"] + device["mask_key_coefficients"]])

    def bytes(self, count):
        item = next(self.data)
        assert len(item) == count
        return item

    def below(self, _):
        return next(self.numbers)


@pytest.mark.parametrize("path", ROUNDS, ids=lambda path: path.stem)
def test_a_golden_round_comes_out_byte_for_byte(path, monkeypatch):
    vector = load(path)
    terms, devices, silent = (vector["given"][name] for name in ("terms", "devices", "silent"))
    operator = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(terms["operator_secret"]))
    rules = Rules(
        operator=operator.public_key().public_bytes_raw(),
        parameters=digest_parameters(bytes.fromhex(terms["announcement"])),
        **{name: terms[name] for name in ("minimum_people", "length", "modulus_bits")},
    )
    people = tuple(enrol(operator, bytes.fromhex(device["identity_secret"])) for device in devices)
    cohort = Cohort(operator=operator, rules=rules, identities=people)
    held = Round(cohort, [np.array(device["vector"], np.uint32) for device in devices])
    draws = [Draws(device) for device in devices]
    while held.sum is None:
        expected = vector["derived"][held.exchange]
        replies = {}
        for number, request in held.requests.items():
            golden = expected.get("request", expected.get("requests", {}).get(str(number), ""))
            assert request.hex() == golden
            if number in silent[held.exchange]:
                continue
            held._randomness = draws[number].bytes
            monkeypatch.setattr(secrets, "randbelow", draws[number].below)
            replies[number] = held.answer(number)
        assert {str(number): reply.hex() for number, reply in replies.items()} == expected["replies"]
        held.gather(replies)
    assert held.sum.total.tolist() == vector["derived"]["total"]
    assert held.sum.people == vector["derived"]["people"]


@pytest.mark.parametrize("path", ROUNDS, ids=lambda path: path.stem)
def test_each_golden_message_is_read_and_written_the_same(path):
    for exchange, (request, reply) in FORMS.items():
        found = load(path)["derived"][exchange]
        asked = [found["request"]] if "request" in found else list(found.get("requests", {}).values())
        for form, items in ((request, asked), (reply, found["replies"].values())):
            for item in items:
                data = bytes.fromhex(item)
                assert form.from_bytes(data).to_bytes() == data


@pytest.mark.parametrize("row", GRAPH["numbers"], ids=lambda row: str(row["n"]))
def test_the_golden_numbers(row):
    found = topology(row["n"])
    assert (found.degree, found.threshold, found.quorum, found.present) == tuple(row[name] for name in "ktqw")


@pytest.mark.parametrize("graph", GRAPH["graphs"], ids=lambda graph: str(graph["n"]))
def test_the_golden_graphs(graph):
    names = sorted(sha256(number.to_bytes(2, "little")).digest() for number in range(graph["n"]))
    found = draw_graph(bytes.fromhex(graph["transcript"]), names)
    assert sha256(b"".join(at.to_bytes(2, "little") for at in found.circle)).hexdigest() == graph["circle_sha256"]
    for at, expected in graph["neighbours"].items():
        assert list(found.neighbours(int(at))) == expected


@pytest.mark.parametrize("path", BAD_MESSAGES, ids=lambda path: path.stem)
def test_a_bad_message_is_refused_for_its_reason(path):
    vector = load(path)
    with pytest.raises(ProtocolError, match=vector["refusal"]):
        getattr(messages, vector["message"]).from_bytes(bytes.fromhex(vector["bytes"]))


STEPS = {
    "shares": lambda state, request: client.share(state, request, os.urandom),
    "masked": lambda state, request: client.mask(state, request, np.zeros(4, np.uint32)),
    "confirm": client.confirm,
    "unmask": client.unmask,
}


@pytest.mark.parametrize("path", LIES, ids=lambda path: path.stem)
def test_a_lie_is_refused_for_its_reason_and_the_truth_is_not(path):
    vector = load(path)
    state, step = read_state(bytes.fromhex(vector["state"])), STEPS[vector["exchange"]]
    with pytest.raises(ProtocolError, match=vector["refusal"]):
        step(state, bytes.fromhex(vector["request"]))
    if vector["honest"]:
        step(state, bytes.fromhex(vector["honest"]))


def test_every_lie_is_a_message_in_form():
    """What refuses it is a check of what it says, not of how it is written."""
    for path in LIES:
        vector = load(path)
        data = bytes.fromhex(vector["request"])
        assert FORMS[vector["exchange"]][0].from_bytes(data).to_bytes() == data
