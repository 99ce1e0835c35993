"""The database goes away while somebody types: what was typed is on the page that says so, and can be sent again."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask.testing import FlaskClient

from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.database import Catalog
from ml.catalog.tables import feedback
from tests.webapi.pages.conftest import FORMS, PASSWORD, ask, find_barriers, log_in_here

Outage = Callable[[], AbstractContextManager[None]]
DOWN = "The database does not answer"


@FORMS
def test_the_name_of_another_species_is_sent_again(
    log_in_as: Callable[..., Any], photo_file: Path, catalog: Catalog, database_down: Outage, scripts: bool
) -> None:
    page = log_in_as("alice", java_script_enabled=scripts)
    ask(page, photo_file)
    typed = 'Hebeloma "radicosum" <b>&amp;'
    page.locator("summary", has_text="Not OK").click()
    page.get_by_label("Another species").check()
    page.locator("[name=other_name]").fill(typed)
    with database_down():
        page.get_by_role("button", name="Send", exact=True).click()
        page.get_by_role("heading", name=DOWN).wait_for()
        assert page.get_by_label("Its name, if you know it").input_value() == typed
        assert not scripts or find_barriers(page) == []
        page.get_by_role("button", name="Send it again").click()
        page.get_by_role("heading", name=DOWN).wait_for()
        assert page.get_by_label("Its name, if you know it").input_value() == typed
    page.get_by_role("button", name="Send it again").click()
    page.get_by_text(f"another species: {typed}").wait_for()
    with catalog.begin() as connection:
        assert connection.execute(sa.select(feedback.c.instead, feedback.c.proposed_name)).all() == [("other", typed)]


def test_without_scripts_an_address_is_sent_again(
    log_in_as: Callable[..., Any], database_down: Outage, photo_host: str
) -> None:
    page, address = log_in_as("alice", java_script_enabled=False), f"http://{photo_host}/a%20b.png?x=<b>&y=1"
    page.locator("summary", has_text="photo from the web").click()
    page.locator("[name=url]").fill(address)
    with database_down():
        page.locator("#send").click()
        page.get_by_role("heading", name=DOWN).wait_for()
    assert page.get_by_label("Address of a photo").input_value() == address
    page.get_by_role("button", name="Send it again").click()
    page.wait_for_url("**/answers/*")


def test_without_scripts_a_photo_is_chosen_again(
    log_in_as: Callable[..., Any], photo_file: Path, database_down: Outage
) -> None:
    page = log_in_as("alice", java_script_enabled=False)
    page.locator("#file").set_input_files(photo_file)
    with database_down():
        page.locator("#send").click()
        page.get_by_role("heading", name=DOWN).wait_for()
    page.get_by_label("Choose the photo again").set_input_files(photo_file)
    page.get_by_role("button", name="Send it again").click()
    page.wait_for_url("**/answers/*")
    assert page.get_by_text("Is that right?").count() == 1


def test_with_scripts_photo_and_address_stay_where_they_are(
    log_in_as: Callable[..., Any], photo_file: Path, database_down: Outage, photo_host: str
) -> None:
    page = log_in_as("alice")
    state, address = page.locator("#photo-status"), f"http://{photo_host}/photo.png"
    page.locator("summary", has_text="photo from the web").click()
    page.locator("[name=url]").fill(address)
    with database_down():
        page.locator("#send").click()
        state.get_by_text(DOWN).wait_for()
    assert state.inner_text().endswith("Try again then.")  # nothing of the page around the message
    assert page.locator("[name=url]").input_value() == address
    page.locator("#file").set_input_files(photo_file)
    page.get_by_text("ready to send").wait_for()
    with database_down():
        page.locator("#send").click()
        state.get_by_text(DOWN).wait_for()
    page.context.set_offline(True)
    page.locator("#send").click()
    state.get_by_text("Your photo is still here.").wait_for()
    page.context.set_offline(False)
    page.locator("#send").click()
    page.wait_for_url("**/answers/*")


def test_a_login_is_kept_and_the_way_it_leads(
    open_browser: Callable[..., Any], add_account: Callable[[str, Role], Account], database_down: Outage
) -> None:
    add_account("alice", "user")
    page = open_browser()
    page.goto("/login?next=/photos")
    with database_down():
        log_in_here(page, "alice")
        page.get_by_role("heading", name=DOWN).wait_for()
    assert PASSWORD not in page.content()
    assert page.get_by_label("Login").input_value() == "alice"
    page.get_by_role("button", name="Send it again").click()
    page.get_by_text("Type your password.").wait_for()
    log_in_here(page, "alice")
    page.wait_for_url("**/photos")


def test_a_login_in_the_window_of_a_photo_waits_for_database_and_network(
    log_in_as: Callable[..., Any], photo_file: Path, database_down: Outage
) -> None:
    page = log_in_as("alice")
    page.locator("#file").set_input_files(photo_file)
    page.get_by_text("ready to send").wait_for()
    page.context.clear_cookies(name="mycoflow_session")
    page.locator("#send").click()
    dialog = page.locator("#login-dialog")
    dialog.locator("[name=login]").fill("alice")
    dialog.locator("[name=password]").fill(PASSWORD)
    with database_down():
        dialog.locator("button").click()
        dialog.get_by_text(DOWN).wait_for()
    page.context.set_offline(True)
    dialog.locator("button").click()
    dialog.get_by_text("The service did not answer.").wait_for()
    page.context.set_offline(False)
    dialog.locator("button").click()
    page.wait_for_url("**/answers/*")
    assert page.get_by_text("Is that right?").count() == 1


def test_marks_of_a_review_without_scripts_are_sent_again(
    log_in_as: Callable[..., Any], photo_file: Path, database_down: Outage
) -> None:
    page = log_in_as("ada", "expert", java_script_enabled=False)
    ask(page, photo_file)
    page.locator("summary", has_text="Not OK").click()
    page.get_by_label("I am not sure").check()
    page.get_by_role("button", name="Send", exact=True).click()
    page.goto("/review/mispredicted")
    page.locator("[name=marked]").check()
    with database_down():
        page.get_by_role("button", name="Certify all that is not marked").click()
        page.get_by_role("heading", name=DOWN).wait_for()
    page.get_by_role("button", name="Send it again").click()
    page.get_by_text("Photos certified: 0").wait_for()
    assert page.locator("[name=marked]").count() == 1  # what was marked still waits


def test_a_password_is_typed_again(log_in_as: Callable[..., Any], database_down: Outage) -> None:
    page = log_in_as("alice")
    page.goto("/account/erase")
    page.get_by_role("radio", name="Leave them").check()
    page.locator("[name=password]").fill(PASSWORD)
    with database_down():
        page.get_by_role("button", name="Erase my account").click()
        page.get_by_role("heading", name=DOWN).wait_for()
    assert PASSWORD not in page.content()
    page.get_by_role("button", name="Send it again").click()
    page.get_by_role("heading", name="Erase my account?").wait_for()
    page.get_by_text("Type your present password.").wait_for()
    assert page.get_by_role("radio", name="Leave them").is_checked()


def test_what_another_site_sends_meanwhile_is_not_repeated(client: FlaskClient, database_down: Outage) -> None:
    client.get("/login")
    client.set_cookie("mycoflow_session", "a-token")
    with database_down():
        own, foreign = (
            client.post("/", data={"url": "read this", "csrf_token": "of the form"}, headers={"Sec-Fetch-Site": site})
            for site in ("same-origin", "cross-site")
        )
    assert (own.status_code, "read this" in own.text, 'value="of the form"' in own.text) == (503, True, True)
    assert (foreign.status_code, "read this" in foreign.text) == (403, False)
