"""A person's journey: log in, name a photo in each of the ways there are, and say whether the answer is right."""

import base64
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.database import Catalog
from ml.catalog.tables import items
from tests.webapi.pages.conftest import PASSWORD, PHONE, ask, log_in_here, open_address

LogIn = Callable[..., Any]
SCRIPTS = pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
# A DataTransfer as a browser makes it of a dropped or pasted file, or of a dropped address.
TRANSFER = """([content, type, address]) => {
  const transfer = new DataTransfer();
  if (content) {
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    transfer.items.add(new File([bytes], "photo", { type }));
  }
  if (address) transfer.setData("text/uri-list", address);
  return transfer;
}"""
PASTE = """(clipboardData) => document.activeElement.dispatchEvent(
  new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }))"""


def transfer(page: Any, photo: Path | None = None, address: str = "", kind: str = "image/png") -> Any:
    content = "" if photo is None else base64.b64encode(photo.read_bytes()).decode()
    return page.evaluate_handle(TRANSFER, [content, kind, address])


def drop(page: Any, place: str, **what: Any) -> None:
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event(place, event, {"dataTransfer": transfer(page, **what)})


def paste(page: Any, photo: Path) -> None:
    page.evaluate(PASTE, transfer(page, photo))


def named_photo(page: Any) -> str:
    """The hash of the photo of the answer that is shown."""
    page.wait_for_url("**/answers/*")
    (found,) = set(re.findall(r"/photos/([0-9a-f]{64})/photo", page.content()))
    return str(found)


@SCRIPTS
def test_a_person_logs_in_names_a_photo_and_says_that_it_is_right(
    open_browser: LogIn, add_account: Callable[[str, Role], Account], photo_file: Path, scripts: bool
) -> None:
    add_account("alice", "user")
    page = open_browser(java_script_enabled=scripts)
    page.goto("/")
    log_in_here(page, "alice")
    page.locator("#file").set_input_files(photo_file)
    page.get_by_role("button", name="Name this photo").click()
    page.wait_for_url("**/answers/*")
    assert page.locator("#name").inner_text() == page.locator("th[scope=row]").first.inner_text()
    page.get_by_role("button", name="OK, that is right").click()
    page.get_by_text("Thank you.").wait_for()
    page.get_by_text("You said: right, it is").wait_for()
    assert page.faults == []


@SCRIPTS
def test_a_photo_at_an_address_is_fetched_and_named(
    log_in_as: LogIn, photo_host: str, png: Callable[[int], bytes], scripts: bool
) -> None:
    page = log_in_as("alice", java_script_enabled=scripts)
    open_address(page, f"http://{photo_host}/garden/photo%20one.png?size=large")
    page.locator("[name=url]").press("Enter")
    assert named_photo(page) == sha256(png(5)).hexdigest()
    assert page.locator(".answer figure img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 48
    assert page.faults == []


@SCRIPTS
def test_an_address_without_a_photo_says_so_and_stays(log_in_as: LogIn, scripts: bool) -> None:
    page, address = log_in_as("alice", java_script_enabled=scripts), "http://127.0.0.1/photo.png?a=<b>"
    open_address(page, address)
    page.locator("#send").click()
    page.get_by_text("The address must lead to a photo that everybody can see.").wait_for()
    assert page.locator("[name=url]").input_value() == address
    assert page.locator("[name=url]").is_visible()


def test_a_dropped_photo_is_shown_at_once_and_named(
    log_in_as: LogIn, photo_file: Path, png: Callable[[int], bytes]
) -> None:
    page = log_in_as("alice")
    page.dispatch_event("#drop", "dragenter", {"dataTransfer": transfer(page, photo_file)})
    assert "over" in page.locator("#drop").get_attribute("class").split()
    drop(page, "#drop", photo=photo_file)
    page.get_by_text("ready to send").wait_for()
    assert "over" not in page.locator("#drop").get_attribute("class").split()
    assert page.locator("#preview img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 48
    page.locator("#send").click()
    assert named_photo(page) == sha256(png(1)).hexdigest()
    assert page.faults == []


def test_what_is_no_photo_is_refused_at_once_and_the_page_stays(
    log_in_as: LogIn, photo_file: Path, tmp_path: Path
) -> None:
    page, text = log_in_as("alice"), tmp_path / "letter.txt"
    text.write_text("Dear Alice")
    drop(page, "footer", photo=text, kind="text/plain")  # a browser would open a file that is dropped beside the form
    page.get_by_text("This is not a photo.").wait_for()
    page.locator("#send").click()
    page.get_by_text("Choose a photo, or write the address of one.").wait_for()
    assert page.locator("#send").is_visible()
    drop(page, "footer", photo=photo_file)
    page.get_by_text("ready to send").wait_for()
    assert page.get_by_text("This is not a photo.").count() == 0


@pytest.mark.parametrize("place", ["main", "[name=url]"])
def test_a_pasted_photo_is_named(log_in_as: LogIn, photo_file: Path, png: Callable[[int], bytes], place: str) -> None:
    page = log_in_as("alice")
    page.locator("summary", has_text="photo from the web").click()
    page.locator(place).focus()
    paste(page, photo_file)
    page.get_by_text("ready to send").wait_for()
    assert page.locator("#preview img").is_visible()
    page.keyboard.press("Enter")  # the button has the focus now
    assert named_photo(page) == sha256(png(1)).hexdigest()
    assert page.faults == []


def test_what_was_named_last_is_sent(
    log_in_as: LogIn, photo_file: Path, photo_host: str, png: Callable[[int], bytes]
) -> None:
    page, address = log_in_as("alice"), f"http://{photo_host}/photo.png"
    at_address, in_file = sha256(png(5)).hexdigest(), sha256(png(1)).hexdigest()
    drop(page, "#drop", photo=photo_file)
    page.get_by_text("ready to send").wait_for()
    drop(page, "#drop", address=address)
    assert not page.locator("#preview img").is_visible()
    assert page.locator("[name=url]").input_value() == address
    page.locator("#send").click()
    assert named_photo(page) == at_address
    for by_address in (True, False):
        page.goto("/")
        if by_address:
            paste(page, photo_file)
            page.get_by_text("ready to send").wait_for()
            open_address(page, address)
        else:
            open_address(page, address)
            paste(page, photo_file)
            page.get_by_text("ready to send").wait_for()
        page.locator("#send").click()
        assert named_photo(page) == (at_address if by_address else in_file)


def test_without_scripts_a_person_says_what_it_is_instead(log_in_as: LogIn, photo_file: Path) -> None:
    page = log_in_as("alice", java_script_enabled=False)
    ask(page, photo_file)
    known, thanks = page.locator("th[scope=row]").nth(1).inner_text(), []
    for choice, name, said in (
        ("One of the species that I know", known, f"it is {known}."),
        ("Another species", "Hebeloma", "it is another species: Hebeloma."),
        ("Another species", "", "it is another species."),
        ("None of these", "", "it is none of the species."),
        ("I am not sure", "", "but you are not sure what it is."),
    ):
        page.locator("summary", has_text="Not OK").click()
        page.get_by_role("radio", name=choice).check()
        if name:
            page.get_by_role("radio", name=choice).locator("xpath=..").locator("input[maxlength]").fill(name)
        page.get_by_role("button", name="Send", exact=True).click()
        page.get_by_text(f"You said: wrong, {said}").wait_for()
        thanks.append(page.get_by_role("status").inner_text())
    stored = "Thank you. Your answer is stored with the photo, and experts see it when they review."
    until = "Thank you. Models learn nothing from this photo until an expert has looked at it."
    assert thanks == [until, *[stored] * 4]  # the first word against a harvested label takes the photo out
    page.goto("/photos")
    assert page.locator(".said").inner_text() == f"You said: wrong, {said}"


def test_without_scripts_a_name_that_is_missing_is_asked_for(log_in_as: LogIn, photo_file: Path) -> None:
    page = log_in_as("alice", java_script_enabled=False)
    ask(page, photo_file)
    page.locator("summary", has_text="Not OK").click()
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_text("Choose a name, or say below that it is another species.").wait_for()
    page.get_by_role("radio", name="I am not sure").check()  # the form is open
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_text("Thank you.").wait_for()
    page.goto("/photos")
    assert page.locator(".said").inner_text() == "You said: wrong, but you are not sure what it is."


def tab_to(page: Any, place: str) -> None:
    """Press Tab until an element of the page, which is there, has the focus, as a person does who has no mouse."""
    page.wait_for_load_state()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("(place) => document.activeElement.matches(place)", place):
            return
    raise AssertionError(f"no way by Tab to {place}")


def test_a_person_without_a_mouse_names_a_photo_and_says_what_it_is(
    open_browser: LogIn, add_account: Callable[[str, Role], Account], photo_file: Path
) -> None:
    add_account("alice", "user")
    page = open_browser()
    page.on("filechooser", lambda _chooser: None)  # so that the browser reports it: to switch that on takes a moment
    page.goto("/")
    page.keyboard.type("alice")  # the field has the focus
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="What is in your photo?").wait_for()
    tab_to(page, "#file")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(photo_file)
    page.get_by_text("ready to send").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url("**/answers/*")
    tab_to(page, ".looked summary")
    page.keyboard.press("Enter")
    page.wait_for_function("() => [...document.querySelectorAll('.layers img')].every((each) => each.naturalWidth)")
    page.reload()
    tab_to(page, ".opinion summary")
    page.keyboard.press("Enter")
    tab_to(page, "[name=what]")
    page.keyboard.press("ArrowDown")
    tab_to(page, "[name=other_name]")
    page.keyboard.type("Hebeloma")
    page.keyboard.press("Enter")
    page.get_by_text("another species: Hebeloma").wait_for()
    tab_to(page, "a[href='/photos']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/photos")
    tab_to(page, ".photos a[href$='/delete']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/delete")
    tab_to(page, "button.danger")
    page.keyboard.press("Enter")
    page.get_by_text("The photo is deleted.").wait_for()
    tab_to(page, ".session button")
    page.keyboard.press("Enter")
    page.get_by_text("You are logged out.").wait_for()
    assert page.faults == []


def test_a_phone_takes_a_photo_and_an_experts_word_is_its_label(
    log_in_as: LogIn, photo_file: Path, catalog: Catalog
) -> None:
    page = log_in_as("clementine", "expert", **PHONE)
    page.locator("#camera").set_input_files(photo_file)
    page.get_by_text("ready to send").wait_for()
    page.locator("#send").tap()
    page.wait_for_url("**/answers/*")
    name = page.locator("#name").inner_text()
    page.get_by_role("button", name="OK, that is right").tap()
    page.get_by_text("Your word counts as the label of this photo").wait_for()
    with catalog.begin() as connection:
        said = sa.select(items.c.class_names, items.c.label_origin)
        assert connection.execute(said).all() == [([name], "confirmed")]
