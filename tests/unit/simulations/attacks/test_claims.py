"""Every claim of docs/privacy.md names tests, and each of those exists; its numbers come from a file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from common.errors import ConfigError
from simulations.attacks.table import DOCUMENT, measured
from simulations.benchmarks.tables import BEGIN, END, insert, read

ROOT = Path(__file__).parents[4]
NODE = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@pytest.fixture(scope="module")
def document():
    return (ROOT / DOCUMENT).read_text(encoding="utf-8")


def claims(document):
    section = document.split("## 7. Claims and tests")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    return [row.strip("| ").split(" | ") for row in rows[2:]]


def functions(path):
    if not (ROOT / path).is_file():
        return set()
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_claim_names_tests_that_exist(document):
    found = claims(document)
    assert len(found) > 30
    missing = [
        f"{path}::{name}" for _, tests in found for path, name in NODE.findall(tests) if name not in functions(path)
    ]
    assert missing == []


def test_each_claim_names_something_and_nothing_else(document):
    for claim, tests in claims(document):
        assert NODE.findall(tests), claim
        assert not NODE.sub("", tests).strip(), claim


def test_a_test_that_is_gone_would_be_missed(document):
    changed = document.replace("::test_too_few_survivors`", "::test_that_is_gone`")
    names = {name for _, tests in claims(changed) for _, name in NODE.findall(tests)}
    assert "test_that_is_gone" in names
    assert "test_that_is_gone" not in functions("tests/unit/common/secagg/test_lying_server.py")


def report(rows, *, holds=True):
    machine = {"processor": "Processor", "cores": 2, "memory_gb": 8.0}
    bars = [{"what": "something", "holds": holds}]
    return {"machine": machine, "full": True, "seed": 0, "notes": ["a note"], "rows": rows, "bars": bars}


def test_tables_are_written_between_the_marks(document):
    sides = ("device", "device, plain", "server", "server, plain")
    sums = [{"people": 16, "side": side, "ms": 1.5, "sent": 10, "received": 20} for side in sides]
    tables = measured(report([{"attack": "matching", "on": 0.01}], holds=False), report(sums))
    assert "| matching | 0.01 |" in tables
    assert "| 16 | 1.5 | 10 | 20 | 1.5 | 10 | 1.5 | 1.5 |" in tables
    assert "1 of 1 bars DO NOT HOLD: something" in tables
    once = insert(document, tables)
    assert insert(once, tables) == once
    assert once.split(BEGIN)[0] == document.split(BEGIN)[0]
    assert once.split(END)[1] == document.split(END)[1]


def test_a_document_without_marks_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(ConfigError, match="put them where"):
        insert("no marks", "tables")
    with pytest.raises(ConfigError, match="make bench NAME=audit"):
        read("audit", tmp_path)
