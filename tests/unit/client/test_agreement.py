"""The terms that a person agreed to bind the operator: what goes beyond them gets no answer, and no sign."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.agreement import MONTH, agreed_terms, keep_to_terms
from client.budget import cost
from client.database import Database
from client.federation import answer_keys, answer_shares, is_ready
from client.ledger import Entry, Limits, append, read, writing
from client.membership import keep_membership
from client.priors import admit_backbone, receive_prior
from client.rules import Device, booking
from common.errors import PriorError, ProtocolError
from common.messages import PriorNotice, ReadyQuery
from common.prior import Cohort, Prior, sign_prior
from common.privacy import Mechanism
from common.terms import Terms, sign_terms
from simulations.company import Company, announce
from simulations.village import BACKBONE, DIMENSIONS, WIDTH, public_basis, settle, teach

OPERATOR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MECHANISM = Mechanism(length=15, scale=64.0, share_variance=42_000, modulus_bits=24)
OTHER = "cd" * 32
TERMS = Terms(
    name="Reef", address="reef.example:8443", authority="", backbone=BACKBONE, width=WIDTH, bundles=("ef" * 32,),
    kinds=("object",), minimum_people=8, epsilon=1.5, delta=1e-6, rounds_a_month=2, hours=(2,), poll_seconds=5.0,
    jitter_seconds=30.0, issued=1_800_000_000,
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    settle(tmp_path, OPERATOR)
    for kind in ("object", "style"):
        teach(tmp_path, np.random.default_rng(7), name=f"my-{kind}", kind=kind)
    agree(tmp_path)
    with writing(Database(tmp_path)) as rows:
        append(rows, tmp_path, Limits(central=1e6, local=1e6))  # whatever is refused here, the budget allows
    return tmp_path


def agree(folder, **changes):
    keep_membership(folder, sign_terms(replace(TERMS, **changes), OPERATOR), node=1)


def call(**changes):
    return replace(announce(public_basis(), MECHANISM, round_id="r1", backbone=BACKBONE), **changes)


def ready(folder, kind="object", backbone=BACKBONE):
    return is_ready(Device(folder=folder), ReadyQuery(kind=kind, backbone=backbone, prior_version=0))


def test_what_was_agreed_to_is_answered(folder):
    assert agreed_terms(folder) == TERMS
    assert ready(folder)
    answer_keys(Device(folder=folder), call())


@pytest.mark.parametrize(
    ("why", "agreed", "announced"),
    [
        ("neither this kind nor this model", {"kinds": ("style",)}, {}),
        ("neither this kind nor this model", {"backbone": OTHER}, {}),
        ("number of people", {"minimum_people": 9}, {}),
        ("cost", {"epsilon": 1.0}, {}),
        ("cost", {"delta": 1e-12}, {}),
        ("neither this kind nor this model", {}, {"kind": "style"}),
        ("cost", {}, {"share_variance": 4_200}),
    ],
)
def test_a_round_beyond_what_was_agreed_to_gets_no_keys(folder, why, agreed, announced):
    agree(folder, **agreed)
    with pytest.raises(ProtocolError, match=f"{why} is (not )?what was agreed to when joining"):
        answer_keys(Device(folder=folder), call(**announced))


@pytest.mark.parametrize(("why", "changes"), [("model", {"backbone": OTHER}), ("kind", {"kinds": ("style",)})])
def test_terms_that_change_while_a_round_runs_are_held_against_it_too(why, changes):
    event = booking(Company(OPERATOR, call(), others=9).rules, call(), people=8, concept=1)
    keep_to_terms(TERMS, (), event)
    with pytest.raises(ProtocolError, match=f"the round's {why}"):
        keep_to_terms(replace(TERMS, **changes), (), event)


def test_the_people_on_the_list_are_held_to_it_too(folder):
    """Of eight people eight must stay and two may collude; of eleven the same eight and three."""
    others = Company(OPERATOR, call(), others=10)
    costs = [cost([booking(others.rules, others.call, people=n, concept=0)]).central for n in (8, 11)]
    agree(folder, epsilon=sum(costs) / 2)
    step = others.next(answer_keys(Device(folder=folder), others.call))
    with pytest.raises(ProtocolError, match="cost"):
        answer_shares(Device(folder=folder), step)


def test_of_what_was_not_agreed_to_there_is_no_sign(folder):
    """Neither whether something of it waits, nor whether the person uses such a model at all."""
    beyond = call(backbone=OTHER)
    with pytest.raises(ProtocolError) as unused:
        answer_keys(Device(folder=folder), beyond)
    admit_backbone(folder, OTHER, WIDTH)
    with pytest.raises(ProtocolError) as used:
        answer_keys(Device(folder=folder), beyond)
    assert used.type is unused.type
    assert not ready(folder, kind="style")
    assert not ready(folder, backbone=OTHER)
    cohort = Cohort(
        weight=1.0,
        mean=np.zeros(DIMENSIONS),
        basis=np.eye(DIMENSIONS)[:, :1],
        spectrum=np.ones(1),
        residual=0.5,
    )
    good = Prior(
        backbone=BACKBONE, kind="object", version=1, people=9, rounds=("r0",), public_basis=public_basis(),
        cohorts=(cohort,), created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    receive_prior(folder, notice(good))
    for beyond in (replace(good, kind="style"), replace(good, backbone=OTHER)):
        with pytest.raises(PriorError, match="agreed to when joining"):
            receive_prior(folder, notice(beyond))


def notice(prior):
    signed = sign_prior(prior, OPERATOR)
    return PriorNotice(backbone=prior.backbone, payload=signed.payload, signature=signed.signature)


@pytest.mark.parametrize(("ages", "kind", "admitted"), [
    ((1, 2), "object", False),
    ((1,), "object", True),
    ((1, 32), "object", True),
    ((1, 2), "style", True),
])  # fmt: skip
def test_no_more_rounds_in_a_month_than_were_agreed_to(folder, ages, kind, admitted):
    rules = Company(OPERATOR, call(), others=9).rules
    event = booking(rules, call(), people=8, concept=1)
    past = [
        Entry(sequence=1, at=(datetime.now(UTC) - timedelta(days=age)).isoformat(), event=replace(event, kind=kind),
              digest="")
        for age in ages
    ]  # fmt: skip
    assert timedelta(days=31) == MONTH
    if admitted:
        keep_to_terms(TERMS, past, event)
    else:
        with pytest.raises(ProtocolError, match="in a month"):
            keep_to_terms(TERMS, past, event)
    keep_to_terms(replace(TERMS, rounds_a_month=0), past, event)  # no schedule was announced


def test_terms_that_were_tampered_with_admit_nothing(folder):
    path = folder / "membership.json"
    path.write_text(path.read_text().replace("1.5", "9.5"))
    with pytest.raises(ProtocolError, match="not as the operator signed"):
        answer_keys(Device(folder=folder), call())
    with Database(folder).transaction("DEFERRED") as rows:
        assert len(read(rows, folder)) == 1
