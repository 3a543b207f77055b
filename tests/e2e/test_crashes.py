"""A device is killed at every named point of a round and starts again: what left was booked, once; life goes on."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from client.app import app
from client.budget import cost, spent
from client.database import Database
from client.ledger import Contribution, Opening, read
from client.vault import Vault
from common.messages import to_fields
from common.privacy import Mechanism
from simulations.company import Company, announce
from simulations.faults import EXCHANGES, POINTS, mortal
from simulations.village import BACKBONE, public_basis, settle, teach

OPERATOR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MECHANISM = Mechanism(length=15, scale=64.0, share_variance=42_000, modulus_bits=24)
BOOKED = {
    *(f"masked:{when}" for when in ("saved", "replied", "unsealed")),
    *(f"{exchange}:{when}" for exchange in ("confirm", "unmask") for when in ("begun", "written", "saved", "replied")),
    "unmask:unsealed",
}
"""Points at which the vector's cost is in the ledger for good."""
QUICK = {point for point in POINTS if point.startswith("masked:")}
CASES = [pytest.param(point, marks=() if point in QUICK else pytest.mark.slow) for point in POINTS]


@pytest.fixture(scope="session")
def settled(tmp_path_factory):
    folder = settle(tmp_path_factory.mktemp("settled"), OPERATOR)
    teach(folder, np.random.default_rng(7), name="first")
    teach(folder, np.random.default_rng(8), name="second")
    spent([])  # whatever is slow to import, before any process is made
    cost([Contribution(round_id="r", context="", operator="", kind="object", backbone="", prior_version=0, concept=1,
                       called=9, fewest=8, colluders=2, length=15, scale=64.0, share_variance=42_000, modulus_bits=24,
                       clip=1.0)])  # fmt: skip
    return folder


@pytest.fixture
def folder(settled, tmp_path):
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    shutil.copytree(settled, tmp_path / "home")
    return tmp_path / "home"


class Life:
    """A device over several processes; remembers every answer that ever left."""

    def __init__(self, folder):
        self.context = Context(1, 1, {"state-folder": str(folder)}, RecordDict(), {})
        self.left, self.deaths = [], 0

    def hold(self, others, point=""):
        """Take part in a round, dying on the way; ask again where no answer came, as if the message came twice."""
        node, step = mortal(app, self.context, point), others.call
        for exchange in EXCHANGES:
            mine = self.ask(node, others, exchange, step)
            again = self.ask(mortal(app, self.context), others, exchange, step)
            assert mine is None or again is None, "answered twice"
            if exchange == "unmask":
                return others.total(mine or again)
            step = others.next(mine or again)
            if (mine or again) is None:
                return None
        raise AssertionError

    def ask(self, node, others, exchange, step):
        reply = node(Message(RecordDict({"fields": ConfigRecord(to_fields(step))}), 1, f"train.{exchange}", ttl=600.0))
        self.deaths += reply is None
        if reply is None or reply.has_error():
            return None
        self.left.append((others.call.round_id, exchange))
        return reply.content["fields"]["reply"]


def company(round_id):
    call = announce(public_basis(), MECHANISM, round_id=round_id, backbone=BACKBONE)
    return Company(OPERATOR, call, others=9)


def ledger(folder):
    with Database(folder).transaction("DEFERRED") as rows:
        return read(rows, folder)


def contributions(folder):
    return [entry.event for entry in ledger(folder) if isinstance(entry.event, Contribution)]


@pytest.mark.parametrize("point", CASES)
def test_killed_at_any_point_what_left_is_booked_and_the_next_round_is_held(folder, point):
    life, first = Life(folder), Vault(folder).pending("object", BACKBONE).name
    life.hold(company("r1"), point)
    assert life.deaths == (0 if point.endswith(":replied") else 1)  # a point that is never reached proves nothing
    booked = contributions(folder)
    left = [exchange for _, exchange in life.left].count("masked")
    assert len(booked) <= 1
    # Nothing left unbooked; and where the answer got lost, what was booked stays spent.
    assert left <= len(booked)
    if point in BOOKED:
        assert len(booked) == 1
    assert spent(ledger(folder)) == cost(booked)
    pending = Vault(folder).pending("object", BACKBONE).name
    assert pending == ("second" if booked else first)
    # A later round takes what is still pending, and only that.
    total = life.hold(company("r2"))
    assert total.any()
    after = contributions(folder)
    assert len(after) == len(booked) + 1
    assert len({one.concept for one in after}) == len(after)
    assert len(set(life.left)) == len(life.left), "an exchange was answered twice"
    assert isinstance(ledger(folder)[-1].event, Opening)
