"""The dashboard in the browser: hover, zoom, range and class; light and dark; its weight; three years of nights."""

import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.tables import evaluations, monitorings
from tests import three_years
from tests.webapi.pages.conftest import PHONE, find_barriers

# Whether the line of the accuracy is drawn so many days ago: 90 days and the rest of today are the width.
IS_DRAWN = """days => {
  const canvas = document.querySelector('[data-chart=accuracy] canvas');
  const over = document.querySelector('[data-chart=accuracy] .u-over');
  const midnight = new Date();
  midnight.setHours(24, 0, 0, 0);
  const share = 1 - (days + (midnight - Date.now()) / 86400000) / 90;
  const left = over.offsetLeft + over.clientWidth * share;
  const column = canvas.getContext('2d').getImageData(Math.round(left * devicePixelRatio), 0, 1, canvas.height).data;
  const isLine = (red, green, blue) => red < 8 && Math.abs(green - 114) < 8 && Math.abs(blue - 178) < 8;
  const pixels = Array.from({ length: canvas.height }, (_, row) => column.slice(4 * row, 4 * row + 4));
  return pixels.some(([red, green, blue, solid]) => solid > 240 && isLine(red, green, blue));
}"""
SHOWS = """colour => [...document.querySelectorAll('[data-chart=accuracy] .u-marker')]
    .some(each => getComputedStyle(each).borderTopColor === colour)"""
PROMOTED_BEFORE = "UPDATE training.promotions SET completed_at = now() - interval '20 days'"
MOST_BYTES = 600 * 1024
MOST_MILLISECONDS = 2000  # to draw all charts; it takes 25 to 75 where nothing else runs
ACCURACY = "[data-chart=accuracy]"


@pytest.fixture
def full(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        three_years.fill(connection, class_count=60, images=3000, repeats=1)


def open_dashboard(page: Any, query: str = "") -> None:
    page.goto(f"/dashboard{query}")
    page.locator(f"{ACCURACY} canvas").wait_for()


def hover(page: Any, chart: str, share: float) -> None:
    """Move the pointer to a share of a chart's width."""
    over = page.locator(f"[data-chart={chart}] .u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)


def drag(page: Any, chart: str, start: float, end: float) -> None:
    hover(page, chart, start)
    page.mouse.down()
    hover(page, chart, (start + end) / 2)
    hover(page, chart, end)
    page.mouse.up()


def read_hovered(page: Any, chart: str = "accuracy") -> list[str]:
    return page.locator(f"[data-chart={chart}] .u-value").all_inner_texts()


@pytest.mark.usefixtures("full")
def test_a_person_hovers_zooms_and_chooses_range_and_class(log_in_as: Callable[..., Any]) -> None:
    page = log_in_as("clementine", "expert", timezone_id="Pacific/Kiritimati")
    page.get_by_role("link", name="Dashboard").click()
    page.locator(f"{ACCURACY} canvas").wait_for()
    assert page.locator("[name=zone]").input_value() == "Pacific/Kiritimati"
    today = datetime.now(ZoneInfo("Pacific/Kiritimati")).date()  # where most days begin
    assert page.locator("[name=until]").input_value() == today.isoformat()
    assert page.locator("[name=since]").input_value() == (today - timedelta(days=89)).isoformat()
    hover(page, "accuracy", 0.5)
    moment, floor, value, low, high, _below = read_hovered(page)
    assert floor == "70.0%"
    assert float(low[:-1]) < float(value[:-1]) < float(high[:-1])
    assert read_hovered(page, "drift")[0] == moment  # all charts show the same time
    early_before, late_before = read_at(page, 0.02), read_at(page, 0.98)
    assert page.locator("#whole").is_disabled()
    drag(page, "calibration", 0.6, 0.8)
    assert page.locator("#whole").is_enabled()
    assert early_before < read_at(page, 0.02) < read_at(page, 0.98) < late_before
    page.locator("#whole").click()
    assert (read_at(page, 0.02), read_at(page, 0.98)) == (early_before, late_before)
    drag(page, "accuracy", 0.2, 0.4)
    page.mouse.dblclick(*middle(page))
    assert page.locator("#whole").is_disabled()
    for button in ("Closer", "Earlier"):
        page.get_by_role("button", name=button, exact=True).press("Enter")
    assert read_at(page, 0.02) - early_before < timedelta(days=2)
    assert timedelta(days=40) < late_before - read_at(page, 0.98) < timedelta(days=50)
    page.get_by_role("button", name="Later", exact=True).press("Enter")
    page.get_by_role("button", name="Later", exact=True).press("Enter")
    assert late_before - read_at(page, 0.98) < timedelta(days=2)
    page.get_by_role("link", name="3 years").click()
    page.locator(f"{ACCURACY} canvas").wait_for()
    assert "zone=Pacific%2FKiritimati" in page.url
    assert read_at(page, 0.05) < early_before - timedelta(days=700)
    page.locator("#class").fill("muscaria")
    page.get_by_role("option").first.click()
    page.get_by_role("button", name="Show", exact=True).click()
    page.locator("[data-chart=recall] canvas").wait_for()
    assert page.locator("#chart-recall").inner_text() == f"Recall of {three_years.FIRST_CLASS}"
    hover(page, "recall", 0.5)
    assert read_hovered(page, "recall")[1].endswith("%")
    assert page.locator("main script, main b").count() == 0
    assert page.faults == []


def middle(page: Any) -> tuple[float, float]:
    box = page.locator(f"{ACCURACY} .u-over").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def read_at(page: Any, share: float) -> datetime:
    """The time at a share of the width of the chart of arrivals."""
    hover(page, "arrivals", share)
    return datetime.strptime(read_hovered(page, "arrivals")[0], "%b %d, %Y").replace(tzinfo=UTC)


@pytest.mark.usefixtures("full")
def test_three_years_are_drawn_quickly_and_the_whole_page_is_light(log_in_as: Callable[..., Any]) -> None:
    page = log_in_as("clementine", "admin")
    sizes: dict[str, int] = {}
    page.on("response", lambda response: sizes.update({response.url: len(gzip.compress(response.body()))}))
    page.goto("/dashboard?since=2000-01-01", wait_until="networkidle")
    assert page.locator(".uplot").count() == 9
    assert any("/dashboard/figures" in url for url in sizes)
    assert any(url.endswith("vendor/uplot.esm.js") for url in sizes)
    assert 50_000 < sum(sizes.values()) < MOST_BYTES
    (took,) = page.evaluate("() => performance.getEntriesByName('draw').map(each => each.duration)")
    assert took < MOST_MILLISECONDS
    assert page.faults == []  # the policy without eval and inline styles forbade nothing


@pytest.mark.usefixtures("full")
def test_charts_have_no_barrier_and_follow_the_theme(log_in_as: Callable[..., Any]) -> None:
    page = log_in_as("clementine", "expert")
    open_dashboard(page, "?class=class+7")
    page.evaluate("() => document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert find_barriers(page) == []
    assert page.locator(ACCURACY).get_attribute("role") == "img"
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("() => document.querySelector('.uplot canvas').getBoundingClientRect().width < 390")
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    for scheme, colour in (("light", "rgb(0, 114, 178)"), ("dark", "rgb(86, 180, 233)")):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(SHOWS, arg=colour)  # what is drawn says it in its legend


@pytest.mark.usefixtures("full")
def test_without_scripts_and_on_a_phone_the_same_figures_are_tables(log_in_as: Callable[..., Any]) -> None:
    page = log_in_as("clementine", "expert", java_script_enabled=False, **PHONE)
    page.goto("/dashboard")
    assert page.locator("noscript p", has_text="Charts need JavaScript.").is_visible()
    assert not page.locator(ACCURACY).is_visible()
    assert not page.locator("#whole").is_visible()
    page.locator("section:has(#chart-accuracy) summary", has_text="Table").click()
    cells = page.locator("section:has(#chart-accuracy) tbody tr").first.locator("td").all_inner_texts()
    assert cells[0].endswith("%")
    assert cells[-1] == "37"
    page.get_by_label("From").fill("2026-01-01")
    page.locator("#class").fill("CLASS 7")
    page.get_by_role("button", name="Show", exact=True).click()
    assert page.get_by_role("heading", name="Recall of class 7").is_visible()


def test_one_night_and_gaps_look_sensible(
    log_in_as: Callable[..., Any], catalog: Catalog, add_champion: Callable[..., None]
) -> None:
    add_champion(1, 0.9)
    with catalog.begin() as connection:
        connection.execute(sa.text(PROMOTED_BEFORE))
    page = log_in_as("clementine", "expert")
    open_dashboard(page)
    hover(page, "accuracy", 0.99)
    assert "90.0%" in read_hovered(page)
    assert page.locator("[data-chart=feedback]").is_hidden()
    with catalog.begin() as connection:
        row = connection.execute(sa.select(evaluations).where(evaluations.c.is_deciding)).mappings().one()
        for days in (10, 9, 3, 2):
            moment = datetime.now(UTC) - timedelta(days=days)
            values = {**row, "evaluated_at": moment, "main_figure": 0.8}
            del values["id"]
            connection.execute(sa.insert(evaluations).values(values))
        assert connection.execute(sa.select(sa.func.count()).select_from(monitorings)).scalar_one() == 0
    open_dashboard(page)
    assert page.locator("#summary-accuracy").inner_text().startswith("Accuracy: last 90.0%, lowest 80.0%")
    drawn = {days: page.evaluate(IS_DRAWN, days) for days in (9.5, 6, 2.5)}
    assert drawn == {9.5: True, 6: False, 2.5: True}  # where nights are missing, the line breaks
    assert page.faults == []


def test_if_the_figures_cannot_be_read_the_page_says_so(
    log_in_as: Callable[..., Any], catalog: Catalog, add_champion: Callable[..., None]
) -> None:
    add_champion(1, 0.9)
    with catalog.begin() as connection:
        connection.execute(sa.text(PROMOTED_BEFORE))
    page = log_in_as("clementine", "expert")
    page.route("**/dashboard/figures*", lambda route: route.abort())
    page.goto("/dashboard")
    page.get_by_text("The figures could not be read.").wait_for()
    assert page.locator("#whole").is_hidden()
    assert page.locator("summary", has_text="Table").first.is_visible()
