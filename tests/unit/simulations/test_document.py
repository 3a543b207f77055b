"""docs/learning.md and docs/taste.md say what the benchmarks' files say, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulations.benchmarks.document import DOCUMENTS, KEPT, measured
from simulations.benchmarks.tables import BEGIN, END, insert, read

ROOT = Path(__file__).parents[3]


def reports_of(document):
    return {name: read(name, ROOT / KEPT) for name in DOCUMENTS[document]}


def text_of(document):
    return (ROOT / document).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_the_document_has_the_tables_of_the_files_beside_it(document):
    text = text_of(document)
    assert insert(text, measured(reports_of(document))) == text, "python -m simulations.benchmarks.document"
    assert text.count(BEGIN) == text.count(END) == 1


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("forwards", "end share"),
        ("quality", "likeness"),
        ("quality", "colours"),
        ("timesteps", "ratio, plain"),
        ("step", "seconds"),
        ("memory", "running MB"),
        ("large", "seconds"),
        ("taste", "won"),
    ],
)
def test_another_number_would_be_another_document(name, column):
    [document] = [document for document, names in DOCUMENTS.items() if name in names]
    reports = reports_of(document)
    rows = [reports[name]["rows"][0] | {column: 0.123}, *reports[name]["rows"][1:]]
    assert insert(text_of(document), measured(reports | {name: reports[name] | {"rows": rows}})) != text_of(document)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_the_files_are_of_the_long_form(document):
    assert all(report["full"] for report in reports_of(document).values())
