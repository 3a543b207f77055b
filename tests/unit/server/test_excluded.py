from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from typer.testing import CliRunner

from common.errors import ConfigError
from common.secagg.blame import Blame
from server.cli import app
from server.config import Federation, Inside
from server.desk import desk
from server.state import Beginning, prepare
from simulations.village import BACKBONE, public_basis

LIAR = b"\1" * 32


@pytest.fixture
def empty(tmp_path):
    np.save(tmp_path / "b.npy", public_basis().astype(np.float32))
    beginning = Beginning(
        federation=Federation(host="127.0.0.1"), inside=Inside(), backbone=BACKBONE, public_basis=tmp_path / "b.npy"
    )
    prepare(tmp_path / "state", beginning)
    return tmp_path / "state"


@pytest.fixture
def state(empty):
    with desk(empty) as open_desk:
        blame = Blame(proven={LIAR: "it lied"}, doubted={b"\2" * 32: "it or another"})
        open_desk.registry.exclude(blame, "r1", datetime.now(UTC))
        before = datetime.now(UTC) - timedelta(days=60)
        open_desk.registry.exclude(Blame(proven={b"\3" * 32: "long ago"}), "r0", before)
    return empty


def told(state, *options):
    found = CliRunner().invoke(app, ["excluded", str(state), *options], catch_exceptions=False)
    assert found.exit_code == 0
    return found.stdout


def test_the_operator_sees_who_is_left_out_why_and_until_when(state):
    [liar, doubtful] = json.loads(told(state, "--json"))
    assert (liar["identity"], liar["round"], liar["why"]) == (LIAR.hex(), "r1", "it lied")
    assert datetime.fromisoformat(liar["until"]) > datetime.fromisoformat(doubtful["until"]) > datetime.now(UTC)
    assert "it lied" in told(state)
    assert len(json.loads(told(state, "--all", "--json"))) == 3


def test_a_device_is_let_in_again(state):
    assert [one["why"] for one in json.loads(told(state, "--readmit", "0101", "--json"))] == ["it or another"]
    with pytest.raises(ConfigError, match="0 devices"):
        told(state, "--readmit", "0101")
    with pytest.raises(ConfigError, match="0 devices"):
        told(state, "--readmit", "03")


def test_nobody_is_left_out_at_first(empty):
    assert "nobody" in told(empty)
