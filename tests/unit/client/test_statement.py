from __future__ import annotations

import hashlib
import json
import math

import pytest

from client.cli import main
from client.database import Database
from client.ledger import Contribution, Limits, Opening, Simulation, Withdrawal, append, read, writing
from client.statement import as_json, statement
from common.errors import VaultError

GIVEN = Contribution(
    round_id="r1", context="00" * 32, operator="00" * 32, kind="style", backbone="ab" * 32, prior_version=0, concept=1,
    called=12, fewest=9, colluders=3, length=15, scale=64.0, share_variance=42_000, modulus_bits=24, clip=2.0,
)  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def write(folder, *events):
    for event in events:
        with writing(Database(folder)) as rows:
            append(rows, folder, event)


def events(folder):
    with Database(folder).transaction("DEFERRED") as rows:
        return [entry.event for entry in read(rows, folder)]


def shoal(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["privacy", *arguments])
    told = capsys.readouterr()
    return ended.value.code, told.out, told.err


def test_before_anything_the_defaults_are_shown_and_nothing_is_written(home, capsys):
    code, out, _ = shoal(capsys)
    assert code == 0
    assert "nothing was contributed so far" in out
    assert "24" in out
    assert events(home) == []


def test_every_contribution_is_shown_with_what_was_in_it_and_what_it_cost(home, capsys):
    lost = {name: getattr(GIVEN, name) for name in GIVEN.__slots__} | {"round_id": "r2", "kind": "object"}
    write(home, GIVEN, Opening(round_id="r1", people=11), Contribution(**lost))
    _, out, _ = shoal(capsys)
    found = statement(home)
    for told in ("style", "object", "r1", "r2", "12", "15", "±3.2", "of 11 people", "counts as spent"):
        assert told in out, told
    assert f"{found.spent.central:.3g}" in out
    assert f"{found.spent.local:.3g}" in out
    assert found.another.central > found.spent.central > found.given[0].cost.central


def test_budgets_are_set_one_by_one_or_together_and_withdrawn(home, capsys):
    shoal(capsys, "--budget", "1.5")
    shoal(capsys, "--local", "9")
    shoal(capsys, "--budget", "2", "--local", "8")
    _, out, _ = shoal(capsys, "--withdraw")
    assert "withdrawn" in out
    shoal(capsys, "--budget", "1")
    assert events(home) == [
        Limits(central=1.5, local=24.0),
        Limits(central=1.5, local=9.0),
        Limits(central=2.0, local=8.0),
        Withdrawal(),
        Limits(central=1.0, local=0.0),
    ]


@pytest.mark.parametrize("arguments", [["--budget", "-1"], ["--local", "inf"], ["--withdraw", "--budget", "1"]])
def test_what_makes_no_sense_ends_in_one_line_and_writes_nothing(home, capsys, arguments):
    code, _, err = shoal(capsys, *arguments)
    assert code == 1
    assert err.startswith("shoal: ")
    assert events(home) == []


def test_json_holds_the_account_and_a_chain_that_anyone_can_check(home, capsys):
    write(home, GIVEN, Opening(round_id="r1", people=11))
    _, out, _ = shoal(capsys, "--json")
    found = json.loads(out)
    assert found["budget"] == {"central": 3.0, "local": 24.0}
    assert found["spent"]["central"] == pytest.approx(statement(home).spent.central)
    assert found["contributions"][0]["people"] == 11
    previous = bytes(32)
    for line in found["ledger"]:
        event = json.dumps(line["event"], sort_keys=True, separators=(",", ":")).encode("ascii")
        previous = hashlib.sha256(b"shoal ledger 1\0" + previous + event).digest()
        assert line["digest"] == previous.hex()
    assert len(found["ledger"]) == 2


def test_a_simulated_person_is_shown_as_one_and_its_cost_as_unlimited(home, capsys):
    bare = Contribution(**{name: getattr(GIVEN, name) for name in GIVEN.__slots__} | {"share_variance": 0})
    write(home, Simulation(), bare)
    _, out, _ = shoal(capsys)
    assert "SIMULATED" in out
    assert "unlimited" in out
    assert as_json(statement(home))["spent"] == {"central": "infinite", "local": "infinite"}
    assert statement(home).spent.central == math.inf


def test_a_ledger_that_was_changed_is_not_shown_as_if_it_were_true(home, capsys):
    write(home, GIVEN)
    with Database(home).transaction() as rows:
        rows.execute("DROP TRIGGER ledger_is_not_changed")
        rows.execute("UPDATE ledger SET event = CAST(replace(CAST(event AS TEXT), '42000', '99000') AS BLOB)")
    with pytest.raises(VaultError, match="changed at line 1"):
        statement(home)
    code, _, err = shoal(capsys)
    assert code == 1
    assert "changed at line 1" in err
