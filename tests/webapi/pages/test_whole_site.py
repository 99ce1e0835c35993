"""What holds for every page: without barriers, light, safe, in French, on a phone, and when things go wrong."""

import gzip
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image, ImageOps
from werkzeug.test import TestResponse

from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.reviews.review_queues import QUEUES
from ml.errors import DatabaseUnavailableError
from tests.webapi.pages.conftest import PASSWORD, PHONE, ask, find_barriers, log_in_here
from webapi import application_state

MOST_BYTES = 150 * 1024
MARKUP = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>'\"&"


def list_paths(answer: str, image: str) -> list[str]:
    """All pages that an expert sees."""
    review = [f"/review/{queue}" for queue in QUEUES]
    account = ["/account", "/account/password", "/account/erase"]
    return ["/", answer, "/photos", f"/photos/{image}/delete", *account, "/review", *review, "/dashboard", "/nowhere"]


def test_no_page_has_a_serious_barrier_in_light_or_dark(log_in_as: Callable[..., Any], photo_file: Path) -> None:
    page = log_in_as("clementine", "expert")
    answer = ask(page, photo_file)
    page.locator("summary", has_text="Not OK").click()
    assert find_barriers(page) == []
    page.goto("/photos")
    image = re.findall(r"/photos/([0-9a-f]{64})/thumbnail", page.content())[0]
    for path in list_paths(answer, image):
        page.goto(path)
        assert (path, find_barriers(page)) == (path, [])
    page.goto("/")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    assert find_barriers(page) == []
    log_in_here(page, "clementine", "wrong")
    page.get_by_text("do not fit together").wait_for()
    assert find_barriers(page) == []


def test_the_first_start_has_no_barrier_and_is_dark_where_people_want_it(open_browser: Callable[..., Any]) -> None:
    page = open_browser()
    page.goto("/login")
    page.get_by_text("Nobody has an account yet").wait_for()
    assert find_barriers(page) == []
    ground = "() => getComputedStyle(document.documentElement).backgroundColor"
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert light == "rgb(255, 255, 255)"
    assert max(map(int, re.findall(r"\d+", page.evaluate(ground))[:3])) < 64


def test_pages_are_light_and_ask_no_other_site(log_in_as: Callable[..., Any], photo_file: Path) -> None:
    page = log_in_as("clementine", "expert")
    answer = ask(page, photo_file)
    for path in ("/", answer, "/photos", "/review/uncertain"):
        sizes: list[int] = []

        def weigh(response: Any, sizes: list[int] = sizes) -> None:
            if response.request.resource_type != "image" or response.url.endswith(".svg"):
                sizes.append(len(gzip.compress(response.body())))

        page.on("response", weigh)
        page.goto(path, wait_until="networkidle")
        page.remove_listener("response", weigh)
        assert 0 < sum(sizes) < MOST_BYTES, path
        hosts = page.evaluate("() => performance.getEntriesByType('resource').map(each => new URL(each.name).host)")
        assert set(hosts) <= {page.evaluate("() => location.host")}
    assert page.faults == []


def test_every_page_has_the_strict_policy(
    app: Flask, add_account: Callable[[str, Role], Account], send_form: Callable[..., TestResponse]
) -> None:
    add_account("clementine", "expert")
    client = app.test_client()
    assert_strict(client.get("/login"))
    assert_strict(client.get("/nowhere", headers={"Accept": "text/html"}))
    send_form(client, "/login", login="clementine", password=PASSWORD)
    for path in ("/", "/photos", "/account", "/review", "/review/waiting", "/answers/1", "/dashboard"):
        assert_strict(client.get(path))
    assert_strict(client.post("/", data={}))


def assert_strict(answer: TestResponse) -> None:
    assert answer.mimetype == "text/html"
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert part in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", answer.text)


def test_a_phone_shows_every_page_without_scrolling_sideways_in_french(
    log_in_as: Callable[..., Any], photo_file: Path
) -> None:
    page = log_in_as("clementine", "expert", locale="fr-FR", timezone_id="Pacific/Auckland", **PHONE)
    assert page.get_by_role("heading", name="Qu\u2019y a-t-il sur votre photo ?").is_visible()
    assert page.locator("label.camera").is_visible()
    answer = ask(page, photo_file)
    assert page.locator("html").get_attribute("lang") == "fr"
    assert page.get_by_role("button", name="OK, c\u2019est juste").is_visible()
    assert "UTC" not in page.locator("figcaption time").inner_text()
    page.goto("/photos")
    image = re.findall(r"/photos/([0-9a-f]{64})/thumbnail", page.content())[0]
    for path in list_paths(answer, image):
        page.goto(path)
        assert (path, page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")) == (path, True)
    page.goto("/account")
    page.get_by_role("link", name="English").click()
    assert page.get_by_role("heading", name="My account").is_visible()


def test_times_are_in_the_readers_zone(log_in_as: Callable[..., Any], photo_file: Path) -> None:
    shown = []
    for login, zone in (("a", "Pacific/Auckland"), ("b", "America/Lima")):
        page = log_in_as(login, timezone_id=zone)
        ask(page, photo_file)
        moment = page.locator("figcaption time")
        shown.append((moment.inner_text(), moment.get_attribute("datetime")))
    assert shown[0][0].split(":")[0] != shown[1][0].split(":")[0]
    assert shown[0][1].endswith("+00:00")


@pytest.mark.parametrize(
    "turned", [6, pytest.param(3, marks=pytest.mark.slow), pytest.param(8, marks=pytest.mark.slow)]
)
def test_a_phones_photo_is_scaled_down_upright(log_in_as: Callable[..., Any], tmp_path: Path, turned: int) -> None:
    """Its EXIF says how the phone was held: a quarter, a half or three quarters of a turn from how it stored it."""
    pixels = np.random.default_rng(0).integers(0, 120, (3000, 4000, 3), np.uint8)
    pixels[:, :2000, 0] += 130
    pixels[:1000, :, 2] += 100
    exif = Image.Exif()
    exif[0x0112] = turned
    path = tmp_path / "phone.jpg"
    Image.fromarray(pixels).save(path, quality=97, exif=exif)
    assert path.stat().st_size > 4 * 1024 * 1024
    page = log_in_as("alice", **PHONE)
    page.locator("#file").set_input_files(path)
    page.get_by_text("It was scaled down").wait_for()
    assert page.locator("#preview img").is_visible()
    page.locator("#send").click()
    page.wait_for_url("**/answers/*")
    source = page.locator(".answer figure img").get_attribute("src")
    stored = page.request.get(source).body()
    assert len(stored) < 4 * 1024 * 1024
    with Image.open(io.BytesIO(stored)) as image, Image.open(path) as taken:
        upright = ImageOps.exif_transpose(taken)
        assert upright.width / upright.height == pytest.approx(image.width / image.height, rel=0.01)
        assert max(image.size) == 2048
        shown, true = (np.asarray(each.convert("RGB").resize((16, 16)), float) for each in (image, upright))
    assert np.abs(shown - true).mean() < 8


def test_a_photo_that_this_browser_cannot_scale_down_says_so(log_in_as: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "phone.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(5 * 1024 * 1024))
    page = log_in_as("alice", **PHONE)
    page.locator("#file").set_input_files(path)
    page.get_by_text("this browser cannot scale it down").wait_for()
    assert not page.locator("#preview img").is_visible()


def test_markup_in_any_field_stays_text(
    log_in_as: Callable[..., Any], add_account: Callable[[str, Role], Account], photo_file: Path
) -> None:
    page = log_in_as("alice")
    answer = ask(page, photo_file)
    for path, place in (
        ("/", "[name=url]"),
        (answer, "[name=label]"),
        (answer, "[name=other_name]"),
        ("/account/password", "[name=password]"),
        ("/account/password", "[name=new_password]"),
        ("/account/erase", "[name=password]"),
        ("/photos?species=" + "%3Cscript%3Ealert(1)%3C/script%3E", "[name=species]"),
    ):
        page.goto(path)
        page.evaluate("() => document.querySelectorAll('details').forEach(each => { each.open = true; })")
        field = page.locator(place).first
        if field.evaluate("each => each.tagName") == "INPUT":
            field.evaluate("(each, text) => { each.type = 'text'; each.value = text; }", MARKUP)
            if place == "[name=other_name]":
                page.get_by_label("Another species").check()
            with page.expect_navigation():
                field.evaluate("each => HTMLFormElement.prototype.submit.call(each.form)")
        assert "hacked" not in page.title()
        assert page.locator("main script, main img[src=x]").count() == 0
    page.goto("/photos")
    assert page.locator("main script, main img[src=x]").count() == 0
    assert "hacked" not in page.title()


def test_a_login_with_markup_stays_text(open_browser: Callable[..., Any]) -> None:
    page = open_browser()
    page.goto("/login?next=" + "%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    page.locator("[name=login]").fill(MARKUP[:64])
    page.locator("[name=password]").fill(MARKUP)
    page.locator("#login-form button").click()
    page.get_by_text("do not fit together").wait_for()
    assert page.locator("main script, main img[src=x]").count() == 0
    assert page.locator("[name=login]").input_value() == MARKUP[:64]


@pytest.mark.parametrize("path", ["/", "/login", "/photos", "/review", "/dashboard"])
def test_without_the_database_a_page_says_so(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def fail() -> None:
        raise DatabaseUnavailableError("Expected a database at postgresql://secret, got none.")

    monkeypatch.setattr(application_state.current(app).database, "catalog", fail)
    client.set_cookie("mycoflow_session", "a-token")
    for language, words in (("en", "The database does not answer"), ("fr", "La base de données ne répond pas")):
        answer = client.get(path, headers={"Accept": "text/html", "Accept-Language": language})
        assert (answer.status_code, answer.mimetype) == (503, "text/html")
        assert words in answer.text
        assert "Retry-After" in answer.headers
        assert f'href="{path}"' in answer.text  # to try again
        assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"no photo", "This is not a photo"),
        (b"x" * (4 * 1024 * 1024 + 100_000), "too large"),
    ],
)
def test_a_photo_that_is_refused_says_why_and_keeps_the_form(
    app: Flask,
    add_account: Callable[[str, Role], Account],
    send_form: Callable[..., TestResponse],
    serve_version: Callable[[int], None],
    content: bytes,
    words: str,
) -> None:
    serve_version(1)
    add_account("alice", "user")
    client = app.test_client()
    send_form(client, "/login", login="alice", password=PASSWORD)
    answer = send_form(client, "/", file=(io.BytesIO(content), "photo.jpg"), url="")
    assert answer.status_code in {413, 415, 422}
    assert words in answer.text
    assert 'id="photo-form"' in answer.text
