"""docs/learning.md says what the benchmarks' files say, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulations.benchmarks.document import DOCUMENT, KEPT, NAMES, measured
from simulations.benchmarks.tables import BEGIN, END, insert, read

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def reports():
    return {name: read(name, ROOT / KEPT) for name in NAMES if (ROOT / KEPT / f"{name}.json").exists()}


def test_the_document_has_the_tables_of_the_files_beside_it(reports):
    document = (ROOT / DOCUMENT).read_text(encoding="utf-8")
    assert insert(document, measured(reports)) == document, "python -m simulations.benchmarks.document"
    assert document.count(BEGIN) == document.count(END) == 1


def test_another_number_would_be_another_document(reports):
    document = (ROOT / DOCUMENT).read_text(encoding="utf-8")
    row = reports["forwards"]["rows"][0]
    changed = [row | {"end share": 0.123}, *reports["forwards"]["rows"][1:]]
    tables = measured(reports | {"forwards": reports["forwards"] | {"rows": changed}})
    assert insert(document, tables) != document


def test_the_files_are_of_the_long_form(reports):
    assert all(report["full"] for report in reports.values())
    assert {row["kind"] for report in reports.values() for row in report["rows"]} == {"object", "style"}
