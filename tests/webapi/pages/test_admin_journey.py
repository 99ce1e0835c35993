"""An admin's journey: log in, see what waits and decide, see the photos of others, log out. A plain user sees none."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from flask import Flask

from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.database import Catalog
from ml.catalog.models.attempts import start_attempt
from ml.catalog.models.cross_fitted_answers import Suspicion, mark_suspected, save_cross_fitted
from ml.catalog.models.model_versions import ModelVersion, save_model_version
from ml.catalog.tables import items, snapshot_items, snapshots
from ml.deadlines import Deadline
from ml.ingest.folder import ingest_folder
from ml.ingest.intake import BatchRules, ingest_source
from ml.ingest.sources.drop_folder import DropFolder
from tests.ml.dropping import settle
from tests.tiny_model import CLASSES
from tests.webapi.pages.conftest import PASSWORD, ask, find_barriers, log_in_here
from webapi.access.authentication import required_role
from webapi.access.session_cookie import reads_cookie

Png = Callable[[int], bytes]


@pytest.fixture
def batch_id(catalog: Catalog, png: Png, tmp_path: Path) -> int:
    """A drop folder brought two photos of boleti, and a file that is none."""
    folder = tmp_path / "drop"
    (folder / "boletus").mkdir(parents=True)
    for number in (31, 32):
        (folder / "boletus" / f"{number}.png").write_bytes(png(number))
    (folder / "boletus" / "torn.png").write_bytes(b"not a photo")
    rules = BatchRules(require_certification=True, quarantine_share=1.0)
    (batch_id,) = ingest_source(catalog, DropFolder(settle(folder)), rules, Deadline(60))
    return batch_id


@pytest.fixture
def suspected(catalog: Catalog, png: Png, tmp_path: Path) -> str:
    """The hash of a photo in the pool whose label a training contradicts: it is called amanita, and is a russula."""
    (tmp_path / "pool" / "amanita").mkdir(parents=True)
    (tmp_path / "pool" / "amanita" / "41.png").write_bytes(png(41))
    ingest_folder(catalog, tmp_path / "pool", "pool")
    sha256 = hashlib.sha256(png(41)).hexdigest()
    values = {"cutoff": sa.func.now(), "requested_size": 1, "strategy": "newest", "pool_state": "1"}
    member = {"class_names": ["amanita"], "label_origin": "curated", "fold": "train", "item_id": sha256}
    with catalog.begin() as connection:
        stored = sa.insert(snapshots).values(classes=["amanita", "russula"], **values).returning(snapshots.c.id)
        snapshot_id = connection.execute(stored).scalar_one()
        connection.execute(sa.insert(snapshot_items).values(snapshot_id=snapshot_id, **member))
        attempt_id = start_attempt(connection, "run-1", "test", {}, snapshot_id)
        save_cross_fitted(connection, attempt_id, {sha256: np.float32([0.03, 0.97])})
        mark_suspected(connection, attempt_id, {sha256: Suspicion("russula", 0.94)})
    return sha256


def open_queue(page: Any, name: str) -> None:
    """From wherever one is, by the menu."""
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Review").click()
    page.get_by_role("heading", name=name).get_by_role("link").click()
    page.get_by_role("heading", level=1, name=name).wait_for()


def call_wrong(page: Any, photo: Path) -> tuple[str, str]:
    """Name a photo and say that it is a Hebeloma. Return the path of the answer, and the name that it gave."""
    answer, predicted = ask(page, photo), page.locator("#name").inner_text()
    page.locator("summary", has_text="Not OK").click()
    page.get_by_role("radio", name="Another species").check()
    page.locator("[name=other_name]").fill("Hebeloma")
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_text("Thank you.").wait_for()
    return answer, predicted


def test_an_admin_logs_in_decides_in_each_queue_and_logs_out(
    open_browser: Callable[..., Any], log_in_as: Callable[..., Any], add_account: Callable[[str, Role], Account],
    photo_file: Path, batch_id: int, suspected: str, catalog: Catalog,
) -> None:  # fmt: skip
    facts = ModelVersion(1, "run1", None, f"{'0' * 64}:1", CLASSES, 32, "fp32")
    with catalog.begin() as connection:
        save_model_version(connection, facts)
    answer, predicted = call_wrong(log_in_as("alice"), photo_file)

    add_account("root", "admin")
    page = open_browser()
    page.goto("/review")
    log_in_here(page, "root")
    page.wait_for_url("**/review")
    assert page.locator(".queues .count").all_inner_texts() == ["1", "2", "0", "1", "0"]

    open_queue(page, "Mispredicted")
    shown = page.locator("main").inner_text()
    assert re.search(rf"{predicted},? \d+\.\d%", shown)
    assert "alice: Hebeloma" in shown
    assert page.locator("main time").first.get_attribute("datetime")
    assert find_barriers(page) == []
    page.goto(answer)
    assert page.get_by_role("img", name="The photo").evaluate("image => image.decode().then(() => true)")

    open_queue(page, "Waiting for a certificate")
    assert page.locator("[name=marked]").count() == 2
    page.get_by_role("button", name="Certify all that is not marked").click()
    page.get_by_text("Nothing waits here.").wait_for()

    open_queue(page, "Suspected wrong labels")
    assert "Suspected: russula, 94.0% more probable" in page.locator("main").inner_text()
    page.keyboard.press("/")
    page.keyboard.type("russula")
    page.keyboard.press("Enter")
    page.get_by_text("Nothing waits here.").wait_for()

    page.get_by_role("link", name="Back to the queues").click()
    assert page.locator(".queues .count").all_inner_texts() == ["1", "0", "0", "0", "0"]
    rejects = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=str(batch_id), exact=True))
    assert find_barriers(page) == []
    rejects.get_by_role("link", name="1").click()
    page.get_by_role("heading", name=f"Rejected files of batch {batch_id}").wait_for()
    assert find_barriers(page) == []
    assert page.get_by_role("listitem").filter(has_text="torn.png").locator("p").inner_text()
    page.get_by_role("link", name="My account").click()
    page.get_by_text("You are root, and your role is admin.").wait_for()
    page.get_by_role("button", name="Log out").click()
    page.get_by_text("You are logged out.").wait_for()
    page.goto("/review")
    page.wait_for_url("**/login?next=/review")
    assert page.faults == []
    with catalog.begin() as connection:
        query = sa.select(items.c.class_names[1]).where(items.c.label_origin == "confirmed")
        assert sorted(connection.scalars(query)) == ["boletus", "boletus", "russula"]


def test_what_is_for_those_who_judge_is_a_worded_page_for_a_user(
    app: Flask, log_in_as: Callable[..., Any], photo_file: Path, batch_id: int
) -> None:
    values = {"queue": "waiting", "batch_id": batch_id, "sha256": "0" * 64, "version": 1, "dag_id": "retrain"}
    rules = [rule for rule in app.url_map.iter_rules() if reads_cookie(app, rule.endpoint)]
    closed = [rule for rule in rules if required_role(app, rule.endpoint) in ("expert", "admin")]
    paths = {app.url_map.bind("").build(rule.endpoint, {each: values[each] for each in rule.arguments})
             for rule in closed if "GET" in (rule.methods or ())}  # fmt: skip
    assert {"/review", "/review/waiting", f"/review/batches/{batch_id}"} <= paths
    page = log_in_as("alice")
    assert page.get_by_role("link", name="Review").count() == 0
    for path in sorted(paths):
        response = page.goto(path)
        assert (path, response.status) == (path, 403)
        assert page.get_by_role("heading", level=1).inner_text() == "This page is not for your account"
        assert page.get_by_text("Ask an admin if you need it.").is_visible()
        page.get_by_role("button", name="To the first page").click()
        page.get_by_role("heading", name="What is in your photo?").wait_for()
    page.goto("/review")
    assert find_barriers(page) == []


def test_a_user_sees_no_answer_of_somebody_else_and_reads_why(log_in_as: Callable[..., Any], photo_file: Path) -> None:
    answer = ask(log_in_as("alice"), photo_file)
    other = log_in_as("eve")
    assert other.goto(answer).status == 404
    assert other.get_by_role("heading", level=1).inner_text() == "There is no such answer"
    other.get_by_text("It was deleted, or it belongs to somebody else.").wait_for()


def test_a_user_who_becomes_an_expert_sees_review_at_once(
    log_in_as: Callable[..., Any], catalog: Catalog, batch_id: int
) -> None:
    page = log_in_as("alice")
    assert page.goto("/review").status == 403
    with catalog.begin() as connection:
        connection.execute(sa.text("UPDATE users.accounts SET role = 'expert' WHERE login = 'alice'"))
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("heading", level=1, name="Review").wait_for()
    assert PASSWORD not in page.content()
