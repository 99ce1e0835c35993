"""The queue of photos on which two models differ: nobody sees which model said what, and answers count as labels."""

import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from ml.catalog.database import Catalog
from ml.catalog.tables import items, review_entries
from ml.evaluation.shadowing.shadow_figures import read_figures
from tests.ml.shadow_rows import CHALLENGER, fill_shadow

MARKUP = "<b>'Oak' & \"x\"</b>"
CLASSES = ["boletus", "amanita", MARKUP]
SAID: list[tuple[str | None, str | None]] = [("boletus", "amanita"), ("amanita", "boletus"), ("amanita", MARKUP)]


@pytest.fixture
def asked(catalog: Catalog) -> list[str]:
    """Three uploads on which the models differ, one on which they agree."""
    return fill_shadow(catalog, [*SAID, ("boletus", "boletus")], CLASSES)[:3]


def test_an_entry_says_both_names_in_alphabetical_order_and_nothing_of_a_model(
    expert: FlaskClient, asked: list[str], catalog: Catalog
) -> None:
    with catalog.begin() as connection:  # one is in the pool with the champion's answer as its label
        harvested = {"split": "pool", "label_origin": "harvested", "class_names": ["amanita"]}
        entered = {"entered_pool_at": sa.func.now()}
        connection.execute(sa.update(items).where(items.c.id == asked[1]).values(**harvested, **entered))
    page: Any = expert.get("/reviews/queues/disputed").json
    found = {each["item"]: each for each in page["items"]}
    assert {sha256: each["candidates"] for sha256, each in found.items()} == {
        asked[0]: ["amanita", "boletus"],
        asked[1]: ["amanita", "boletus"],
        asked[2]: [MARKUP, "amanita"],
    }
    hidden = ("class_name", "label", "label_origin", "proposed", "model_version", "margin", "doubt")
    assert all(each[name] is None for each in found.values() for name in hidden)
    assert all(each["probabilities"] == [] for each in found.values())
    assert page["counts"] == [{"class_name": None, "count": 3}]
    assert expert.get("/reviews").json["disputed"] == 3  # type: ignore[index]
    uncertain: Any = expert.get("/reviews/queues/uncertain").json
    assert not {each["item"] for each in uncertain["items"]} & set(asked)


def test_what_an_expert_says_is_a_label_that_shows_which_model_is_right(
    expert: FlaskClient, asked: list[str], catalog: Catalog
) -> None:
    entries: Any = expert.get("/reviews/queues/disputed").json["items"]  # type: ignore[index]
    decisions = [
        {"item": each["item"], "queue": "disputed", "seen": each["seen"], "decision": "correct", "label": "amanita"}
        for each in entries
    ]
    made: Any = expert.post("/reviews/decisions", json={"decisions": decisions}).json
    assert len(made["decided"]) == 3
    with catalog.begin() as connection:
        labels = connection.execute(sa.select(items.c.label_origin, items.c.class_names).where(items.c.id.in_(asked)))
        assert set(map(str, labels)) == {"('confirmed', ['amanita'])"}
    figures = read_figures(catalog, "classification", CHALLENGER)
    assert figures is not None
    assert figures.of_sample is not None
    assert figures.of_sample.champion == pytest.approx(2 / 3)
    assert figures.of_sample.challenger == pytest.approx(1 / 3)
    assert figures.counts.sample_done == 3
    undone: Any = expert.post("/reviews/undo", json={"ids": [each["decision"] for each in made["decided"]]}).json
    assert len(undone["undone"]) == 3
    assert {each["item"] for each in expert.get("/reviews/queues/disputed").json["items"]} == set(asked)  # type: ignore[index]


def test_users_do_not_see_the_queue(user: FlaskClient, asked: list[str]) -> None:
    assert user.get("/reviews/queues/disputed").status_code == 403
    assert user.get(f"/images/{asked[0]}").status_code == 404


def test_a_form_without_scripts_takes_the_name_of_one_photo(
    client_of: Callable[..., FlaskClient], asked: list[str], catalog: Catalog
) -> None:
    ada = client_of("ada", "expert")
    text = ada.get("/review/disputed").text
    assert MARKUP not in text
    assert "Certify all that is not marked" in text  # for the script; it is hidden
    assert re.search(r'<button id="certify" hidden>', text)
    choices = [json.loads(unescape(each)) for each in re.findall(r'name="chosen" value="([^"]+)"', text)]
    assert sorted(each["label"] for each in choices if each["item"] == asked[0]) == ["amanita", "boletus"]
    (chosen,) = (each for each in choices if each["item"] == asked[0] and each["label"] == "boletus")
    token = re.findall(r'name="csrf_token" value="([^"]+)"', text)[0]
    shown = [unescape(each) for each in re.findall(r'name="shown" value="([^"]+)"', text)]
    sent = ada.post("/review/disputed", data={"csrf_token": token, "shown": shown, "chosen": json.dumps(chosen)})
    assert sent.status_code == 303
    with catalog.begin() as connection:
        left = set(connection.scalars(sa.select(review_entries.c.item_id).where(review_entries.c.queue == "disputed")))
        said = connection.scalar(sa.select(items.c.class_names).where(items.c.id == asked[0]))
    assert (left, said) == (set(asked[1:]), ["boletus"])


def test_a_click_or_a_digit_names_a_photo(log_in_as: Callable[..., Any], asked: list[str], catalog: Catalog) -> None:
    page = log_in_as("ada", "expert")
    page.goto("/review/disputed")
    card = page.locator(f'li[data-item="{asked[2]}"]')
    card.get_by_role("button", name=MARKUP).dblclick()
    card.wait_for(state="detached")
    assert page.locator("#grid li").count() == 2  # the second half of the click did not name another photo
    assert not page.locator("#large").is_visible()
    second = page.locator(f'li[data-item="{asked[0]}"]')
    second.get_by_role("button", name="boletus").press("Enter")
    second.wait_for(state="detached")
    digit = page.locator(".digits li", has_text="amanita").get_attribute("data-digit")
    page.locator("#grid input[type=checkbox]").focus()
    page.keyboard.press(digit)
    page.get_by_text("Nothing waits here.").wait_for()
    with catalog.begin() as connection:
        said = dict(connection.execute(sa.select(items.c.id, items.c.class_names)).tuples().all())
    assert {sha256: said[sha256] for sha256 in asked} == {
        asked[0]: ["boletus"],
        asked[1]: ["amanita"],
        asked[2]: [MARKUP],
    }
    assert page.faults == []
