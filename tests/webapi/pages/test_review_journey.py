"""Review by keyboard: 200 photos of which 20 are wrong, two reviewers at once, and each way to decide and to undo."""

import hashlib
import io
import re
import time
from collections.abc import Callable
from html import unescape
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from axe_playwright_python.sync_playwright import Axe
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from ml.catalog.accounts.tokens import revoke_tokens
from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord
from ml.catalog.object_store import image_key
from ml.catalog.tables import items
from ml.data.membership import Arrival, wait
from tests.ml.image_rows import add_item

PASSWORD = "correct horse battery"

Photos = list[tuple[str, str]]  # what the source says, what is true
Fill = Callable[[Photos], dict[str, str]]


@pytest.fixture
def fill(catalog: Catalog) -> Fill:
    """Lets photos of a source wait. Gives id -> the truth. Chanterelles are known from another photo."""
    with catalog.begin() as connection:
        known = {"class_names": ["chanterelle"], "label_origin": "curated", "split": "pool"}
        add_item(connection, "0" * 64, entered_pool_at=sa.func.now(), **known)

    def bring(photos: Photos) -> dict[str, str]:
        truths, arrivals = {}, []
        for number, (said, truth) in enumerate(photos):
            pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST).save(buffer, "PNG")
            content = buffer.getvalue()
            sha256 = hashlib.sha256(content).hexdigest()
            catalog.store.put(image_key(sha256), content)
            record = ImageRecord(sha256, "image/png", 64, 64, len(content))
            arrivals.append(Arrival(ItemRecord("source", record), Annotation((said,))))
            truths[sha256] = truth
        for arrival in arrivals:  # one by one, so that the times of arrival give an order
            with catalog.begin() as connection:
                wait(connection, [arrival], "source")
        return truths

    return bring


def labels_of(catalog: Catalog) -> dict[str, str | None]:
    query = sa.select(items.c.id, items.c.class_names, items.c.label_origin, items.c.held_back)
    query = query.where(items.c.source == "source")
    with catalog.begin() as connection:
        return {
            row.id: row.class_names[0] if row.label_origin == "confirmed" else row.held_back
            for row in connection.execute(query)
        }


class Reviewer:
    """A person at a keyboard who knows the species."""

    def __init__(self, page: Any, truths: dict[str, str]) -> None:
        self.page, self.truths = page, truths

    def open(self, address: str) -> None:
        self.page.goto(address)
        self.page.locator("#state").wait_for(state="attached")

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def shown(self) -> list[str]:
        found: list[str] = self.page.eval_on_selector_all("#grid li", "cards => cards.map(card => card.dataset.item)")
        return found

    def go_to(self, item: str) -> None:
        """Walk there with the arrows."""
        script = "() => document.activeElement.closest('li')?.dataset.item"
        while (here := self.page.evaluate(script)) != item:
            shown = self.shown()
            self.press("ArrowRight" if here is None or shown.index(here) < shown.index(item) else "ArrowLeft")

    def correct_what_is_wrong(self, said: str) -> None:
        """Correct each wrong photo of the page by the digit of its class."""
        read = "list => list.map(({ dataset }) => [dataset.label, dataset.digit])"
        keys = dict(self.page.eval_on_selector_all(".digits li", read))
        for item in self.shown():
            if self.truths[item] != said:
                self.go_to(item)
                self.press(keys[self.truths[item]])
        self.settle()

    def certify_the_rest(self) -> None:
        before = set(self.shown())
        self.press("Enter")
        self.page.wait_for_function(
            "before => ![...document.querySelectorAll('#grid li')].some(card => before.includes(card.dataset.item))",
            arg=sorted(before),
        )
        self.settle()

    def settle(self) -> None:
        self.page.wait_for_function("() => !document.querySelector('.sent')")


def test_each_key_does_what_it_says(log_in_as: Callable[..., Any], fill: Fill, catalog: Catalog) -> None:
    truths = fill([("amanita", "amanita")] * 4 + [("boletus", "boletus")])
    first, second, third, fourth, fifth = truths
    reviewer = Reviewer(log_in_as("ada", "expert"), truths)
    page = reviewer.page
    reviewer.open("/review/waiting")
    assert reviewer.shown() == list(truths)
    assert page.locator("#grid img").first.bounding_box()["width"] > 100  # a small photo fills its card, too
    reviewer.press("2")  # the first photo is a boletus
    reviewer.settle()
    assert labels_of(catalog)[first] == "boletus"
    reviewer.press("u")
    page.get_by_text("Undone: 1").wait_for()
    assert labels_of(catalog)[first] == "waiting"
    reviewer.go_to(second)
    reviewer.press("Space")
    reviewer.press("ArrowRight")
    reviewer.press("b")  # letters open the list, and the first ones are enough
    page.keyboard.type("ol")
    reviewer.press("Enter")
    page.get_by_text("Corrected to boletus.").wait_for()
    reviewer.go_to(fourth)
    reviewer.press("Delete")
    page.keyboard.type("blurred")
    reviewer.press("Enter")
    page.get_by_text("Rejected.").wait_for()
    reviewer.press("+")
    page.locator("#large[open]").wait_for()
    page.get_by_text("No similar photos are known.").wait_for()
    reviewer.press("Escape")
    reviewer.press("Enter")
    page.get_by_text("Certified: 2").wait_for()
    assert labels_of(catalog) == {
        first: "amanita", second: "waiting", third: "boletus", fourth: "excluded", fifth: "boletus",
    }  # fmt: skip
    assert reviewer.shown() == [second]
    for _ in range(3):
        reviewer.press("u")
    page.wait_for_function("() => document.querySelectorAll('#grid li').length === 5")
    assert set(labels_of(catalog).values()) == {"waiting"}
    assert page.faults == []


def test_without_scripts_a_form_certifies_what_is_not_marked(
    log_in_as: Callable[..., Any], fill: Fill, catalog: Catalog
) -> None:
    truths = fill([("amanita", "amanita")] * 3)
    page = log_in_as("ada", "expert", java_script_enabled=False)
    page.goto("/review/waiting")
    page.locator(f"input[value='{list(truths)[1]}']").check()
    page.get_by_role("button", name="Certify all that is not marked").click()
    page.get_by_text("Photos certified: 2").wait_for()
    assert sorted(map(str, labels_of(catalog).values())) == ["amanita", "amanita", "waiting"]


def test_without_scripts_the_part_and_the_marks_outlive_the_session(
    client: FlaskClient,
    add_account: Callable[[str, Role], Account],
    send_form: Callable[..., TestResponse],
    fill: Fill,
    catalog: Catalog,
) -> None:
    ada = add_account("ada", "expert")
    first, second, third = fill([("amanita", "amanita")] * 2 + [("boletus", "boletus")])
    send_form(client, "/login", login="ada", password=PASSWORD)
    with catalog.begin() as connection:
        revoke_tokens(connection, ada.id)
    answer = client.post("/review/waiting?class=amanita", data={"marked": second})
    assert answer.status_code == 401
    found = re.findall(r'name="(next|kept|csrf_token)"[^>]* value="([^"]*)"', answer.text)
    hidden = {name: unescape(value) for name, value in found}
    page = client.post("/login", data={**hidden, "login": "ada", "password": PASSWORD}).text
    assert re.findall(r'name="marked" value="(\w+)"( checked)?', page) == [(first, ""), (second, " checked")]
    assert third not in page


def test_a_name_that_nobody_has_used_is_told_in_words(
    log_in_as: Callable[..., Any], fill: Fill, catalog: Catalog
) -> None:
    reviewer = Reviewer(log_in_as("ada", "expert"), fill([("amanita", "amanita")]))
    reviewer.open("/review/waiting")
    reviewer.press("/")
    reviewer.page.keyboard.type("amanito")
    reviewer.press("Enter")
    reviewer.page.get_by_text("Nobody has used this name yet").wait_for()
    assert set(labels_of(catalog).values()) == {"waiting"}


def test_the_second_of_two_reviewers_is_told_and_changes_nothing(
    log_in_as: Callable[..., Any], fill: Fill, catalog: Catalog
) -> None:
    truths = fill([("amanita", "amanita")] * 2 + [("boletus", "boletus")])
    first, *_ = truths
    one, two = (Reviewer(log_in_as(login, "expert"), truths) for login in ("ada", "bob"))
    for reviewer in (one, two):
        reviewer.open("/review/waiting")
    one.press("2")
    one.settle()
    two.press("Enter")
    two.page.get_by_text("ada was first: a photo is now boletus").wait_for()
    assert "UTC" not in two.page.locator("#told time").inner_text()  # it is the reader's time
    assert labels_of(catalog) == {**truths, first: "boletus"}


def test_after_the_session_ended_marks_stay_and_the_same_key_works_once_logged_in_again(
    log_in_as: Callable[..., Any], fill: Fill, catalog: Catalog
) -> None:
    truths = fill([("amanita", "amanita")] * 3)
    reviewer = Reviewer(log_in_as("ada", "expert"), truths)
    page = reviewer.page
    reviewer.open("/review/waiting")
    reviewer.press("Space")
    page.context.clear_cookies()
    reviewer.press("Enter")
    page.get_by_text("Your session has ended.").wait_for()
    assert set(labels_of(catalog).values()) == {"waiting"}
    tab = page.context.new_page()
    tab.goto("/login")
    tab.locator("[name=login]").fill("ada")
    tab.locator("[name=password]").fill("correct horse battery")
    tab.locator("#login-form button").click()
    tab.wait_for_url(lambda address: "/login" not in address)
    reviewer.press("Enter")
    page.get_by_text("Certified: 2").wait_for()
    assert reviewer.shown() == [next(iter(truths))]


def test_held_keys_certify_and_undo_only_once(log_in_as: Callable[..., Any], fill: Fill, catalog: Catalog) -> None:
    reviewer = Reviewer(log_in_as("ada", "expert"), fill([("amanita", "amanita")] * 53))
    page = reviewer.page
    reviewer.open("/review/waiting")
    for _ in range(30):  # without a key up between them: the key is held
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    reviewer.press("Enter")  # and once more while the first one is under way
    page.wait_for_function("() => document.querySelectorAll('#grid li').length === 3")
    for _ in range(5):
        page.keyboard.down("u")
    page.get_by_text("Undone: 50").wait_for()
    assert set(labels_of(catalog).values()) == {"waiting"}
    assert page.faults == []


@pytest.mark.parametrize("how", ["correct", "reject"])
def test_what_could_not_be_corrected_is_not_certified_instead(
    log_in_as: Callable[..., Any], fill: Fill, catalog: Catalog, how: str
) -> None:
    truths = fill([("amanita", "amanita")] * 2 + [("boletus", "boletus")])
    first, *_ = truths
    reviewer = Reviewer(log_in_as("ada", "expert"), truths)
    page = reviewer.page
    reviewer.open("/review/waiting")
    page.route("**/review/waiting", lambda route: route.fulfill(status=503, body="<main>Later</main>"), times=1)
    if how == "correct":
        reviewer.press("2")
    else:
        reviewer.press("Delete")
        page.keyboard.type("blurred")
        reviewer.press("Enter")
    reviewer.press("Enter")  # without waiting for the answer
    page.get_by_text("Certified: 2").wait_for()
    assert labels_of(catalog) == {**truths, first: "waiting"}
    reviewer.press("Enter")
    reviewer.settle()
    assert (labels_of(catalog)[first], reviewer.shown()) == ("waiting", [first])
    assert page.locator("#grid :checked").count() == 1


def test_after_a_lost_connection_the_same_keys_work_and_undo_outlives_the_page(
    log_in_as: Callable[..., Any], fill: Fill, catalog: Catalog
) -> None:
    reviewer = Reviewer(log_in_as("ada", "expert"), fill([("amanita", "amanita")] * 2))
    page = reviewer.page
    reviewer.open("/review/waiting")

    def fail(route: Any) -> None:
        if route.request.method == "POST":
            route.fallback()
        elif len(failed) == 0:
            failed.append("lost")
            route.abort()
        else:
            route.fulfill(status=503, content_type="text/html", body="<main>Out of order</main>")

    failed: list[str] = []
    page.route("**/review/waiting", fail)
    reviewer.press("Enter")
    page.get_by_text("The service did not answer.").wait_for()
    reviewer.press("Enter")
    page.get_by_text("Out of order").wait_for()
    page.unroute("**/review/waiting")
    page.reload()
    page.get_by_text("Nothing waits here.").wait_for()
    reviewer.press("u")
    page.get_by_text("Undone: 2").wait_for()
    assert len(reviewer.shown()) == 2


def test_enter_in_the_large_view_closes_it(log_in_as: Callable[..., Any], fill: Fill, catalog: Catalog) -> None:
    reviewer = Reviewer(log_in_as("ada", "expert"), fill([("amanita", "amanita")] * 3))
    page = reviewer.page
    reviewer.open("/review/waiting")
    for leave_button in (False, True):
        reviewer.press("+")
        page.locator("#large[open]").wait_for()
        if leave_button:
            page.locator("#large-title").click()
        else:
            page.locator("#large-close").focus()
        reviewer.press("Enter")
        page.locator("#large").wait_for(state="hidden")
    reviewer.press("u")
    page.get_by_text("There is nothing to undo").wait_for()
    assert set(labels_of(catalog).values()) == {"waiting"}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_are_accessible(log_in_as: Callable[..., Any], fill: Fill, theme: str) -> None:
    fill([("amanita", "amanita")] * 3)
    page = log_in_as("ada", "expert", color_scheme=theme)
    found: list[str] = []
    for address, key in (
        ("/review", None),
        ("/review/waiting", None),
        ("/review/waiting", "+"),
        ("/review/waiting", "/"),
    ):
        page.goto(address)
        if key is not None:
            page.locator("#grid").wait_for()
            page.keyboard.press(key)
            page.locator("dialog[open]").wait_for()
        violations = Axe().run(page).response["violations"]
        found += [f"{address}: {each['id']}" for each in violations if each["impact"] in ("serious", "critical")]
    assert found == []


def test_markup_in_names_and_reasons_stays_text(log_in_as: Callable[..., Any], fill: Fill, catalog: Catalog) -> None:
    evil = "<img src=x onerror=alert(1)>'\"&amp;"
    truths = fill([(evil, evil), ("amanita", "amanita")])
    one, two = (Reviewer(log_in_as(login, "expert"), truths) for login in ("ada", "bob"))
    for reviewer in (one, two):
        reviewer.open("/review/waiting")
        assert reviewer.page.locator("#grid .name").first.inner_text() == evil
    one.press("Delete")
    one.page.keyboard.type(evil)
    one.press("Enter")
    one.page.get_by_text("Rejected.").wait_for()
    two.press("Enter")
    two.page.locator("#told p").wait_for()
    assert evil in two.page.locator("#told").inner_text()
    for reviewer in (one, two):
        assert reviewer.page.locator("img[src=x]").count() == 0
        assert reviewer.page.faults == []


def review_all(log_in_as: Callable[..., Any], fill: Fill, catalog: Catalog, count: int) -> tuple[bool, float]:
    """Two reviewers, a class each; one photo in ten is wrong. Gives whether all labels are right, and the seconds."""
    said = ["amanita", "boletus"] * (count // 2)
    photos = [
        (name, "chanterelle" if number % 10 < 2 and number % 20 < 10 else name) for number, name in enumerate(said)
    ]
    truths = fill(photos)
    wrong = [sha256 for (name, truth), sha256 in zip(photos, truths, strict=True) if name != truth]
    assert len(wrong) == count // 10

    reviewers = {
        name: Reviewer(log_in_as(login, "expert"), truths) for login, name in (("ada", "amanita"), ("bob", "boletus"))
    }
    for name, reviewer in reviewers.items():
        reviewer.open(f"/review/waiting?class={name}")
    began_at = time.monotonic()
    while any(reviewer.shown() for reviewer in reviewers.values()):
        for name, reviewer in reviewers.items():
            reviewer.correct_what_is_wrong(name)
            if reviewer.shown():
                reviewer.certify_the_rest()
    seconds = time.monotonic() - began_at
    return labels_of(catalog) == truths, seconds


def test_two_reviewers_find_all_that_is_wrong_and_lose_nothing(
    log_in_as: Callable[..., Any], fill: Fill, catalog: Catalog
) -> None:
    is_right, _ = review_all(log_in_as, fill, catalog, 40)
    assert is_right


@pytest.mark.slow
def test_two_hundred_photos_take_two_reviewers_less_than_three_minutes(
    log_in_as: Callable[..., Any], fill: Fill, catalog: Catalog
) -> None:
    is_right, seconds = review_all(log_in_as, fill, catalog, 200)
    assert is_right
    assert seconds < 180
