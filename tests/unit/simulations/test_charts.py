import math
import re
from xml.etree import ElementTree as ET

import pytest

from simulations.charts import Series, Spread, axis, bar_chart, line_chart, number, spread_chart


def parsed(svg):
    return ET.fromstring(svg)  # noqa: S314 - our own text


def coordinates(svg, key):
    points = next(e.get("points") for e in parsed(svg).iter("polyline") if key in e.get("class").split())
    return [tuple(map(float, p.split(","))) for p in points.split()]


def test_a_line_falls_where_the_loss_falls():
    svg = line_chart([Series("a", "ours", [(0, 2.0), (10, 1.0), (15, 0.5)])], x_label="x", y_label="y")
    (x0, y0), (x1, y1), (x2, y2) = coordinates(svg, "a")
    assert x0 < x1 < x2
    assert y0 < y1 < y2  # downwards on the page
    assert x1 - x0 == pytest.approx(2 * (x2 - x1), rel=0.01)


def test_a_wide_range_is_logarithmic():
    svg = line_chart([Series("a", "ours", [(0, 3.0), (10, 2.0), (100, 1.5), (1000, 1.0)])], x_label="x", y_label="y")
    xs = [x for x, _ in coordinates(svg, "a")]
    assert xs[0] == xs[1]  # nought stands at the left end
    assert xs[2] - xs[1] == pytest.approx(xs[3] - xs[2], abs=0.2)


@pytest.mark.parametrize("points", [[], [(1.0, math.nan)]])
def test_nothing_measured_is_said(points):
    assert "nothing was measured" in line_chart([Series("a", "b", points)], x_label="x", y_label="y")
    assert "nothing was measured" in bar_chart([], x_label="x", y_label="y")
    assert "nobody" in spread_chart([Spread("a", "b", None, None, None)], x_label="x")


@pytest.mark.parametrize("points", [[(5.0, 1.0)], [(5.0, 0.0), (6.0, 0.0)]])
def test_a_single_level_still_has_an_axis(points):
    assert coordinates(line_chart([Series("a", "b", points)], x_label="x", y_label="y", target=1.0), "a")


def test_bars_are_as_high_as_their_values():
    heights = [float(e.get("height")) for e in parsed(bar_chart([4, 2, 0], x_label="x", y_label="y")).iter("rect")]
    assert heights[0] == pytest.approx(2 * heights[1], rel=0.01)
    assert heights[2] == 0


def test_a_median_that_was_not_reached_has_no_dot():
    spreads = [Spread("a", "ours", 10, 20, None), Spread("b", "theirs", 50, None, None)]
    svg = spread_chart(spreads, x_label="x")
    assert "median not reached" in svg
    assert [e.get("class") for e in parsed(svg).iter("circle")] == ["dot a"]


def test_text_is_escaped():
    svg = line_chart([Series("a", "<script>", [(0, 1), (1, 2)])], x_label="<b>", y_label="&")
    assert "<script>" not in svg
    assert parsed(svg) is not None


def test_ticks_are_round_and_inside():
    _, ticks = axis([0.1, 0.93], 0, 100, logarithmic=False)
    assert ticks == pytest.approx([0.4, 0.8]) or all(re.fullmatch(r"\d\.\d+", number(t)) for t in ticks)
    assert all(0.1 <= tick <= 0.93 for tick in ticks)
    _, ticks = axis([8, 6000], 0, 100, logarithmic=True)
    assert ticks == pytest.approx([10, 20, 50, 100, 200, 500, 1000, 2000, 5000])


def test_numbers_are_short():
    assert [number(v) for v in (0, 0.1234, 61, 1500, 12_500)] == ["0", "0.123", "61", "1,500", "12.5k"]
