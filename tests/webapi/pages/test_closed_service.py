"""Times in which no photo can be named: people read why, what they typed stays, and the rest of the pages works."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.object_store import FolderStore
from ml.errors import ImageStoreError
from tests.webapi.pages.conftest import FORMS, PASSWORD, ask, open_address
from webapi.access import maintenance_gate

LogIn = Callable[..., Any]


def switch_maintenance(app: Flask, is_on: bool) -> None:
    with app.app_context():
        maintenance_gate.current().switch(is_on, "account:1")


@FORMS
def test_in_maintenance_an_address_waits_and_answers_are_still_shown_and_judged(
    app: Flask, log_in_as: LogIn, photo_file: Path, photo_host: str, scripts: bool
) -> None:
    page, address = log_in_as("alice", java_script_enabled=scripts), f"http://{photo_host}/photo.png"
    answer = ask(page, photo_file)
    page.goto("/")
    open_address(page, address)
    switch_maintenance(app, True)
    page.locator("#send").click()
    page.get_by_text("Photos are not named for a while.").wait_for()
    assert page.locator("[name=url]").input_value() == address
    page.goto(answer)
    assert page.get_by_text("Where the model looked").count() == 0  # the model is not asked now
    page.get_by_role("button", name="OK, that is right").click()
    page.get_by_text("You said: right, it is").wait_for()
    page.goto("/")
    open_address(page, address)
    switch_maintenance(app, False)
    page.locator("#send").click()
    page.wait_for_url("**/answers/*")
    page.get_by_text("Where the model looked").wait_for()


def test_a_photo_that_cannot_be_stored_stays_in_the_window(
    log_in_as: LogIn, photo_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ImageStoreError("Expected a bucket at s3://secret, got none.")

    page = log_in_as("alice")
    page.locator("#file").set_input_files(photo_file)
    page.get_by_text("ready to send").wait_for()
    with monkeypatch.context() as broken:
        broken.setattr(FolderStore, "put", fail)
        page.locator("#send").click()
        page.get_by_text("Photos cannot be stored or read right now").wait_for()
    assert "secret" not in page.content()
    page.locator("#send").click()
    page.wait_for_url("**/answers/*")


def test_before_the_first_model_people_read_who_starts_it(
    client: FlaskClient,
    add_account: Callable[[str, Role], Account],
    send_form: Callable[..., TestResponse],
    png: Callable[[int], bytes],
) -> None:
    add_account("alice", "user")
    send_form(client, "/login", login="alice", password=PASSWORD)
    for fields in ({"url": "https://photos.example/a.jpg"}, {"url": "", "file": (io.BytesIO(png(1)), "photo.png")}):
        answer = send_form(client, "/", **fields)
        assert answer.status_code == 503
        assert "Photos can be named once a first model is trained. An admin starts that." in answer.text
        assert 'id="photo-form"' in answer.text
        assert not fields["url"] or 'value="https://photos.example/a.jpg"' in answer.text
