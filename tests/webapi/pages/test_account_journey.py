"""A person looks after their data in a browser: delete a photo, change the password, take all data along, erase all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.object_store import image_key
from ml.catalog.tables import accounts, feedback, images, items, predictions
from ml.deadlines import Deadline
from tests.webapi.pages.conftest import FORMS, PASSWORD, ask, find_barriers, log_in_here
from webapi.pages.page_views import account_pages

LogIn = Callable[..., Any]
NEW_PASSWORD = "another long password"


@pytest.fixture
def photos(png: Callable[[int], bytes], tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in (1, 2, 3)]
    for number, path in enumerate(paths, start=1):
        path.write_bytes(png(number))
    return paths


def stored_photos(catalog: Catalog) -> set[str]:
    """The hashes of all photos that the database and the store have; both have the same."""
    with catalog.begin() as connection:
        known = set(connection.scalars(sa.select(items.c.id)))
        rows = set(connection.scalars(sa.select(images.c.sha256)))
    assert rows == {sha256 for sha256 in known if catalog.store.exists(image_key(sha256))}
    return rows


def logins(catalog: Catalog) -> set[str]:
    with catalog.begin() as connection:
        return set(connection.scalars(sa.select(accounts.c.login)))


@FORMS
def test_one_photo_is_deleted_and_the_others_stay(
    log_in_as: LogIn, photos: list[Path], catalog: Catalog, scripts: bool
) -> None:
    page = log_in_as("alice", java_script_enabled=scripts)
    first, second = ask(page, photos[0]), ask(page, photos[1])
    kept = stored_photos(catalog)
    page.goto("/photos")
    assert page.locator(".photos li").count() == 2
    page.locator(".photos li").filter(has=page.locator(f"a[href='{first}']")).get_by_text("Delete", exact=True).click()
    sha256 = page.url.split("/")[4]
    page.get_by_role("button", name="Keep it").click()
    page.locator(".photos li").filter(has=page.locator(f"a[href='{first}']")).get_by_text("Delete", exact=True).click()
    page.get_by_role("heading", name="Delete this photo?").wait_for()
    page.get_by_role("button", name="Delete it").click()
    page.get_by_text("The photo is deleted.").wait_for()
    assert page.locator(".photos li").count() == 1
    assert page.locator(f"a[href='{second}']").count() == 1
    assert stored_photos(catalog) == kept - {sha256}
    page.goto(first)
    assert page.get_by_role("heading", level=1).inner_text() == "There is no such answer"
    if scripts:
        assert [fault for fault in page.faults if "404" not in fault] == []


@FORMS
def test_a_new_password_logs_in_and_ends_all_other_sessions(
    log_in_as: LogIn, open_browser: Callable[..., Any], scripts: bool
) -> None:
    page, phone = log_in_as("alice", java_script_enabled=scripts), open_browser()
    phone.goto("/login")
    log_in_here(phone, "alice")
    phone.get_by_role("heading", name="What is in your photo?").wait_for()
    page.get_by_role("link", name="My account").click()
    page.get_by_role("link", name="Change my password").click()
    for present, new, again, words in (
        ("wrong", NEW_PASSWORD, NEW_PASSWORD, "This is not your present password"),
        (PASSWORD, NEW_PASSWORD, "something else entirely", "Both must be the same."),
        (PASSWORD, NEW_PASSWORD, NEW_PASSWORD, "Your password is changed."),
    ):
        for name, text in (("password", present), ("new_password", new), ("again_password", again)):
            page.locator(f"[name={name}]").fill(text)
        page.get_by_role("button", name="Change it").click()
        page.get_by_text(words).wait_for()
    page.goto("/photos")  # this browser stays logged in
    page.get_by_role("heading", name="My photos").wait_for()
    phone.goto("/photos")
    phone.wait_for_url("**/login?next=/photos")
    log_in_here(phone, "alice", PASSWORD)
    phone.get_by_text("do not fit together").wait_for()
    assert phone.get_by_role("heading", name="My photos").count() == 0
    log_in_here(phone, "alice", NEW_PASSWORD)
    phone.get_by_role("heading", name="My photos").wait_for()
    assert phone.url.endswith("/photos")


@FORMS
def test_all_data_arrive_as_a_file(log_in_as: LogIn, photos: list[Path], tmp_path: Path, scripts: bool) -> None:
    page = log_in_as("alice", java_script_enabled=scripts, accept_downloads=True)
    answers = [ask(page, photo) for photo in photos[:2]]
    page.locator("summary", has_text="Not OK").click()
    page.get_by_role("radio", name="Another species").check()
    page.locator("[name=other_name]").fill("Hébéloma")
    page.get_by_role("button", name="Send", exact=True).click()
    page.goto("/account")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download my data").click()
    assert waiting.value.suggested_filename == "mycoflow-personal-data.json"
    waiting.value.save_as(tmp_path / "mine.json")
    data = json.loads((tmp_path / "mine.json").read_text())
    assert (data["account"]["login"], data["account"]["role"]) == ("alice", "user")
    assert [f"/answers/{each['id']}" for each in data["predictions"]] == answers
    assert [each["proposed_name"] for each in data["feedback"]] == ["Hébéloma"]
    assert len(data["photos"]) == 2
    assert page.get_by_role("heading", name="My account").is_visible()  # the page stays


@FORMS
def test_the_account_is_erased_with_its_photos_and_the_page_says_so(
    log_in_as: LogIn, photos: list[Path], catalog: Catalog, scripts: bool
) -> None:
    page, eve = log_in_as("alice", java_script_enabled=scripts), log_in_as("eve")
    for photo in photos[:2]:
        ask(page, photo)
    page.locator("summary", has_text="Not OK").click()
    page.get_by_role("radio", name="Another species").check()
    page.locator("[name=other_name]").fill("Hebeloma")
    page.get_by_role("button", name="Send", exact=True).click()
    ask(eve, photos[1])
    ask(eve, photos[2])
    before = stored_photos(catalog)
    page.goto("/account")
    page.get_by_role("link", name="Erase my account").click()
    assert page.get_by_role("radio", name="Erase my photos too").is_checked()
    assert not scripts or find_barriers(page) == []
    page.locator("[name=password]").fill("wrong")
    page.get_by_role("button", name="Erase my account").click()
    page.get_by_text("This is not your present password").wait_for()
    assert stored_photos(catalog) == before
    page.locator("[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Erase my account").click()
    page.get_by_text("Your account and your photos are erased.").wait_for()
    log_in_here(page, "alice")
    page.get_by_text("do not fit together").wait_for()
    assert logins(catalog) == {"eve"}
    assert len(before - stored_photos(catalog)) == 1  # eve sent the other one too
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).where(predictions.c.account_id.is_not(None))) == 2
        assert connection.scalar(sa.select(sa.func.count()).where(feedback.c.proposed_name.is_not(None))) == 0
    eve.goto("/photos")
    assert eve.locator(".photos li").count() == 2


def test_photos_may_be_left_and_the_choice_outlives_a_wrong_password(
    log_in_as: LogIn, photos: list[Path], catalog: Catalog
) -> None:
    page = log_in_as("alice")
    ask(page, photos[0])
    before = stored_photos(catalog)
    page.goto("/account/erase")
    page.get_by_role("radio", name="Leave them").check()
    for password, words in (
        ("wrong", "This is not your present password"),
        (PASSWORD, "Your account is erased. Thank you for your photos."),
    ):
        assert page.get_by_role("radio", name="Leave them").is_checked()
        page.locator("[name=password]").fill(password)
        page.get_by_role("button", name="Erase my account").click()
        page.get_by_text(words).wait_for()
    assert (logins(catalog), stored_photos(catalog)) == (set(), before)


def test_photos_that_one_request_has_no_time_for_are_erased_by_the_next(
    log_in_as: LogIn, photos: list[Path], catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = log_in_as("alice")
    for photo in photos[:2]:
        ask(page, photo)
    page.goto("/account/erase")
    with monkeypatch.context() as slow:
        slow.setattr(account_pages, "Deadline", lambda _seconds: Deadline(0.0))
        page.locator("[name=password]").fill(PASSWORD)
        page.get_by_role("button", name="Erase my account").click()
        page.get_by_text("Photos that are left: 2.").wait_for()
    assert logins(catalog) == {"alice"}
    page.locator("[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Erase my account").click()
    page.get_by_text("Your account and your photos are erased.").wait_for()
    assert (logins(catalog), stored_photos(catalog)) == (set(), set())


def test_the_last_admin_keeps_account_and_photos(log_in_as: LogIn, photos: list[Path], catalog: Catalog) -> None:
    page = log_in_as("root", "admin")
    answer = ask(page, photos[0])
    page.goto("/account/erase")
    page.locator("[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Erase my account").click()
    page.get_by_text("You are the only admin").wait_for()
    assert len(stored_photos(catalog)) == 1
    assert page.goto(answer).status == 200
