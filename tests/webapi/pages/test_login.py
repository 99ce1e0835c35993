"""Log in and out: the cookie, the form's token, and the way back to the page that was asked for."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, url_for
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ml.catalog.accounts.tokens import IssuedToken, issue_token, revoke_tokens
from ml.catalog.accounts.user_accounts import Account, Role, StoredAccount, reset_account
from ml.catalog.database import Catalog
from ml.catalog.tables import metadata, tokens
from ml.settings import Settings
from tests.application import application_as_web
from webapi.access import sessions
from webapi.access.session_cookie import SESSION_COOKIE, reads_cookie
from webapi.pages.page_views import naming_pages

PASSWORD = "correct horse battery"
TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
SendForm = Callable[..., TestResponse]


@pytest.fixture
def alice(add_account: Callable[[str, Role], Account]) -> Account:
    return add_account("alice", "user")


def cookie_of(answer: TestResponse) -> str:
    """The session's Set-Cookie header."""
    (header,) = [each for each in answer.headers.getlist("Set-Cookie") if each.startswith(f"{SESSION_COOKIE}=")]
    return header


def test_the_cookie_is_a_session_token_that_scripts_and_other_sites_do_not_get(
    alice: Account, client: FlaskClient, send_form: SendForm, catalog: Catalog
) -> None:
    answer = send_form(client, "/login", login="alice", password=PASSWORD)
    assert (answer.status_code, answer.location) == (303, "/")
    header = cookie_of(answer)
    assert "HttpOnly" in header
    assert "SameSite=Lax" in header
    assert "Secure" not in header
    token = header.split("=")[1].split(";")[0]
    assert client.get("/user", headers={"Authorization": f"Bearer {token}"}).json == {"login": "alice", "role": "user"}
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tokens)) == 1


def test_behind_tls_the_cookies_are_secure(settings: Settings, alice: Account, send_form: SendForm) -> None:
    with application_as_web(settings.model_copy(update={"trusted_proxies": 1})) as app:
        client = app.test_client()
        client.environ_base["HTTP_X_FORWARDED_PROTO"] = "https"
        answer = send_form(client, "/login", "https://localhost", login="alice", password=PASSWORD)
    assert answer.status_code == 303
    for header in answer.headers.getlist("Set-Cookie"):
        assert "Secure" in header, header


def test_without_a_session_a_page_leads_to_the_login_and_back(
    alice: Account, client: FlaskClient, send_form: SendForm
) -> None:
    answer = client.get("/answers/12")
    assert answer.status_code == 303
    assert answer.location == "/login?next=/answers/12"
    assert "WWW-Authenticate" not in answer.headers
    assert 'name="next" type="hidden" value="/answers/12"' in client.get(answer.location).text
    answer = send_form(client, answer.location, login="alice", password=PASSWORD, next="/answers/12")
    assert answer.location == "/answers/12"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "///evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/nowhere",
        "/user/data",
        "evil",
        "",
    ],
)
def test_nobody_is_led_to_another_site_after_logging_in(
    alice: Account, client: FlaskClient, send_form: SendForm, elsewhere: str
) -> None:
    answer = send_form(client, "/login", login="alice", password=PASSWORD, next=elsewhere)
    assert (answer.status_code, answer.location) == (303, "/")
    assert client.get("/language", query_string={"to": "fr", "next": elsewhere}).location == "/"


@pytest.mark.parametrize("path", ["/", "/answers/1", "/photos/" + "0" * 64 + "/thumbnail"])
def test_pages_take_neither_basic_credentials_nor_bearer_tokens(
    alice: Account, client: FlaskClient, user: FlaskClient, path: str
) -> None:
    for answer in (client.get(path, auth=("alice", PASSWORD)), user.get(path)):
        assert answer.status_code == 303
        assert "WWW-Authenticate" not in answer.headers


def test_the_api_does_not_take_the_cookie(alice: Account, client: FlaskClient, send_form: SendForm) -> None:
    send_form(client, "/login", login="alice", password=PASSWORD)
    assert client.get("/").status_code == 200
    for method, path in (("GET", "/user"), ("DELETE", "/user"), ("POST", "/predictions"), ("POST", "/auth/logout")):
        assert client.open(path, method=method).status_code == 401, path


def test_a_wrong_password_says_so_without_a_challenge_and_keeps_what_was_typed(
    alice: Account, client: FlaskClient, send_form: SendForm
) -> None:
    answer = send_form(client, "/login?next=/answers/3", login="alice", password="wrong", next="/answers/3")
    assert answer.status_code == 401
    assert "WWW-Authenticate" not in answer.headers
    assert "do not fit together" in answer.text
    assert 'value="alice"' in answer.text
    assert 'value="/answers/3"' in answer.text
    assert "wrong" not in answer.text.split("<main")[1].split("</main>")[0]


def test_logging_in_is_throttled_like_the_api(settings: Settings, alice: Account, send_form: SendForm) -> None:
    with application_as_web(settings.model_copy(update={"login_rate_limit": "2 per minute"})) as app:
        client = app.test_client()
        statuses = [send_form(client, "/login", login="alice", password="wrong").status_code for _ in range(2)]
        api = client.post("/auth/login", json={"login": "alice", "password": PASSWORD})
        answer = send_form(client, "/login", login="alice", password=PASSWORD)
    assert (statuses, api.status_code, answer.status_code) == ([401, 401], 429, 429)
    assert "Wait a minute" in answer.text
    assert 'value="alice"' in answer.text


@pytest.mark.parametrize("how", ["expired", "revoked", "disabled", "forged"])
def test_a_session_ends_as_a_token_does(
    alice: Account, app: Flask, client: FlaskClient, catalog: Catalog, how: str
) -> None:
    with catalog.begin() as connection:
        token = issue_token(connection, alice.id, timedelta(hours=1)).token
    client.set_cookie(SESSION_COOKIE, "x" + token if how == "forged" else token)
    assert client.get("/").status_code == (303 if how == "forged" else 200)
    with catalog.begin() as connection:
        if how == "expired":
            connection.execute(sa.update(tokens).values(expires_at=sa.func.now() - timedelta(seconds=1)))
        if how == "revoked":
            revoke_tokens(connection, alice.id)
        if how == "disabled":
            connection.execute(sa.text("UPDATE users.accounts SET disabled_at = now()"))
    answer = client.get("/")
    assert (answer.status_code, answer.location) == (303, "/login?next=/")


def test_logging_out_revokes_the_token(alice: Account, client: FlaskClient, send_form: SendForm) -> None:
    answer = send_form(client, "/login", login="alice", password=PASSWORD)
    token = cookie_of(answer).split("=")[1].split(";")[0]
    answer = send_form(client, "/", "http://localhost", action="/logout")
    assert answer.location == "/login"
    assert client.get("/user", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    assert client.get("/").status_code == 303


@pytest.mark.parametrize("token", [None, "nonsense", "of somebody else"])
def test_a_form_without_its_token_does_nothing(
    add_account: Callable[[str, Role], Account],
    app: Flask,
    client: FlaskClient,
    send_form: SendForm,
    catalog: Catalog,
    token: Any,
) -> None:
    add_account("alice", "admin")
    send_form(client, "/login", login="alice", password=PASSWORD)
    new = {"new_password": "another long password", "again_password": "another long password"}
    fields = {"login": "alice", "password": PASSWORD, "url": "https://a.example/b.jpg", "verdict": "ok", **new}
    if token == "of somebody else":
        token = TOKEN.findall(app.test_client().get("/login").text)[0]
    before = rows_of(catalog)
    for path in form_pages(app):
        answer = client.post(path, data=fields if token is None else {**fields, "csrf_token": token})
        assert (path, answer.status_code) == (path, 400)
        assert "open for too long" in answer.text, path
        assert client.get("/").status_code == 200, path  # and nobody is logged out
    assert rows_of(catalog) == before


def form_pages(app: Flask) -> list[str]:
    """The addresses of all pages that take forms."""
    values = {"sha256": "0" * 64, "queue": "waiting", "login": "nobody", "settlement": "certify"}
    values |= dict.fromkeys(("prediction_id", "version", "batch_id", "prediction_batch_id"), "1")
    rules = [rule for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())]
    with app.test_request_context():
        found = [
            url_for(rule.endpoint, **{name: values[name] for name in rule.arguments})
            for rule in rules
            if reads_cookie(app, rule.endpoint)
        ]
    assert {"/", "/login", "/logout", "/answers/1", "/review/waiting", "/account/erase"} <= set(found)
    return found


def rows_of(catalog: Catalog) -> dict[str, list[str]]:
    with catalog.begin() as connection:
        return {
            name: sorted(map(repr, connection.execute(sa.select(table)).all()))
            for name, table in metadata.tables.items()
        }


def test_what_another_site_sends_is_neither_shown_nor_kept(alice: Account, app: Flask) -> None:
    for path in form_pages(app):
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://a.evil"}):
            answer = app.test_client().post(path, data={"url": "read this"}, headers=headers)
            assert (path, answer.status_code) == (path, 403)
            assert "read this" not in answer.text, path
            assert "Set-Cookie" not in answer.headers, path
    own = app.test_client().post("/", data={"url": "read this"}, headers={"Origin": "null"})  # a browser without TLS
    assert (own.status_code, "read this" in own.text) == (401, True)


def test_logging_in_over_a_session_ends_that_one(alice: Account, client: FlaskClient, send_form: SendForm) -> None:
    send_form(client, "/login", login="alice", password=PASSWORD)
    cookie = client.get_cookie(SESSION_COOKIE)
    assert cookie is not None
    form_token = TOKEN.findall(client.get("/").text)[0]
    answer = client.post("/login", data={"login": "alice", "password": PASSWORD, "csrf_token": form_token})
    assert answer.status_code == 303
    assert client.get("/").status_code == 200
    assert client.get("/user", headers={"Authorization": f"Bearer {cookie.value}"}).status_code == 401


def test_no_session_begins_with_a_password_that_was_reset_meanwhile(
    alice: Account, client: FlaskClient, catalog: Catalog, send_form: SendForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_form(client, "/login", login="alice", password=PASSWORD)
    begin = sessions.begin

    def reset_before(stored: StoredAccount | None) -> IssuedToken:
        reset_account(catalog, "alice", "what an admin chose")
        return begin(stored)

    monkeypatch.setattr(sessions, "begin", reset_before)
    new = "another long password"
    send_form(client, "/account/password", password=PASSWORD, new_password=new, again_password=new)
    assert client.get("/").location == "/login?next=/"
    assert send_form(client, "/login", login="alice", password=PASSWORD).status_code == 401


def test_a_page_that_cannot_be_shown_again_does_not_hide_what_happened(
    alice: Account, client: FlaskClient, send_form: SendForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ValueError("broken")

    send_form(client, "/login", login="alice", password=PASSWORD)
    monkeypatch.setattr(naming_pages, "prefill", fail)
    answer = client.post("/", data={"url": "x"})
    assert (answer.status_code, "open for too long" in answer.text) == (400, True)


def test_the_first_start_says_how_to_make_an_account(
    client: FlaskClient, add_account: Callable[[str, Role], Account]
) -> None:
    assert "mycoflow user add me --role admin" in client.get("/login").text
    add_account("alice", "user")
    assert "mycoflow user add" not in client.get("/login").text


def test_who_is_logged_in_is_not_asked_again(alice: Account, client: FlaskClient, send_form: SendForm) -> None:
    send_form(client, "/login", login="alice", password=PASSWORD)
    assert client.get("/login?next=/answers/3").location == "/answers/3"


def test_what_was_typed_before_a_session_ended_is_there_after_the_next_login(
    alice: Account, client: FlaskClient, send_form: SendForm, catalog: Catalog
) -> None:
    typed = 'https://photos.example/a b?x="<b>&amp;' + "é" * 500
    send_form(client, "/login", login="alice", password=PASSWORD)
    token = TOKEN.findall(client.get("/").text)[0]
    with catalog.begin() as connection:
        revoke_tokens(connection, alice.id)
    answer = client.post("/", data={"url": typed, "csrf_token": token})
    assert answer.status_code == 401
    assert "<b>" not in answer.text
    hidden = dict(re.findall(r'<input id="\w+" name="(next|kept)" type="hidden" value="([^"]*)">', answer.text))
    fields = {name: unescape(value) for name, value in hidden.items()}
    form_token = TOKEN.findall(answer.text)[0]
    wrong = client.post("/login", data={"login": "alice", "password": "wrong", "csrf_token": form_token, **fields})
    assert unescape(re.findall(r'name="kept" type="hidden" value="([^"]*)"', wrong.text)[0]) == fields["kept"]
    answer = client.post("/login", data={"login": "alice", "password": PASSWORD, "csrf_token": form_token, **fields})
    assert answer.status_code == 200
    assert unescape(re.findall(r'name="url"[^>]* value="([^"]*)"', answer.text)[0]) == typed
