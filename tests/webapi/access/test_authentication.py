"""Who gets in, with what, and how often argon2 is paid for it."""

import threading
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import TestResponse

from ml.catalog.accounts.tokens import issue_token
from ml.catalog.accounts.user_accounts import Account, Role, disable_account, find_account, reset_account
from ml.catalog.database import Catalog
from ml.catalog.tables import accounts, tokens
from ml.settings import Settings
from tests.application import add_to_api
from webapi.access import limits
from webapi.access.authentication import requires
from webapi.access.passwords import PasswordChecker
from webapi.factory import create_app

PASSWORD = "correct horse battery"
Add = Callable[[str, Role], Account]
LogIn = Callable[..., FlaskClient]


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every argon2 verification adds an entry; each is really done."""
    done: list[str] = []
    verify = PasswordHasher.verify

    def counting(self: PasswordHasher, *arguments: Any) -> bool:
        done.append("argon2")
        return verify(self, *arguments)

    monkeypatch.setattr(PasswordHasher, "verify", counting)
    return done


def ask(client: FlaskClient, login: str, password: str = PASSWORD, **headers: str) -> TestResponse:
    return client.get("/user", auth=(login, password), headers=headers)


def log_in(client: FlaskClient, login: str, password: str = PASSWORD) -> TestResponse:
    return client.post("/auth/login", json={"login": login, "password": password})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("needed", "allowed"),
    [("user", {"user", "expert", "admin"}), ("expert", {"expert", "admin"}), ("admin", {"admin"})],
)
def test_a_role_opens_its_own_doors_and_those_below(
    app: Flask, log_in: LogIn, needed: Role, allowed: set[Role]
) -> None:
    @requires(needed)
    def door() -> str:
        return "open"

    add_to_api(app, "/door", door)
    statuses = {role: log_in(role).get("/door").status_code for role in ("user", "expert", "admin")}
    assert statuses == {role: 200 if role in allowed else 403 for role in statuses}
    assert app.test_client().get("/door").status_code == 401


def test_a_route_that_says_nothing_is_the_admins(app: Flask, user: FlaskClient, admin: FlaskClient) -> None:
    add_to_api(app, "/forgotten", lambda: "open")
    assert [client.get("/forgotten").status_code for client in (app.test_client(), user, admin)] == [401, 403, 200]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic ====",
        "Basic " + b64encode(b"no colon").decode(),
        "Basic " + b64encode(b"a-user:" + PASSWORD.encode()[:-1]).decode(),
        "Basic " + b64encode(b"nobody:" + PASSWORD.encode()).decode(),
        "Basic " + b64encode(b"a\0user:" + PASSWORD.encode()).decode(),
        "Basic " + b64encode("ä-user:\udcff".encode("utf-8", "surrogatepass")).decode(),
        "Bearer",
        "Bearer nonsense",
        "Digest username=a-user",
        "Negotiate abc",
    ],
)
@pytest.mark.usefixtures("user")
def test_no_or_wrong_credentials_are_told_what_is_understood(client: FlaskClient, header: str | None) -> None:
    answer = client.get("/user", headers={} if header is None else {"Authorization": header})
    assert answer.status_code == 401
    assert answer.mimetype == "application/problem+json"
    challenges = answer.headers.getlist("WWW-Authenticate")
    assert [challenge.split()[0] for challenge in challenges] == ["Basic", "Bearer"]


@pytest.mark.parametrize("scheme", ["Apikey", "Basi", "Bearing", "Digest", "Negotiate", "Token"])
def test_good_credentials_count_under_their_own_scheme_only(
    client: FlaskClient, add_account: Add, catalog: Catalog, verifications: list[str], scheme: str
) -> None:
    account = add_account("alice", "user")
    with catalog.begin() as connection:
        token = issue_token(connection, account.id, timedelta(hours=1)).token
    for credentials in (token, f'username="alice", password="{PASSWORD}"'):
        answer = client.get("/user", headers={"Authorization": f"{scheme} {credentials}"})
        assert answer.status_code == 401
        assert "got another scheme" in (answer.json or {})["detail"]
    assert verifications == []


def test_a_bearer_without_a_token_is_told_so(client: FlaskClient) -> None:
    answer = client.get("/user", headers={"Authorization": 'Bearer realm="mycoflow"'})
    assert answer.status_code == 401
    assert "got another scheme" in (answer.json or {})["detail"]


def test_where_nobody_need_be_known_no_password_is_checked(client: FlaskClient, verifications: list[str]) -> None:
    statuses = [client.get(path, auth=("alice", PASSWORD)).status_code for path in ("/status", "/no/such/page")]
    assert statuses == [200, 404]
    assert verifications == []


def test_credentials_are_looked_at_before_parameters(app: Flask, client: FlaskClient, user: FlaskClient) -> None:
    assert client.post("/predictions").status_code == 401
    assert user.post("/predictions").status_code == 422


def test_basic_credentials_are_hashed_once_and_again_after_a_new_password(
    client: FlaskClient, add_account: Add, catalog: Catalog, verifications: list[str]
) -> None:
    add_account("alice", "user")
    assert [ask(client, "alice").status_code for _ in range(3)] == [200, 200, 200]
    assert len(verifications) == 1
    reset_account(catalog, "alice", "another good password")
    assert ask(client, "alice").status_code == 401
    assert ask(client, "alice", "another good password").status_code == 200
    assert ask(client, "alice", "another good password").status_code == 200
    assert len(verifications) == 3


def test_remembered_credentials_are_hashed_again_after_five_minutes(
    app: Flask, client: FlaskClient, add_account: Add, verifications: list[str], settings: Settings
) -> None:
    now = [0.0]
    app.extensions["mycoflow-passwords"] = PasswordChecker(limits.init_app(Flask("counts"), settings), lambda: now[0])
    add_account("alice", "user")
    ask(client, "alice")
    now[0] += 299
    ask(client, "alice")
    assert len(verifications) == 1
    now[0] += 1
    assert ask(client, "alice").status_code == 200
    assert len(verifications) == 2


def test_wrong_credentials_are_not_remembered(client: FlaskClient, add_account: Add, verifications: list[str]) -> None:
    add_account("alice", "user")
    assert [ask(client, "alice", "wrong").status_code for _ in range(2)] == [401, 401]
    assert len(verifications) == 2


def test_an_unknown_login_costs_what_a_wrong_password_does(client: FlaskClient, verifications: list[str]) -> None:
    assert ask(client, "nobody").status_code == 401
    assert ask(client, "Not A Login").status_code == 401
    assert len(verifications) == 2


def test_a_disabled_account_is_refused_at_once(
    client: FlaskClient, add_account: Add, catalog: Catalog, log_in: LogIn
) -> None:
    add_account("alice", "user")
    bob = log_in("user", "bob")
    assert (ask(client, "alice").status_code, bob.get("/user").status_code) == (200, 200)
    with catalog.begin() as connection:
        disable_account(connection, "alice")
        disable_account(connection, "bob")
    assert (ask(client, "alice").status_code, bob.get("/user").status_code) == (401, 401)
    reset_account(catalog, "alice", PASSWORD)
    assert ask(client, "alice").status_code == 200


def test_the_same_credentials_at_the_same_moment_are_hashed_once(
    app: Flask, add_account: Add, verifications: list[str]
) -> None:
    add_account("alice", "user")
    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(lambda _: ask(app.test_client(), "alice").status_code, range(8)))
    assert statuses == [200] * 8
    assert len(verifications) == 1


def test_one_password_is_hashed_at_a_time_and_few_wait(
    app: Flask, user: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most, may_end = [0], [0], threading.Event()

    def slow(self: PasswordHasher, *arguments: Any) -> bool:
        running[0] += 1
        most[0] = max(most[0], running[0])
        may_end.wait(60)
        running[0] -= 1
        return False

    monkeypatch.setattr(PasswordHasher, "verify", slow)
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(ask, app.test_client(), f"login-{number}") for number in range(8)]
        deadline = time.monotonic() + 60
        while sum(one.done() for one in asked) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        busy = [one.result() for one in asked if one.done()]
        assert user.get("/user").status_code == 200  # who needs no password is not held up
        may_end.set()
    assert [answer.status_code for answer in busy] == [503] * 4
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in busy)
    assert sorted(one.result().status_code for one in asked) == [401] * 4 + [503] * 4
    assert most == [1]


def test_a_hash_with_older_parameters_is_made_anew(client: FlaskClient, add_account: Add, catalog: Catalog) -> None:
    account = add_account("alice", "user")
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    with catalog.begin() as connection:
        connection.execute(sa.update(accounts).where(accounts.c.id == account.id).values(password_hash=old))
    assert ask(client, "alice", "a wrong password").status_code == 401
    assert ask(client, "alice").status_code == 200
    assert ask(client, "alice", "a wrong password").status_code == 401
    with catalog.begin() as connection:
        stored = find_account(connection, "alice")
    assert stored is not None
    assert not PasswordHasher().check_needs_rehash(stored.password_hash)
    assert ask(client, "alice").status_code == 200


def test_tries_are_counted_per_account_before_they_are_hashed(
    settings: Settings, add_account: Add, verifications: list[str]
) -> None:
    add_account("alice", "user")
    add_account("bob", "user")
    client = create_app(settings.model_copy(update={"login_rate_limit": "3 per minute"})).test_client()
    assert ask(client, "alice").status_code == 200
    assert [ask(client, "alice", "wrong").status_code for _ in range(3)] == [401, 401, 429]
    refused = ask(client, "alice", "wrong")
    assert refused.mimetype == "application/problem+json"
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert log_in(client, "alice").status_code == 429
    assert len(verifications) == 3
    assert ask(client, "alice").status_code == 200  # remembered: nobody can lock her out of a running session
    assert ask(client, "bob").status_code == 200


def test_tries_are_counted_per_address(settings: Settings, verifications: list[str]) -> None:
    client = create_app(settings.model_copy(update={"login_rate_limit_per_address": "2 per minute"})).test_client()
    assert [ask(client, f"login-{number}").status_code for number in range(3)] == [401, 401, 429]
    assert client.get("/user", auth=("x", "y"), environ_base={"REMOTE_ADDR": "203.0.113.9"}).status_code == 401
    assert len(verifications) == 3


def test_a_token_is_given_for_a_password_and_ends_at_log_out(
    client: FlaskClient, add_account: Add, catalog: Catalog, settings: Settings
) -> None:
    add_account("alice", "expert")
    answer = log_in(client, "alice")
    body: Any = answer.json
    assert (answer.status_code, set(body), answer.headers["Cache-Control"]) == (
        200,
        {"token", "expires_at"},
        "no-store",
    )
    left = datetime.fromisoformat(body["expires_at"]) - datetime.now().astimezone()
    assert abs(left - timedelta(hours=settings.token_hours)) < timedelta(minutes=1)
    with catalog.begin() as connection:
        assert body["token"] not in str(connection.execute(sa.select(tokens)).all())

    headers = bearer(body["token"])
    assert client.get("/user", headers=headers).json == {"login": "alice", "role": "expert"}
    other = bearer((log_in(client, "alice").json or {})["token"])
    assert client.post("/auth/logout", headers=headers).status_code == 204
    assert client.get("/user", headers=headers).status_code == 401
    assert client.get("/user", headers=other).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"login": "alice", "password": "wrong"}, 401),
        ({"login": "nobody", "password": PASSWORD}, 401),
        ({"login": "a\0lice", "password": PASSWORD}, 401),
        ({"login": "alice", "password": "\0"}, 401),
        ({"login": "alice"}, 422),
        ({"login": 1, "password": PASSWORD}, 422),
        ({"login": "alice", "password": "x" * 1025}, 422),
        ([], 422),
        (None, 422),
    ],
)
def test_a_wrong_log_in_is_a_problem_that_repeats_no_password(
    client: FlaskClient, add_account: Add, body: object, status: int
) -> None:
    add_account("alice", "user")
    answer = client.post("/auth/login", json=body)
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert PASSWORD not in answer.text
    assert "x" * 3 not in answer.text


def test_log_out_needs_a_token_to_revoke(client: FlaskClient, add_account: Add) -> None:
    add_account("alice", "user")
    answer = client.post("/auth/logout", auth=("alice", PASSWORD))
    assert (answer.status_code, (answer.json or {})["type"]) == (400, "urn:mycoflow:problem:no-token")


def test_a_token_expires(client: FlaskClient, add_account: Add, catalog: Catalog) -> None:
    account = add_account("alice", "user")
    with catalog.begin() as connection:
        token = issue_token(connection, account.id, timedelta(hours=1)).token
    assert client.get("/user", headers=bearer(token)).status_code == 200
    with catalog.begin() as connection:
        connection.execute(sa.update(tokens).values(expires_at=sa.func.now()))
    assert client.get("/user", headers=bearer(token)).status_code == 401


def test_tokens_of_no_use_are_forgotten(add_account: Add, catalog: Catalog) -> None:
    account = add_account("alice", "user")
    with catalog.begin() as connection:
        for hours in (-1, -2, 1, 2):
            issue_token(connection, account.id, timedelta(hours=hours))
        assert len(connection.execute(sa.select(tokens)).all()) == 2


def test_a_new_password_ends_all_sessions(log_in: LogIn, catalog: Catalog) -> None:
    alice = log_in("user", "alice")
    reset_account(catalog, "alice", "another good password")
    assert alice.get("/user").status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://localhost"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://localhost"}, 200),
        ({}, 200),
    ],
)
def test_basic_credentials_are_not_taken_from_other_sites(
    client: FlaskClient, add_account: Add, headers: dict[str, str], status: int
) -> None:
    add_account("alice", "user")
    assert ask(client, "alice", **headers).status_code == status


def test_a_token_may_come_from_another_site(user: FlaskClient) -> None:
    assert user.get("/user", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_without_a_database_credentials_are_not_refused_but_told_to_come_back(
    settings: Settings, user: FlaskClient, free_port: Callable[[], int]
) -> None:
    url = SecretStr(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    client = create_app(settings.model_copy(update={"database_url": url})).test_client()
    for answer in (client.get("/user", environ_base=user.environ_base), ask(client, "alice"), log_in(client, "alice")):
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0


def test_no_secret_reaches_the_logs(client: FlaskClient, add_account: Add, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    add_account("alice", "user")
    ask(client, "alice")
    ask(client, "alice", "a wrong password")
    token = (log_in(client, "alice").json or {})["token"]
    client.get("/user", headers=bearer(token))
    assert not [text for text in caplog.messages if PASSWORD in text or "a wrong password" in text or token in text]
