"""My photos and my account: what is listed, deleted, taken along and erased, and only mine."""

import io
import json
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from ml.catalog.accounts.tokens import issue_token
from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.database import Catalog
from ml.catalog.tables import accounts, images
from webapi.access.session_cookie import SESSION_COOKIE

PASSWORD = "correct horse battery"
SendForm = Callable[..., TestResponse]
ANSWERS = re.compile(r'href="/answers/(\d+)"')
PHOTOS = re.compile(r"/photos/([0-9a-f]{64})/thumbnail")


@pytest.fixture
def log_in(
    app: Flask,
    add_account: Callable[[str, Role], Account],
    catalog: Catalog,
    serve_version: Callable[[int], None],
) -> Callable[..., FlaskClient]:
    """Makes clients with the session of a new account, while version 1 answers."""
    serve_version(1)

    def new(login: str, role: Role = "user") -> FlaskClient:
        account, client = add_account(login, role), app.test_client()
        with catalog.begin() as connection:
            client.set_cookie(SESSION_COOKIE, issue_token(connection, account.id, timedelta(hours=1)).token)
        return client

    return new


@pytest.fixture
def ask(send_form: SendForm, png: Callable[[int], bytes]) -> Callable[[FlaskClient, int], str]:
    """Names a photo, and gives the address of its answer."""

    def name(client: FlaskClient, number: int) -> str:
        answer = send_form(client, "/", file=(io.BytesIO(png(number)), "photo.png"))
        assert answer.status_code == 303, answer.text
        return str(answer.location)

    return name


def test_photos_are_listed_newest_first_with_what_was_said(
    log_in: Callable[..., FlaskClient], ask: Callable[..., str], send_form: SendForm
) -> None:
    alice, eve = log_in("alice"), log_in("eve")
    first, second = ask(alice, 1), ask(alice, 2)
    again = ask(alice, 1)
    other = ask(eve, 3)
    send_form(alice, second, verdict="nok", what="other", other_name="Hebeloma radicosum")
    page = alice.get("/photos").text
    assert [f"/answers/{number}" for number in ANSWERS.findall(page)] == [again, second]
    assert "another species: Hebeloma radicosum" in page
    assert first not in page
    assert other not in page
    assert alice.get(other).status_code == 404
    assert ANSWERS.findall(alice.get("/photos?said=nok").text) == [second.rpartition("/")[2]]
    assert ANSWERS.findall(alice.get("/photos?said=nothing").text) == [again.rpartition("/")[2]]
    assert "No photo fits" in alice.get("/photos?species=nonsense").text


def test_photos_come_in_pages(
    log_in: Callable[..., FlaskClient], ask: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from webapi.pages.page_views import own_photo_pages

    monkeypatch.setattr(own_photo_pages, "_PAGE_SIZE", 2)
    alice = log_in("alice")
    asked = [ask(alice, number) for number in range(5)]
    seen: list[str] = []
    path: str | None = "/photos"
    while path:
        page = alice.get(path).text
        seen += [f"/answers/{number}" for number in ANSWERS.findall(page)]
        older = re.findall(r'rel="next" href="([^"]+)"', page)
        path = older[0].replace("&amp;", "&") if older else None
    assert seen == asked[::-1]
    assert alice.get("/photos?from=nonsense").status_code == 200


def test_a_thumbnail_is_small_cached_and_only_for_who_may_see_the_photo(
    log_in: Callable[..., FlaskClient], ask: Callable[..., str]
) -> None:
    alice, eve, clementine = log_in("alice"), log_in("eve"), log_in("clementine", "expert")
    ask(alice, 1)
    path = f"/photos/{PHOTOS.findall(alice.get('/photos').text)[0]}/thumbnail"
    answer = alice.get(path)
    with Image.open(io.BytesIO(answer.data)) as image:
        assert (image.format, max(image.size) <= 320) == ("JPEG", True)
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert alice.get(path, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert clementine.get(path).status_code == 200
    assert eve.get(path).status_code == 404
    assert eve.get(path, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/photos/{}/thumbnail", "/photos/{}/photo", "/known/{}/thumbnail", "/photos/{}/delete", "/review/similar/{}"],
)
def test_there_is_no_photo_under_a_strange_name(log_in: Callable[..., FlaskClient], path: str) -> None:
    client = log_in("alice", "expert")
    for sha256 in ("0" * 64, "%00" * 64, "../../etc/passwd", "é" * 64, "0" * 63):
        assert (sha256, client.get(path.format(sha256)).status_code) == (sha256, 404)


def test_nothing_has_a_name_with_a_nul(
    log_in: Callable[..., FlaskClient], ask: Callable[..., str], send_form: SendForm
) -> None:
    alice = log_in("alice", "expert")
    path = ask(alice, 1)
    for address, status in (
        ("/photos?species=%00", 200),
        ("/photos?said=%00", 200),
        ("/photos?from=%00", 200),
        ("/review/waiting?class=%00", 200),
        ("/review/waiting?class=a%00b&batch=%00", 200),
        ("/review/waiting?cursor=%00", 422),
        ("/login?next=%00", 303),
    ):
        assert (address, alice.get(address).status_code) == (address, status)
    card = {"item": "0" * 64, "seen": "0" * 16, "label": "a"}
    for address, fields in (
        *(("/review/waiting", {"shown": json.dumps({**card, name: "\0"})}) for name in card),
        (path, {"verdict": "nok", "what": "known", "label": "\0"}),
        (path, {"verdict": "nok", "what": "other", "other_name": "a\0b"}),
    ):
        assert send_form(alice, address, **fields).status_code == 422, fields


def test_a_deleted_photo_is_gone_with_its_thumbnail(
    log_in: Callable[..., FlaskClient], ask: Callable[..., str], send_form: SendForm, catalog: Catalog
) -> None:
    alice = log_in("alice")
    answer = ask(alice, 1)
    sha256 = PHOTOS.findall(alice.get("/photos").text)[0]
    assert alice.get(f"/photos/{sha256}/thumbnail").status_code == 200
    assert alice.get(f"/photos/{sha256}/delete").status_code == 200
    assert send_form(alice, f"/photos/{sha256}/delete").location == "/photos"
    assert "The photo is deleted." in alice.get("/photos").text
    assert alice.get(f"/photos/{sha256}/thumbnail").status_code == 404
    assert alice.get(answer).status_code == 404
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(images)) == 0


def test_my_data_come_as_a_file(log_in: Callable[..., FlaskClient], ask: Callable[..., str]) -> None:
    alice = log_in("alice")
    ask(alice, 1)
    answer = alice.get("/account/data")
    assert "attachment" in answer.headers["Content-Disposition"]
    assert json.loads(answer.text)["account"]["login"] == "alice"


def test_a_new_password_ends_all_other_sessions_but_not_this_one(
    app: Flask, log_in: Callable[..., FlaskClient], send_form: SendForm
) -> None:
    alice, elsewhere = log_in("alice"), app.test_client()
    send_form(elsewhere, "/login", login="alice", password=PASSWORD)
    assert elsewhere.get("/").status_code == 200
    new = "another long password"
    fields = {"password": PASSWORD, "new_password": new, "again_password": new}
    for wrong, words in (
        ({"password": "wrong"}, "not your present password"),
        ({"new_password": "short", "again_password": "short"}, "12 characters or more"),
        ({"again_password": "something else"}, "Both must be the same"),
    ):
        answer = send_form(alice, "/account/password", **{**fields, **wrong})
        assert answer.status_code in {403, 422}
        assert words in answer.text
        assert new not in answer.text
    assert send_form(alice, "/account/password", **fields).location == "/account"
    assert "Your password is changed" in alice.get("/account").text
    assert elsewhere.get("/").status_code == 303
    assert send_form(app.test_client(), "/login", login="alice", password=new).status_code == 303


def test_an_account_is_erased_only_with_its_password(
    log_in: Callable[..., FlaskClient], send_form: SendForm, catalog: Catalog
) -> None:
    alice, _ = log_in("alice"), log_in("bob", "admin")
    assert send_form(alice, "/account/erase", password="wrong").status_code == 403
    answer = send_form(alice, "/account/erase", password=PASSWORD)
    assert answer.location == "/login"
    assert "Your account and your photos are erased." in alice.get("/login").text
    with catalog.begin() as connection:
        assert list(connection.scalars(sa.select(accounts.c.login))) == ["bob"]


def test_the_last_admin_stays_and_is_told_why(log_in: Callable[..., FlaskClient], send_form: SendForm) -> None:
    answer = send_form(log_in("bob", "admin"), "/account/erase", password=PASSWORD)
    assert (answer.status_code, "only admin" in answer.text) == (409, True)


def test_nok_says_what_it_is(log_in: Callable[..., FlaskClient], ask: Callable[..., str], send_form: SendForm) -> None:
    alice = log_in("alice")
    path = ask(alice, 1)
    for what, said in (
        ({"what": "known", "label": "Boletus "}, "it is boletus"),
        ({"what": "other", "other_name": "Hebeloma"}, "another species: Hebeloma"),
        ({"what": "other", "other_name": "BOLETUS"}, "it is boletus"),
        ({"what": "other"}, "it is another species"),
        ({"what": "none"}, "none of the species"),
        ({"what": "unsure"}, "not sure what it is"),
    ):
        assert send_form(alice, path, verdict="nok", **what).location == path
        page = alice.get(path).text
        assert said in page
        assert "Thank you." in page


def test_an_opinion_that_does_not_fit_is_shown_again_with_what_was_typed(
    log_in: Callable[..., FlaskClient], ask: Callable[..., str], send_form: SendForm
) -> None:
    alice = log_in("alice")
    path = ask(alice, 1)
    fields: dict[str, str]
    for fields in (
        {"verdict": "nok", "what": "known", "label": ""},
        {"verdict": "nok", "what": "known", "label": "unheard of"},
        {"verdict": "nok", "what": "other", "other_name": "\u202etxt"},
        {"verdict": "maybe"},
        {"verdict": "nok", "what": "known", "label": "x" * 300},
    ):
        answer = send_form(alice, path, **fields)
        assert answer.status_code == 422, fields
        assert ("Nobody has used this name yet" in answer.text) == (fields.get("label") == "unheard of")
        for typed in (fields.get("label"), fields.get("other_name")):
            assert not typed or typed in answer.text
