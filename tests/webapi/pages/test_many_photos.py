"""The pages for many photos at once: sending, following, results, cancelling and deleting."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.database import Catalog
from ml.catalog.tables import batch_photos, results
from tests.webapi.pages.conftest import FORMS, PASSWORD, PHONE, find_barriers
from webapi import application_state

MARKUP = "<img src=x onerror=alert(1)><script>alert(1)</script>.png"
SendForm = Callable[..., TestResponse]


def make_zip(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def forest(png: Callable[[int], bytes], tmp_path: Path) -> Path:
    """A ZIP with three photos and a text."""
    path = tmp_path / "forest.zip"
    path.write_bytes(make_zip({f"a/{n}.png": png(n) for n in (1, 2, 3)} | {"notes.txt": b"no photo"}))
    return path


@pytest.fixture
def alice(app: Flask, serve_version: Callable[[int], None], add_account: Any, send_form: SendForm) -> FlaskClient:
    """A person with a session."""
    serve_version(1)
    add_account("alice", "user")
    client = app.test_client()
    send_form(client, "/login", login="alice", password=PASSWORD)
    return client


def work(app: Flask) -> None:
    while application_state.current(app).batches.work():
        pass


@FORMS
def test_a_zip_is_sent_followed_read_filtered_and_deleted(
    log_in_as: Callable[..., Any], app: Flask, forest: Path, scripts: bool
) -> None:
    page = log_in_as("alice", java_script_enabled=scripts)
    page.get_by_role("link", name="Many photos").click()
    page.locator("#archive").set_input_files(forest)
    page.get_by_role("button", name="Name these photos").click()
    page.wait_for_url("**/many/*")
    assert page.get_by_text("0 of 4 photos are done.").is_visible()
    assert page.locator("progress").first.get_attribute("max") == "4"
    work(app)
    page.get_by_text("4 of 4 photos are done.").wait_for()  # by itself
    page.get_by_role("button", name="Cancel the rest").wait_for(state="detached")
    assert page.locator(".photos li").count() == 4
    assert page.get_by_text("This is not a photo").is_visible()
    page.locator("[name=shown]").select_option("failed")
    page.get_by_role("button", name="Show").click()
    assert page.locator(".photos li").count() == 1
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    assert Path(download.value.path()).read_bytes().startswith(b"\xef\xbb\xbfnumber,file,")

    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete it").click()
    assert page.get_by_text("The batch is deleted.").is_visible()
    assert page.get_by_role("heading", name="My batches").count() == 0
    assert page.faults == []


def test_the_pages_have_no_barrier_and_fit_a_phone(log_in_as: Callable[..., Any], app: Flask, forest: Path) -> None:
    page = log_in_as("alice", locale="fr-FR", **PHONE)
    page.goto("/many")
    page.locator("#archive").set_input_files(forest)
    page.locator("#send").click()
    page.wait_for_url("**/many/*")
    paths = ["/many", "/" + page.url.split("/", 3)[3]]
    for is_done in (False, True):
        for path in (*paths, f"{paths[1]}/delete"):
            page.goto(path)
            assert (path, find_barriers(page)) == (path, [])
            assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        if not is_done:
            work(app)
    assert page.faults == []


def test_what_is_wrong_with_a_zip_is_said_and_the_page_stays(log_in_as: Callable[..., Any], tmp_path: Path) -> None:
    page = log_in_as("alice")
    page.goto("/many")
    page.locator("#send").click()
    assert page.locator("#many-status").inner_text() == "Choose a ZIP, or write addresses of photos."
    (tmp_path / "no.zip").write_bytes(b"no ZIP")
    for _ in range(2):  # the form works again
        page.locator("#archive").set_input_files(tmp_path / "no.zip")
        page.locator("#send").click()
        page.get_by_text("could not be read as a ZIP").wait_for()
    page.evaluate("() => { document.getElementById('many-form').dataset.mostBytes = '3'; }")
    page.locator("#send").click()
    page.get_by_text("Divide it into several").wait_for()
    assert page.url.endswith("/many")


def test_addresses_are_sent_one_on_each_line(
    alice: FlaskClient, app: Flask, send_form: SendForm, photo_host: str
) -> None:
    sent = send_form(alice, "/many", urls=f"http://{photo_host}/a.png\r\n\r\n  http://{photo_host}/b.png \nnonsense")
    assert sent.status_code == 303
    work(app)
    shown = alice.get(sent.headers["Location"])
    assert "3 of 3 photos are done. 2 have a name. 1 could not be named." in shown.text
    assert "No photo at this address" in shown.text
    assert shown.text.count("/thumbnail") == 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "There are no photos yet"),
        ({"urls": " \n "}, "There are no photos yet"),
        ({"urls": "\n".join(f"https://example.org/{n}" for n in range(1001))}, "Too many photos for one batch"),
        ({"file": (io.BytesIO(make_zip({})), "a.zip")}, "There is nothing to name"),
    ],
)
def test_a_form_that_is_refused_says_why_and_keeps_what_was_typed(
    alice: FlaskClient, send_form: SendForm, fields: dict[str, Any], words: str
) -> None:
    answer = send_form(alice, "/many", **fields)
    assert answer.status_code == 422
    assert words in answer.text
    assert 'id="many-form"' in answer.text
    if len(fields.get("urls", "")) > 10:
        assert "https://example.org/1000" in answer.text


def test_markup_in_names_stays_text(
    alice: FlaskClient, app: Flask, send_form: SendForm, png: Any, catalog: Catalog
) -> None:
    sent = send_form(alice, "/many", file=(io.BytesIO(make_zip({MARKUP: png(1), f"b{MARKUP}": b"x"})), MARKUP))
    work(app)
    with catalog.begin() as connection:
        connection.execute(sa.update(results).values(top_class=MARKUP))
    place = sent.headers["Location"]
    for path in (place, "/many", f"{place}/delete", f"{place}?species={MARKUP}&shown={MARKUP}&after={MARKUP}"):
        shown = alice.get(path)
        assert shown.status_code == 200
        assert "<img src=x" not in shown.text
        assert "<script>" not in shown.text
        assert "&lt;script&gt;" in shown.text


def test_a_large_batch_is_shown_in_pages(alice: FlaskClient, app: Flask, send_form: SendForm, catalog: Catalog) -> None:
    sent = send_form(alice, "/many", urls="\n".join(["nonsense"] * 60))
    work(app)
    first = alice.get(f"{sent.headers['Location']}?shown=failed")
    assert first.text.count('<p class="hint file-name">') == 48
    assert "shown=failed&amp;after=48" in first.text
    last = alice.get(f"{sent.headers['Location']}?shown=failed&after=48")
    assert last.text.count('<p class="hint file-name">') == 12
    assert "Next photos" not in last.text


def test_cancelling_says_so(alice: FlaskClient, send_form: SendForm, png: Any) -> None:
    sent = send_form(alice, "/many", file=(io.BytesIO(make_zip({"1.png": png(1)})), "a.zip"))
    cancelled = send_form(alice, sent.headers["Location"])
    assert cancelled.status_code == 303
    shown = alice.get(cancelled.headers["Location"]).text
    assert "The batch is cancelled." in shown
    assert "1 were skipped." in shown
    assert "Cancel the rest" not in shown


def test_others_see_no_batch_and_an_admin_does(
    alice: FlaskClient, app: Flask, send_form: SendForm, png: Any, add_account: Callable[[str, Role], Account]
) -> None:
    sent = send_form(alice, "/many", file=(io.BytesIO(make_zip({"1.png": png(1)})), "a.zip"))
    for login, role, status in (("eve", "user", 404), ("clementine", "expert", 404), ("bob", "admin", 200)):
        add_account(login, role)
        client = app.test_client()
        send_form(client, "/login", login=login, password=PASSWORD)
        for path in ("", "/progress", "/photos.csv", "/delete"):
            assert (login, path, client.get(sent.headers["Location"] + path).status_code) == (login, path, status)


def test_a_state_that_is_asked_for_says_how_far_the_batch_is(
    alice: FlaskClient, app: Flask, send_form: SendForm, png: Any, catalog: Catalog
) -> None:
    sent = send_form(alice, "/many", file=(io.BytesIO(make_zip({"1.png": png(1)})), "a.zip"))
    asked: Any = alice.get(f"{sent.headers['Location']}/progress").json
    assert asked == {"done": 0, "is_working": True, "text": "0 of 1 photos are done. 0 have a name."}
    work(app)
    asked = alice.get(f"{sent.headers['Location']}/progress").json
    assert (asked["done"], asked["is_working"]) == (1, False)
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(batch_photos.c.state)) == "named"
