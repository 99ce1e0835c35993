"""The plots: their shapes and positions."""

from base64 import b64decode
from dataclasses import replace
from datetime import date, timedelta
from xml.etree import ElementTree as ET

import pytest

from ml.catalog.images.daily_arrivals import DayOfArrivals
from ml.reporting.report.colours import GREEN, VERMILLION
from ml.reporting.report.facts import Facts
from ml.reporting.report.plots import NARROW, WIDE, draw_arrivals, draw_trend


def read(uri: str) -> list[ET.Element]:
    """The shapes of a drawing, without their namespace."""
    shapes = list(ET.fromstring(b64decode(uri.partition(",")[2])))
    for shape in shapes:
        shape.tag = shape.tag.rpartition("}")[2]
    return shapes


def words(shapes: list[ET.Element]) -> list[str | None]:
    return [shape.text for shape in shapes if shape.tag == "text"]


def trend(facts: Facts, width: int = WIDE) -> list[ET.Element]:
    return read(draw_trend(facts.nights, facts.moves, facts.at, facts.settings.accuracy_floor, width))


def test_each_night_is_a_dot_at_its_time_and_has_another_colour_below_the_floor(facts: Facts) -> None:
    dots = [shape for shape in trend(facts) if shape.tag == "circle"]
    assert [dot.get("fill") == VERMILLION for dot in dots] == [False, False, True, False, False]
    xs = [float(dot.get("cx", "")) for dot in dots]
    assert xs[3] - xs[2] == pytest.approx(2 * (xs[1] - xs[0]), abs=0.2)  # one night is missing


def test_promotions_are_marked_and_labelled_but_a_release_is_not(facts: Facts) -> None:
    release = replace(facts.moves[0], kind="release", to_version=None, moved_at=facts.at - timedelta(days=1))
    shown = words(trend(replace(facts, moves=[release, *facts.moves])))
    assert [text for text in shown if text and text.startswith("v")] == ["v1", "v2"]
    assert "floor 70%" in shown


def test_nights_within_a_day_are_labelled_with_the_hour(facts: Facts) -> None:
    assert "02:00" in words(trend(replace(facts, nights=facts.nights[-1:])))
    assert "Mar 31" in words(trend(facts))


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_all_shapes_are_inside_the_drawing(facts: Facts, width: int) -> None:
    days = [DayOfArrivals(date(2026, 1, 1) + timedelta(days=day), {"confirmed": day * 97}) for day in range(30)]
    for shapes in (trend(facts, width), read(draw_arrivals(days, width))):
        for shape in shapes:
            xs = [float(shape.get(name, "0")) for name in ("x", "cx")]
            xs += [float(point.split(",")[0]) for point in shape.get("points", "").split()]
            assert 0 <= min(xs) <= max(xs) <= width


def test_arrivals_are_stacked_with_a_legend_of_their_origins(facts: Facts) -> None:
    shapes = read(draw_arrivals(facts.arrivals, WIDE))
    assert {"confirmed", "harvested"} <= set(words(shapes))
    assert "curated" not in words(shapes)
    bars = [float(shape.get("height", "")) for shape in shapes if shape.tag == "rect" and shape.get("fill") == GREEN]
    assert len(bars) == 2  # one of them in the legend
    assert "25" in words(shapes)  # the grid ends above the 24 of the busiest day


def test_days_without_arrivals_give_an_empty_plot() -> None:
    assert "1" in words(read(draw_arrivals([DayOfArrivals(date(2026, 1, 1), {})], NARROW)))
