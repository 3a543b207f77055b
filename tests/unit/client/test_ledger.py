from __future__ import annotations

import hashlib
import json
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from client.database import FILE, Database
from client.ledger import RECEIPT, Limits, Opening, Withdrawal, append, export, read, writing
from common.errors import VaultError


def write(folder, *events):
    for event in events:
        with writing(Database(folder)) as rows:
            append(rows, folder, event)


def entries(folder):
    with Database(folder).transaction("DEFERRED") as rows:
        return read(rows, folder)


def tamper(folder, statement, *values):
    """Change the ledger as somebody with the file and without the triggers would."""
    with sqlite3.connect(folder / FILE) as rows:
        for name in ("changed", "deleted"):
            rows.execute(f"DROP TRIGGER ledger_is_not_{name}")
        rows.execute("DROP TRIGGER ledger_only_grows")
        rows.execute(statement, values)


def openings(count):
    return [Opening(round_id=f"r{number}", people=9) for number in range(count)]


def test_what_was_written_comes_back_in_order(tmp_path):
    events = [*openings(3), Limits(central=1.5, local=20.0), Withdrawal()]
    write(tmp_path, *events)
    found = entries(tmp_path)
    assert [entry.event for entry in found] == events
    assert [entry.sequence for entry in found] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET event = X'7B7D' WHERE sequence = 1",
        "DELETE FROM ledger",
        "DELETE FROM ledger WHERE sequence = 2",
        "INSERT OR REPLACE INTO ledger SELECT 1, event, digest FROM ledger WHERE sequence = 2",
        "REPLACE INTO ledger SELECT 2, event, digest FROM ledger WHERE sequence = 1",
        "INSERT INTO ledger SELECT 7, event, digest FROM ledger WHERE sequence = 1",
        "INSERT INTO ledger SELECT -1, event, digest FROM ledger WHERE sequence = 1",
    ],
)
def test_the_database_itself_refuses_to_change_or_delete_a_line(tmp_path, statement):
    write(tmp_path, *openings(2))
    before = entries(tmp_path)
    with sqlite3.connect(tmp_path / FILE) as rows, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        rows.execute(statement)
    rows.close()
    assert entries(tmp_path) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET event = replace(event, '9', '8') WHERE sequence = 2",
        "UPDATE ledger SET digest = zeroblob(32) WHERE sequence = 2",
        "DELETE FROM ledger WHERE sequence = 2",
        "DELETE FROM ledger WHERE sequence = 1",
        "UPDATE ledger SET sequence = sequence + 10",
        "UPDATE ledger SET event = (SELECT event FROM ledger WHERE sequence = 3) WHERE sequence = 2",
    ],
)
def test_a_changed_ledger_is_noticed_and_blocks_every_further_line(tmp_path, statement):
    write(tmp_path, *openings(3))
    tamper(tmp_path, statement)
    with pytest.raises(VaultError, match="ledger was changed at line"):
        entries(tmp_path)
    with pytest.raises(VaultError, match="nothing more is contributed"):
        write(tmp_path, Withdrawal())


@pytest.mark.parametrize("lines", [1, 3])
def test_lines_cut_off_at_the_end_are_noticed_by_the_receipt(tmp_path, lines):
    write(tmp_path, *openings(3))
    tamper(tmp_path, "DELETE FROM ledger WHERE sequence > ?", 3 - lines)
    with pytest.raises(VaultError, match="older than its receipt"):
        entries(tmp_path)


def test_an_old_copy_of_the_vault_put_back_is_noticed(tmp_path):
    write(tmp_path, *openings(1))
    old = (tmp_path / FILE).read_bytes()
    write(tmp_path, Opening(round_id="r9", people=9))
    (tmp_path / FILE).write_bytes(old)
    with pytest.raises(VaultError, match="older than its receipt"):
        write(tmp_path, Withdrawal())


def test_a_receipt_that_a_crash_left_behind_the_ledger_is_good_and_catches_up(tmp_path):
    write(tmp_path, *openings(1))
    behind = (tmp_path / RECEIPT).read_bytes()
    write(tmp_path, Opening(round_id="r9", people=9))
    (tmp_path / RECEIPT).write_bytes(behind)
    assert len(entries(tmp_path)) == 2
    write(tmp_path, Withdrawal())
    assert (tmp_path / RECEIPT).read_text().strip() == entries(tmp_path)[-1].digest
    assert stat.S_IMODE((tmp_path / RECEIPT).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(RECEIPT)] == [RECEIPT]


def test_a_transaction_that_fails_adds_no_line(tmp_path):
    write(tmp_path, *openings(1))

    def fail():
        with writing(Database(tmp_path)) as rows:
            append(rows, tmp_path, Withdrawal())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert len(entries(tmp_path)) == 1


def test_what_was_written_survives_a_kill(tmp_path):
    write(tmp_path, *openings(1))
    script = (
        "import os, pathlib, signal, sys; from client.database import Database;"
        "from client.ledger import Withdrawal, append, writing; folder = pathlib.Path(sys.argv[1]);\n"
        "with writing(Database(folder)) as rows: append(rows, folder, Withdrawal())\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert [type(entry.event) for entry in entries(tmp_path)] == [Opening, Withdrawal]


def test_many_at_once_write_one_chain(tmp_path):
    Database(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda event: write(tmp_path, event), openings(12)))
    assert len(entries(tmp_path)) == 12


def test_anyone_can_check_the_chain_of_an_export(tmp_path):
    write(tmp_path, *openings(2), Limits(central=1.0, local=10.0))
    previous = bytes(32)
    for line in json.loads(json.dumps(export(entries(tmp_path)))):
        event = json.dumps(line["event"], sort_keys=True, separators=(",", ":")).encode("ascii")
        previous = hashlib.sha256(b"shoal ledger 1\0" + previous + event).digest()
        assert line["digest"] == previous.hex()


def test_numbers_that_json_has_not_are_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path, Limits(central=float("inf"), local=1.0))
    assert entries(tmp_path) == ()


def test_a_ledger_without_its_receipt_is_taken_for_one_that_was_put_back(tmp_path):
    """Whoever restores `vault.sqlite` alone, on another disk, has no receipt there."""
    write(tmp_path, *openings(2))
    (tmp_path / RECEIPT).unlink()
    with pytest.raises(VaultError, match="receipt is missing"):
        entries(tmp_path)
    with pytest.raises(VaultError, match="nothing more is contributed"):
        write(tmp_path, Withdrawal())


def test_a_crash_before_the_first_receipt_leaves_a_good_ledger(tmp_path, monkeypatch):
    def die(*_):
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr("client.ledger._renew", die)
        with pytest.raises(RuntimeError):
            write(tmp_path, *openings(1))
    assert len(entries(tmp_path)) == 1
    write(tmp_path, Withdrawal())
    assert len(entries(tmp_path)) == 2


def test_every_line_is_on_the_disk_before_it_counts(tmp_path):
    """No test can cut the power; SQLite promises it for FULL (2) and, the folder's entry included, EXTRA (3)."""
    with writing(Database(tmp_path)) as rows:
        assert rows.execute("PRAGMA synchronous").fetchone() == (3,)
        assert rows.execute("PRAGMA journal_mode").fetchone() == ("delete",)
