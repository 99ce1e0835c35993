"""An expert's evening: 200 photos, 20 of them with a wrong label, by keyboard, while a colleague works beside."""

import time
from collections.abc import Callable
from hashlib import sha256 as sha256_of
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.images.batches import FileOutcome, add_batch
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord
from ml.catalog.object_store import image_key
from ml.catalog.tables import items
from ml.data.membership import Arrival, wait

CLASSES = ["amanita", "boletus", "cantharellus", "russula"]
MINUTES = 3.0
PASSWORD = "correct horse battery"


@pytest.fixture
def truth(catalog: Catalog, png: Callable[[int], bytes]) -> dict[str, str]:
    """200 photos of a batch that wait, 50 of each class by their labels; every tenth label is wrong."""
    return add_waiting(catalog, png, 200)


def add_waiting(catalog: Catalog, png: Callable[[int], bytes], count: int) -> dict[str, str]:
    truth, arrivals = {}, []
    for number in range(count):
        content = png(number)
        item, label = sha256_of(content).hexdigest(), number % 4
        catalog.store.put(image_key(item), content)
        record = ImageRecord(item, "image/png", 48, 40, len(content))
        arrivals.append(Arrival(ItemRecord("source", record), Annotation((CLASSES[label],))))
        truth[item] = CLASSES[(label + 1) % 4 if number % 10 == 0 else label]
    files = [FileOutcome(f"{item}.png", "1", truth[item], "waiting", item_id=item) for item in truth]
    files.append(FileOutcome("broken.png", "1", "amanita", "rejected", "unreadable", "It does not decode."))
    with catalog.begin() as connection:
        wait(connection, arrivals, "source")
        add_batch(connection, "source", files, False, 0.2)
    return truth


def labels_of(catalog: Catalog) -> dict[str, tuple[list[str], str | None]]:
    """The labels of all items, and what holds them back."""
    with catalog.begin() as connection:
        rows = connection.execute(sa.select(items.c.id, items.c.class_names, items.c.held_back))
        return {row.id: (row.class_names, row.held_back) for row in rows}


def shown_items(page: Any) -> list[str]:
    names: list[str] = page.eval_on_selector_all("[name^='seen.']", "all => all.map(each => each.name.slice(5))")
    return names


def mark_wrong(page: Any, truth: dict[str, str]) -> int:
    """Correct what is wrong on a page, by keys alone; each photo with the digit of its class. Return how many."""
    at, corrected = 0, 0
    for place, item in enumerate(shown_items(page)):
        label = page.locator(f"[name='label.{item}']").input_value()
        if label != truth[item]:
            while at < place:
                page.keyboard.press("ArrowRight")
                at += 1
            page.keyboard.press(str(CLASSES.index(truth[item]) + 1))
            corrected += 1
    return corrected


def send(page: Any) -> None:
    """Press Enter, and wait for the next page."""
    page.evaluate("() => { window.isOld = true; }")
    page.keyboard.press("Enter")
    page.wait_for_function("() => !window.isOld")
    page.wait_for_load_state()


def test_an_expert_finds_all_wrong_labels_by_keyboard_and_loses_none(
    log_in_as: Callable[..., Any], catalog: Catalog, truth: dict[str, str]
) -> None:
    clementine, dora = log_in_as("clementine", "expert"), log_in_as("dora", "expert")
    clementine.goto("/review")
    clementine.get_by_role("link", name="Waiting for a certificate").click()
    dora.goto("/review/waiting")
    began, corrected = time.monotonic(), 0
    first = shown_items(clementine)
    assert first == shown_items(dora)  # both look at the same photos
    corrected += mark_wrong(clementine, truth)
    send(clementine)
    send(dora)  # all as the labels say: too late
    assert "Somebody was faster" in dora.inner_text("main")
    while shown_items(clementine):  # each Enter leads to the next class
        corrected += mark_wrong(clementine, truth)
        send(clementine)
    seconds = time.monotonic() - began
    found = labels_of(catalog)
    assert {item: names for item, (names, _held) in found.items()} == {item: [name] for item, name in truth.items()}
    assert {held for _names, held in found.values()} == {None}
    assert corrected == 20
    assert seconds < MINUTES * 60
    assert clementine.faults == []


def test_every_key_does_what_the_page_says(
    log_in_as: Callable[..., Any], catalog: Catalog, png: Callable[[int], bytes]
) -> None:
    add_waiting(catalog, png, 8)
    page = log_in_as("clementine", "expert")
    page.goto("/review/waiting?class=*")
    first, second, *_rest = shown_items(page)
    label = page.locator(f"[name='label.{first}']")
    before = label.input_value()
    page.keyboard.press("Space")
    assert page.locator(f"[name='aside.{first}']").is_checked()
    page.keyboard.press("4")
    assert (label.input_value(), page.locator(f"[name='aside.{first}']").is_checked()) == ("russula", False)
    page.keyboard.type("can")
    page.keyboard.press("Enter")
    assert label.input_value() == "cantharellus"
    page.keyboard.type("zzz")
    page.keyboard.press("Escape")
    assert label.input_value() == "cantharellus"
    for _ in range(3):
        page.keyboard.press("u")
    assert (label.input_value(), page.locator(f"[name='aside.{first}']").is_checked()) == (before, False)
    page.keyboard.press("v")
    page.locator("#large-dialog img.large").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    send(page)
    assert shown_items(page) == [second]
    assert "7 photos are decided" in page.inner_text("main")
    page.keyboard.press("Space")
    page.keyboard.press("u")
    page.evaluate("() => { window.isOld = true; }")
    page.keyboard.press("u")
    page.wait_for_function("() => !window.isOld")
    page.wait_for_load_state()
    assert len(shown_items(page)) == 8
    assert page.faults == []


@pytest.fixture
def expert_page(
    app: Any, add_account: Callable[[str, Role], Account], send_form: Callable[..., TestResponse]
) -> FlaskClient:
    add_account("clementine", "expert")
    client: FlaskClient = app.test_client()
    send_form(client, "/login", login="clementine", password=PASSWORD)
    return client


def test_review_works_without_scripts_too(
    expert_page: FlaskClient,
    send_form: Callable[..., TestResponse],
    catalog: Catalog,
    png: Callable[[int], bytes],
) -> None:
    truth = add_waiting(catalog, png, 4)
    page = expert_page.get("/review/waiting?class=*").text
    fields: dict[str, str] = {}
    for name in ("seen", "proposed", "label"):
        for item in truth:
            start = page.index(f'name="{name}.{item}"')
            fields[f"{name}.{item}"] = page[start:].split('value="')[1].split('"')[0]
    kept, aside, corrected, useless = truth
    fields |= {f"label.{corrected}": " Boletus ", f"aside.{aside}": "1", f"reason.{useless}": "blurred or dark"}
    assert send_form(expert_page, "/review/waiting?class=*", **fields).status_code == 303
    assert "3 photos are decided" in expert_page.get("/review").text
    found = labels_of(catalog)
    assert found[kept][1] is None
    assert found[corrected] == (["boletus"], None)
    assert found[aside][1] == "waiting"
    assert found[useless][1] == "excluded"
    answer = send_form(expert_page, "/review/waiting?class=*", **fields)
    assert answer.status_code == 409
    assert "Somebody was faster" in answer.text
    assert send_form(expert_page, "/review/waiting", action="/review/waiting/undo").status_code == 303
    assert {held for _names, held in labels_of(catalog).values()} == {"waiting"}


def test_the_queues_and_the_rejects_of_a_batch_are_shown(
    expert_page: FlaskClient, catalog: Catalog, png: Callable[[int], bytes]
) -> None:
    add_waiting(catalog, png, 4)
    page = expert_page.get("/review").text
    assert "4 wait" in page
    batch = page.split('href="/review/batches/')[1].split('"')[0]
    rejects = expert_page.get(f"/review/batches/{batch}").text
    assert "broken.png" in rejects
    assert "It does not decode." in rejects
    for path in ("/review/nonsense", "/review/batches/999999999999999999999", "/review/photos/nonsense"):
        assert expert_page.get(path).status_code == 404
    for queue in ("mispredicted", "waiting", "uncertain", "suspected"):
        assert expert_page.get(f"/review/{queue}?class=x&batch=99999999999999999999&from=x").status_code == 200
