"""Charts as SVG: sound XML whatever is in them, heights that are to scale, and every number as text as well."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

import pytest

from server.web.charts import Series, _nice, bars, lines

HOSTILE = '"><script>alert(1)</script>&'


def parsed(chart):
    return ET.fromstring(re.sub(r"^<figure>", '<figure xmlns:x="x">', str(chart)))  # noqa: S314 - our own text


@pytest.mark.parametrize("draw", [bars, lines])
def test_what_stands_in_a_chart_is_text_and_nothing_else(draw):
    tree = parsed(draw(HOSTILE, [HOSTILE, "b"], [Series(HOSTILE, "c1", [1.0, 2.0])]))
    assert tree.find(".//script") is None
    assert HOSTILE in "".join(tree.itertext())


def test_bars_are_to_scale_and_stacked():
    tree = parsed(bars("t", ["a", "b"], [Series("one", "c1", [2, 4]), Series("two", "c3", [2, 0])]))
    shapes = [(float(one.get("y")), float(one.get("height"))) for one in tree.iter("rect")]
    assert len(shapes) == 3, "nothing is drawn of nothing"
    (y_low, low), (y_on_top, on_top), (_, high) = shapes
    assert high == pytest.approx(2 * low, abs=0.2)
    assert y_on_top + on_top == pytest.approx(y_low, abs=0.2)


def test_a_line_leaves_out_what_is_not_finite_and_says_it():
    tree = parsed(lines("t", ["a", "b", "c"], [Series("ε", "c1", [1.0, math.inf, 3.0])]))
    assert len(list(tree.iter("circle"))) == 2
    assert "ε: 1, no noise, 3" in tree.find("svg").get("aria-label")


@pytest.mark.parametrize("draw", [bars, lines])
def test_a_chart_of_nothing_says_so(draw):
    tree = parsed(draw("t", [], [Series("one", "c1", [])]))
    assert tree.find("svg") is None
    assert "Nothing to show yet" in "".join(tree.itertext())


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (0.3, 0.4), (1, 1), (1.01, 2), (3, 4), (4.5, 5), (7, 10), (19, 20), (128, 200)]
)
def test_the_axis_ends_at_a_round_number_that_is_not_below(value, top):
    assert _nice(value) == pytest.approx(top)
