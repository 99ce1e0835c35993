"""A session ends while somebody types or has chosen a photo: nothing is lost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.database import Catalog
from tests.webapi.pages.conftest import FORMS, PASSWORD, ask, end_sessions, log_in_here, open_address

LogIn = Callable[..., Any]


def test_a_session_that_ends_keeps_the_photo(log_in_as: Callable[..., Any], catalog: Catalog, photo_file: Path) -> None:
    page = log_in_as("alice")
    page.locator("#file").set_input_files(photo_file)
    page.get_by_text("ready to send").wait_for()
    end_sessions(catalog)
    page.locator("#send").click()
    dialog = page.locator("#login-dialog")
    dialog.locator("[name=login]").fill("alice")
    dialog.locator("[name=password]").fill("wrong")
    dialog.locator("button").click()
    dialog.get_by_text("do not fit together").wait_for()
    dialog.locator("[name=password]").fill(PASSWORD)
    dialog.locator("button").click()
    page.wait_for_url("**/answers/*")
    assert page.get_by_text("Is that right?").count() == 1


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_a_session_that_ends_keeps_a_typed_address(
    log_in_as: LogIn, photo_host: str, catalog: Catalog, scripts: bool
) -> None:
    page, address = log_in_as("alice", java_script_enabled=scripts), f"http://{photo_host}/photo.png?<b>"
    open_address(page, address)
    end_sessions(catalog)
    page.locator("#send").click()
    page.get_by_text("Your session has ended.").wait_for()
    log_in_here(page, "alice", "wrong")
    page.get_by_text("do not fit together").wait_for()
    log_in_here(page, "alice")
    if not scripts:
        page.get_by_text("What you typed is still here.").wait_for()
        assert page.locator("[name=url]").input_value() == address
        page.locator("#send").click()
    page.wait_for_url("**/answers/*")


def test_somebody_else_who_logs_in_where_a_session_ended_gets_a_session_and_none_of_what_was_typed(
    log_in_as: LogIn, add_account: Callable[[str, Role], Account], photo_file: Path, catalog: Catalog
) -> None:
    page = log_in_as("alice")
    add_account("eve", "user")
    ask(page, photo_file)
    page.locator("summary", has_text="Not OK").click()
    page.get_by_label("Another species").check()
    page.locator("[name=other_name]").fill("Hebeloma of Alice")
    end_sessions(catalog)
    page.get_by_role("button", name="Send", exact=True).click()
    log_in_here(page, "eve")
    assert page.get_by_role("heading", level=1).inner_text() == "There is no such answer"
    assert "Hebeloma" not in page.content()
    page.get_by_role("button", name="To the first page").click()
    assert page.locator(".login").inner_text() == "eve"


def test_without_scripts_a_session_that_ends_says_that_the_photo_is_chosen_again(
    log_in_as: LogIn, photo_file: Path, catalog: Catalog
) -> None:
    page = log_in_as("alice", java_script_enabled=False)
    page.locator("#file").set_input_files(photo_file)
    end_sessions(catalog)
    page.locator("#send").click()
    page.get_by_text("You will have to choose the photo again.").wait_for()
    log_in_here(page, "alice")
    page.get_by_role("heading", name="What is in your photo?").wait_for()
    assert page.get_by_text("What you typed is still here.").count() == 0


@FORMS
def test_a_session_that_ends_keeps_what_was_said_of_an_answer(
    log_in_as: LogIn, photo_file: Path, catalog: Catalog, scripts: bool
) -> None:
    page = log_in_as("alice", java_script_enabled=scripts)
    ask(page, photo_file)
    page.locator("summary", has_text="Not OK").click()
    page.get_by_label("Another species").check()
    page.locator("[name=other_name]").fill("Hebeloma <radicosum>")
    end_sessions(catalog)
    page.get_by_role("button", name="Send", exact=True).click()
    log_in_here(page, "alice")
    page.get_by_text("What you typed is still here.").wait_for()
    assert page.locator("[name=other_name]").input_value() == "Hebeloma <radicosum>"
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_text("another species: Hebeloma <radicosum>").wait_for()
