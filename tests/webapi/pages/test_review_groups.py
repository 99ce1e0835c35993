"""The grid of a review queue by predicted class: no photo is lost between classes and pages; words stand for photos."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import numpy as np
import pytest
from flask import Flask

from ml.catalog.annotations import Annotation
from ml.catalog.answers import Answer
from ml.catalog.database import Catalog
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord
from ml.catalog.logs.results import save_result
from ml.catalog.models.model_versions import ModelVersion, save_model_version
from ml.catalog.reviews.review_queues import Entry, Queue
from ml.data.membership import Arrival, wait
from tests.ml.image_rows import add_item
from webapi.pages.page_words.review_words import describe_photo

CLASSES = ["amanita", "boletus", "Écureuil", "zunderschwamm"]
ITEMS = "cards => cards.map(card => card.dataset.item)"
GROUPS = """groups => groups.map(group => [
    group.querySelector("h2").innerText, ...[...group.querySelectorAll("li")].map(card => card.dataset.item)])"""


def id_of(number: int) -> str:
    return f"{number:064x}"


@pytest.fixture
def doubt(catalog: Catalog) -> Callable[..., None]:
    """Lets a model hesitate about photos, the first one most: doubt([what it said of each], its classes)."""

    def answer(names: Sequence[str | None], classes: Sequence[str] = CLASSES) -> None:
        with catalog.begin() as connection:
            save_model_version(connection, ModelVersion(7, "run", None, "backbone:1", list(classes), 32, "fp32"))
            for number, name in enumerate(names):
                add_item(connection, id_of(number))
                shares = np.full(len(classes), 0.4 / (len(classes) - 1), np.float32)
                shares[0 if name is None else classes.index(name)] = 0.6
                save_result(connection, id_of(number), 7, Answer(name, 0.6, number / 1000, shares))

    return answer


@pytest.fixture
def open_queue(log_in_as: Callable[..., Any]) -> Callable[..., Any]:
    """Opens a queue as an expert."""

    def open_as_ada(address: str = "/review/uncertain", **options: Any) -> Any:
        page = log_in_as("ada", "expert", **options)
        page.goto(address)
        return page

    return open_as_ada


def groups_of(page: Any) -> dict[str, list[str]]:
    return {name: found for name, *found in page.eval_on_selector_all(".group", GROUPS)}


def test_the_most_uncertain_photos_are_taken_first_and_then_grouped_by_class(
    open_queue: Callable[..., Any], doubt: Callable[..., None]
) -> None:
    said = ["boletus", "zunderschwamm", "amanita", "Écureuil", None] * 12
    doubt(said)
    page = open_queue()
    groups = groups_of(page)
    assert list(groups) == ["amanita 10 of 12", "boletus 10 of 12", "Écureuil 10 of 12", "zunderschwamm 10 of 12",
                            "no class 10 of 12"]  # fmt: skip
    assert groups["boletus 10 of 12"] == [id_of(number) for number in range(0, 50, 5)]  # the most uncertain first
    assert sorted(chain(*groups.values())) == [id_of(number) for number in range(50)]
    page.locator("#next").click()
    page.wait_for_url("**cursor=**")
    rest = groups_of(page)
    assert sorted(chain(*rest.values())) == [id_of(number) for number in range(50, 60)]
    assert all(name.endswith(" 2 of 12") for name in rest)


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_no_photo_is_lost_when_classes_go_on_on_the_next_page(
    open_queue: Callable[..., Any], doubt: Callable[..., None], scripts: bool
) -> None:
    said = [CLASSES[number * 7 % 3] for number in range(120)]
    doubt(said)
    page = open_queue(java_script_enabled=scripts)
    seen: list[str] = []
    while True:
        for heading, section in zip(page.locator(".group h2").all(), page.locator(".group").all(), strict=True):
            items = section.locator("li input[type=checkbox]").evaluate_all("all => all.map(each => each.value)")
            name, here = heading.inner_text().split()[:2]
            assert int(here) == len(items)
            assert {said[int(item, 16)] for item in items} == {name}
            seen += items
        if not page.locator("#next").count():
            break
        page.locator("#next").click()
        page.wait_for_load_state()
    assert Counter(seen) == Counter(id_of(number) for number in range(120))


def test_a_class_that_is_named_by_a_digit_has_that_key(
    open_queue: Callable[..., Any], doubt: Callable[..., None]
) -> None:
    doubt(["3", "0", "ten", "7"] * 3, ["0", "3", "7", "ten"])
    page = open_queue()
    read = "keys => keys.map(({ dataset }) => [dataset.digit, dataset.label])"
    keys: dict[str, str] = dict(page.eval_on_selector_all(".digits li", read))
    assert [keys[digit] for digit in "0137"] == ["0", "ten", "3", "7"]
    assert len(set(keys.values())) == len(keys)
    before = groups_of(page)["0 3"]
    page.keyboard.press("7")
    page.get_by_text("7.", exact=False).wait_for()
    assert groups_of(page)["0 2"] == before[1:]


def test_the_arrows_go_through_the_classes_as_one_reads(
    open_queue: Callable[..., Any], doubt: Callable[..., None]
) -> None:
    doubt(["boletus", "amanita", "amanita", "boletus", "zunderschwamm", "amanita", "boletus", "amanita", "amanita"] * 2)
    page = open_queue(viewport={"width": 760, "height": 900})
    shown = page.eval_on_selector_all("#grid li", ITEMS)
    here = "() => document.activeElement.closest('li').dataset.item"
    walked = [page.evaluate(here)]
    for _ in shown[1:]:
        page.keyboard.press("ArrowRight")
        walked.append(page.evaluate(here))
    assert walked == shown
    page.keyboard.press("Home")
    tops = {item: page.locator(f"[data-item='{item}']").bounding_box() for item in shown}
    rows = sorted({round(box["y"]) for box in tops.values()})
    assert len(rows) > 4  # two classes have two rows
    for key, wanted in (("ArrowDown", rows[1:]), ("ArrowUp", rows[-2::-1])):
        for top in wanted:
            page.keyboard.press(key)
            box = tops[page.evaluate(here)]
            assert (round(box["y"]), round(box["x"])) == (top, round(tops[shown[0]]["x"]))
    page.keyboard.press("ArrowUp")  # there is no row before the first one
    assert page.evaluate(here) == shown[0]


PLACES = """cards => cards.map(card => {
    const { top, left } = card.getBoundingClientRect();
    return [card.dataset.item, Math.round(top), Math.round(left)];
})"""


@pytest.mark.parametrize("width", [320, 390, 500, 800, 1280])
def test_classes_of_few_photos_stand_side_by_side_in_the_order_of_reading(
    open_queue: Callable[..., Any], doubt: Callable[..., None], width: int
) -> None:
    sizes = (1, 3, 1, 2, 4, 1, 1, 5, 1, 2, 1, 7, 1, 1)
    names = [f"{chr(97 + number)} {'long name ' * (number % 5)}".strip() for number in range(len(sizes))]
    doubt([name for name, size in zip(names, sizes, strict=True) for _ in range(size)], [*names])
    page = open_queue(viewport={"width": width, "height": 900})
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    places = page.eval_on_selector_all("#grid li", PLACES)
    assert [item for item, *_ in sorted(places, key=lambda each: each[1:])] == [item for item, *_ in places]
    rows = sorted({top for _, top, _ in places})
    columns = sorted({left for *_, left in places})
    assert len(rows) < len(places) / max(1, len(columns) - 1) + len(sizes) / 2 + 1
    here = "() => document.activeElement.closest('li').dataset.item"
    for top in rows[1:]:
        page.keyboard.press("ArrowDown")
        assert (page.evaluate(here), top) in {(item, at) for item, at, _ in places}
    page.keyboard.press("ArrowDown")  # there is no row after the last one
    assert (page.evaluate(here), rows[-1]) in {(item, at) for item, at, _ in places}


def test_a_class_goes_with_its_last_photo_and_counts_say_what_is_left(
    open_queue: Callable[..., Any], doubt: Callable[..., None]
) -> None:
    doubt(["boletus", "amanita", "amanita", "boletus", "zunderschwamm"])
    page = open_queue()
    page.keyboard.press("End")
    amanita = page.locator(".digits li[data-label=amanita]").get_attribute("data-digit")
    page.keyboard.press(amanita)  # the only zunderschwamm
    page.get_by_text("Corrected to amanita.").wait_for()
    assert list(groups_of(page)) == ["amanita 2", "boletus 2"]
    page.keyboard.press("Space")  # the last boletus
    page.keyboard.press("Enter")
    page.get_by_text("Certified: 3").wait_for()
    assert list(groups_of(page)) == ["boletus 1"]
    page.keyboard.press("u")
    page.get_by_text("Undone: 3").wait_for()
    assert list(groups_of(page)) == ["amanita 2", "boletus 2"]
    page.keyboard.press("u")
    page.get_by_text("Undone: 1").wait_for()
    assert list(groups_of(page)) == ["amanita 2", "boletus 2", "zunderschwamm 1"]
    assert page.locator("#grid :checked").count() == 1


def test_markup_in_the_name_of_a_class_stays_text_in_its_heading(
    open_queue: Callable[..., Any], catalog: Catalog
) -> None:
    evil = "<b>bold</b>\"'&amp;"
    with catalog.begin() as connection:
        record = ItemRecord("source", ImageRecord(id_of(1), "image/png", 32, 32, 100))
        wait(connection, [Arrival(record, Annotation((evil,)))], "source")
    page = open_queue("/review/waiting")
    assert page.locator(".group h2").inner_text() == f"{evil} 1"
    assert page.locator("#grid img").get_attribute("alt") == f"Photo 1. Source: {evil}"
    assert page.locator("#grid h2 b").count() == 0


def entry(**values: Any) -> Entry:
    nothing = dict.fromkeys(Entry.__dataclass_fields__)
    return Entry(**{**nothing, "item_id": "0" * 64, "probabilities": {}, "received_at": datetime.now(UTC), **values})


ANSWER = {"class_name": "boletus", "probabilities": {"amanita": 0.3, "boletus": 0.612}}
SAID = {**ANSWER, "said_at": datetime.now(UTC)}


@pytest.mark.parametrize(
    ("queue", "values", "words"),
    [
        ("waiting", {"class_name": "amanita", "annotation": Annotation(("amanita",))}, "Photo 3. Source: amanita"),
        ("uncertain", ANSWER, "Photo 3. Model: boletus, 61.2%"),
        ("uncertain", {}, "Photo 3"),
        (
            "suspected",
            {**ANSWER, "annotation": Annotation(("amanita",)), "doubt": 0.312},
            "Photo 3. Suspected: boletus, 31.2% more probable. Model: boletus, 61.2%",
        ),
        (
            "mispredicted",
            {**SAID, "login": "ada", "corrected_label": "amanita"},
            "Photo 3. Model: boletus, 61.2%. ada: amanita",
        ),
        (
            "mispredicted",
            {**SAID, "login": "ada", "instead": "other", "proposed_name": "Hebeloma"},
            "Photo 3. Model: boletus, 61.2%. ada: Hebeloma",
        ),
        ("mispredicted", {**SAID, "instead": "none"}, "Photo 3. Model: boletus, 61.2%. A former account: none of the"),
        ("mispredicted", {**SAID, "login": "ada"}, "Photo 3. Model: boletus, 61.2%. ada: wrong"),
    ],
)
def test_the_text_for_a_photo_says_what_its_card_says(
    app: Flask, queue: Queue, values: dict[str, Any], words: str
) -> None:
    with app.test_request_context():
        assert describe_photo(queue, entry(**values), 3).startswith(words)


def test_a_screen_reader_learns_no_more_than_the_card_shows(
    open_queue: Callable[..., Any], doubt: Callable[..., None]
) -> None:
    doubt(["boletus", "amanita"])
    page = open_queue(locale="fr-FR")
    for number, card in enumerate(page.locator("#grid li").all(), 1):
        parts = card.locator("img").get_attribute("alt").split(". ")
        assert parts[0] == f"Photo {number}"
        assert parts[1].startswith("Modèle : ")
        assert all(part in card.inner_text() for part in parts[1:])
