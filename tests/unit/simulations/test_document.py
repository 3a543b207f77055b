"""docs/learning.md and docs/taste.md say what the benchmarks' files say, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulations.benchmarks.document import DOCUMENTS, KEPT, MACHINED, SEEDED, _together, keep, measured, others
from simulations.benchmarks.tables import BEGIN, END, insert, read

ROOT = Path(__file__).parents[3]
PARTS = ("rows", "bars")
"""Of a report, what is of one kind or the other."""


def reports_of(document):
    return {name: read(name, ROOT / KEPT) for name in DOCUMENTS[document]}


def tables_of(reports):
    return measured(reports, {name: others(ROOT / KEPT, name) for name in (*SEEDED, *MACHINED)})


def text_of(document):
    return (ROOT / document).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_the_document_has_the_tables_of_the_files_beside_it(document):
    text = text_of(document)
    assert insert(text, tables_of(reports_of(document))) == text, "python -m simulations.benchmarks.document"
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
    assert insert(text_of(document), tables_of(reports | {name: reports[name] | {"rows": rows}})) != text_of(document)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_the_files_are_of_the_long_form(document):
    assert all(report["full"] for report in reports_of(document).values())


def of_kinds(seed, value, *kinds, notes=()):
    rows = [{"kind": kind, "value": value} for kind in kinds]
    bars = [{"what": f"{kind}: more", "value": value} for kind in kinds]
    ratios = {f"{kind}: ours / published": value for kind in kinds}
    return {"seed": seed, "rows": rows, "bars": bars, "ratios": ratios, "notes": ["of 30", *notes]}


def test_another_seed_stands_beside_the_last(tmp_path):
    for seed, value in ((0, 1), (1, 2), (1, 3), (0, 4)):
        keep(of_kinds(seed, value, "object", "style"), tmp_path, "forwards")
    assert read("forwards", tmp_path) == of_kinds(0, 4, "object", "style")
    assert others(tmp_path, "forwards") == [of_kinds(1, 3, "object", "style")]


def test_one_kind_alone_of_another_seed_goes_beside_what_has_both(tmp_path):
    keep(of_kinds(1, 2, "object", "style"), tmp_path, "quality")
    for value in (5, 6):
        keep(of_kinds(2, value, "object"), tmp_path, "quality")
    assert read("quality", tmp_path) == of_kinds(1, 2, "object", "style")
    assert others(tmp_path, "quality") == [of_kinds(2, 6, "object")]
    keep(of_kinds(2, 7, "object", "style"), tmp_path, "quality")
    assert read("quality", tmp_path) == of_kinds(2, 7, "object", "style")
    assert others(tmp_path, "quality") == [of_kinds(1, 2, "object", "style")]


@pytest.mark.parametrize("kind", ["object", "style"])
@pytest.mark.parametrize("later", [[], [of_kinds(1, 9, "object", "style")]], ids=["the last", "beside it"])
def test_one_kind_measured_anew_takes_that_kinds_place_in_its_seed(kind, later, tmp_path):
    for report in (of_kinds(3, 1, "object", "style", notes=["old"]), *later):
        keep(report, tmp_path, "quality")
    keep(of_kinds(3, 2, kind, notes=["new"]), tmp_path, "quality")
    [found] = others(tmp_path, "quality") if later else [read("quality", tmp_path)]
    values = {"object": 1, "style": 1} | {kind: 2}
    assert {row["kind"]: row["value"] for row in found["rows"]} == values
    assert [bar["value"] for bar in found["bars"]] == list(values.values())
    assert found["ratios"] == {f"{one}: ours / published": value for one, value in values.items()}
    assert found["notes"] == ["of 30", "old", "new"]
    assert read("quality", tmp_path)["seed"] == (1 if later else 3)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 2, 1)])
def test_the_two_kinds_of_a_seed_are_joined_whichever_came_first(order, tmp_path):
    keep(of_kinds(1, 1, "object", "style"), tmp_path, "quality")
    parts = of_kinds(3, 1, "object"), of_kinds(3, 5, "object"), of_kinds(3, 2, "style", notes=["styles"])
    for one in order:
        keep(parts[one], tmp_path, "quality")
    [joined] = others(tmp_path, "quality")
    assert [row["value"] for row in joined["rows"]] == [bar["value"] for bar in joined["bars"]] == [5, 2]
    assert (list(joined["ratios"].values()), joined["notes"]) == ([5, 2], ["of 30", "styles"])


def test_another_processor_stands_beside_the_last(tmp_path):
    for seed, processor in ((0, "AMD EPYC"), (1, "Xeon(R)"), (2, "Xeon(R)"), (3, "AMD EPYC")):
        keep({"seed": seed, "machine": {"processor": processor}}, tmp_path, "step")
    assert read("step", tmp_path)["seed"] == 3
    assert read("step", tmp_path / "xeon-r")["seed"] == 2
    assert [report["seed"] for report in others(tmp_path, "step")] == [2]


@pytest.mark.parametrize("name", MACHINED)
def test_every_processor_has_its_table(name):
    report = read(name, ROOT / KEPT)
    other = report | {"machine": report["machine"] | {"processor": "Abacus", "matrix_units": True}}
    told = measured({name: report}, {name: [other]})
    assert told.count("| promise |") == 2
    assert told.count("core(s) of an Abacus with matrix units and ") == 1


def test_what_neither_seed_nor_processor_changes_is_replaced(tmp_path):
    for seed in (0, 1):
        keep({"seed": seed}, tmp_path, "bending")
    assert read("bending", tmp_path) == {"seed": 1}
    assert others(tmp_path, "bending") == []


@pytest.mark.parametrize("name", SEEDED)
def test_what_one_seed_did_not_keep_is_said_with_all_seeds(name):
    report = read(name, ROOT / KEPT)
    worse = [bar | {"value": 0.75, "holds": False} for bar in report["bars"]]
    told = measured({name: report}, {name: [report | {"seed": 77, "bars": worse}]})
    assert "| seed 77 |" in told
    assert told.count("0.75, NO") == len(worse)
    assert told.count("**All seeds**") == 1
    assert ("30 newcomers of each kind with each" in told) == (name == "forwards")


@pytest.mark.parametrize("name", SEEDED)
def test_a_seed_of_one_kind_alone_hides_nothing_of_the_other(name):
    report = read(name, ROOT / KEPT)
    alone = report | {"seed": 77}
    alone |= {part: [one for one in report[part] if "object" in one.get("what", one.get("kind"))] for part in PARTS}
    both = measured({name: report}, {name: [report | {"seed": 77}]})
    told = measured({name: report}, {name: [alone]})
    told, both = told.split(", together:")[0], both.split(", together:")[0]
    assert told.count("\n| style |") == both.count("\n| style |")
    assert told.count("\n| style: ") == both.count("\n| style: ")


def seen(seed, ours, gradient, half, of=30):
    what = "object: agreement, ours, over the gradient's (at least)"
    row = {"kind": "object", "pictures": "gradient", "agreement": gradient, "of": of}
    bar = {"what": what, "value": ours / gradient, "bound": 0.97, "holds": True}
    return {"seed": seed, "rows": [row], "bars": [bar if half is None else bar | around(ours / gradient, half)]}


def around(value, half):
    return {"low": value - half, "high": value + half}


def test_seeds_together_are_the_ratio_over_everybody():
    told = _together([seen(0, 0.1, 0.5, None), seen(1, 0.2, 0.2, 0.3), seen(2, 0.27, 0.3, 0.4, of=60)])
    weight = 0.2 * 30 / (0.2 * 30 + 0.3 * 60)
    ratio = (0.2 * 30 + 0.27 * 60) / (0.2 * 30 + 0.3 * 60)
    half = ((weight * 0.3) ** 2 + ((1 - weight) * 0.4) ** 2) ** 0.5
    assert f"| 2 | 90 | {ratio:.3g} ({ratio - half:.3g} to {ratio + half:.3g}) | 0.97 | NO |" in told


def test_what_is_more_than_the_published_algorithms_is_weighed_by_who_ran_it():
    what, rival = "object: agreement, ours, less published (ZOODiP), 20,000 forwards (at least)", "published (ZOODiP)"
    seeds = [
        {
            "rows": [{"kind": "object", "pictures": f"{rival}, 20,000 forwards", "agreement": 9.0, "of": of}],
            "bars": [{"what": what, "value": value, "bound": 0.0, "holds": True} | around(value, 0.1)],
        }
        for of, value in ((30, 0.1), (10, -0.1))
    ]
    half = 0.1 * (0.75**2 + 0.25**2) ** 0.5
    assert f"| 2 | 40 | 0.05 ({0.05 - half:.3g} to {0.05 + half:.3g}) | 0 | yes |" in _together(seeds)
    assert _together(seeds[:1]) == ""
