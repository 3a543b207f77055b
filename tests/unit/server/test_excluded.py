from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from common.errors import ConfigError
from common.secagg.blame import Blame
from server.cli import app
from server.registry import Registry

LIAR = b"\1" * 32


@pytest.fixture
def state(tmp_path):
    with Registry(f"sqlite:///{tmp_path / 'registry.sqlite'}") as registry:
        registry.exclude(
            Blame(proven={LIAR: "it lied"}, doubted={b"\2" * 32: "it or another"}), "r1", datetime.now(UTC)
        )
        registry.exclude(Blame(proven={b"\3" * 32: "long ago"}), "r0", datetime.now(UTC) - timedelta(days=60))
    return tmp_path


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


def test_nobody_is_left_out_at_first(tmp_path):
    assert "nobody" in told(tmp_path)
