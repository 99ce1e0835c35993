"""Take the screenshots of this folder from a running service, with Chromium.

    .venv/bin/python docs/pages/take_screenshots.py http://127.0.0.1:8000 clementine photo.jpg [wrong.jpg]

It asks for the password of the account, an expert, logs in, names the photos, says that the answer to the last one is
wrong, and photographs each page: light and dark, at a desk and on a phone, in English and in French.
"""

import getpass
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

FOLDER = Path(__file__).parent
DESK = {"viewport": {"width": 1200, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def main(address: str, login: str, *photos: str) -> int:
    """Take all screenshots."""
    password = getpass.getpass(f"Password of {login}: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        desk = _open(browser, address, login, password, "login", color_scheme="light", locale="en-GB", **DESK)
        answers = [_name(desk, photo) for photo in photos]
        desk.goto(answers[-1])
        desk.get_by_text("Not OK", exact=True).click()
        desk.get_by_label("I am not sure").check()
        _take(desk, "not-ok")
        desk.get_by_role("button", name="Send").click()
        desk.goto(answers[0])
        looked = desk.get_by_text("Where the model looked")
        if looked.count():
            looked.click()
        _take(desk, "answer")
        for name, path in (
            ("photos", "/photos"),
            ("account", "/account"),
            ("review", "/review/waiting"),
            ("review-mispredicted", "/review/mispredicted"),
            ("dashboard", "/dashboard"),
            ("problem", "/nowhere"),
        ):
            desk.goto(path)
            _take(desk, name)
        dark = _open(browser, address, login, password, "login-dark", color_scheme="dark", locale="fr-FR", **DESK)
        dark.goto(answers[0])
        _take(dark, "answer-dark-french")
        phone = _open(browser, address, login, password, "login-phone", color_scheme="light", locale="en-GB", **PHONE)
        phone.locator("#file").set_input_files(photos[0])
        phone.get_by_text("ready to send").wait_for()
        _take(phone, "name-phone")
        phone.goto(answers[0])
        _take(phone, "answer-phone")
        phone.goto("/photos")
        _take(phone, "photos-phone")
        browser.close()
    return 0


def _open(browser: Browser, address: str, login: str, password: str, name: str, **options: object) -> Page:
    page = browser.new_context(base_url=address, **options).new_page()  # type: ignore[arg-type]
    page.goto("/login")
    _take(page, name)
    page.locator("[name=login]").fill(login)
    page.locator("[name=password]").fill(password)
    page.locator("#login-form button").click()
    page.wait_for_url("**/")
    return page


def _name(page: Page, photo: str) -> str:
    page.goto("/")
    page.locator("#file").set_input_files(photo)
    page.get_by_text("ready to send").or_(page.get_by_text("scaled down, and")).first.wait_for()
    _take(page, "name")
    page.locator("#send").click()
    page.wait_for_url("**/answers/*")
    return page.url


def _take(page: Page, name: str) -> None:
    for image in page.locator("main img:visible").all():
        image.scroll_into_view_if_needed()  # those further down load when they are seen
    page.evaluate("() => scrollTo(0, 0)")
    page.wait_for_load_state("networkidle")
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    with Image.open(path) as picture:  # a quarter of the bytes
        picture.convert("RGB").quantize(192, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
