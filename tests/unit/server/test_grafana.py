"""The ready dashboard asks for figures that there are, each panel for some, and labels that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.config import FILE
from server.metrics import exposition
from server.rounds import Rounds
from simulations.bare import BACKBONE, KEY, Device, FakeTime, crowd
from simulations.memory import MemoryGrid

DASHBOARD = json.loads((Path(__file__).parents[3] / "docs" / "grafana.json").read_text(encoding="utf-8"))
QUERIES = {
    f"{panel['title']}: {target['expr']}": target for panel in DASHBOARD["panels"] for target in panel["targets"]
}


class Mute(Device):
    def masked(self, _):
        return None


@pytest.fixture
def samples(settings, registry, tmp_path, sign_key):
    (tmp_path / FILE).write_text(f'[rounds]\nbackbone = "{BACKBONE}"\nkinds = "object"\nminimum-people = 3\n')
    time, people = FakeTime(), [*crowd(8), Mute([0, 0, 0])]
    grid = MemoryGrid(dict(enumerate(people, start=1)))
    Rounds(grid, settings, registry=registry, key=KEY, clock=time.clock, wall=time.wall).run()
    families = text_string_to_metric_families(exposition(tmp_path).decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


@pytest.mark.parametrize("target", QUERIES.values(), ids=QUERIES)
def test_every_query_is_of_figures_and_labels_that_there_are(samples, target):
    names = set(re.findall(r"shoal_\w+", target["expr"]))
    assert names
    assert names <= samples.keys(), names - samples.keys()
    labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    labels |= {label for part in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in part.split(", ")}
    assert labels <= set().union(*(samples[name] for name in names))


def test_every_figure_is_on_the_dashboard(samples):
    asked = " ".join(target["expr"] for target in QUERIES.values())
    assert {name for name in samples if name not in asked} == set()


def test_panels_do_not_overlap():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
