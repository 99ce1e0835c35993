"""Passwords, roles and accounts change over HTTP, and what rested on the former state ends."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from ml.catalog.accounts.user_accounts import Account, Role, find_account
from ml.catalog.database import Catalog
from ml.catalog.tables import accounts, events, feedback, predictions, tokens
from tests.webapi.conftest import PASSWORD

LogIn = Callable[..., FlaskClient]
NEW = "another good password"


def change(client: FlaskClient, password: str = PASSWORD, new_password: str = NEW) -> Any:
    return client.put("/user/password", json={"password": password, "new_password": new_password})


def log_in_status(client: FlaskClient, login: str, password: str) -> int:
    return client.post("/auth/login", json={"login": login, "password": password}).status_code


def kinds(catalog: Catalog) -> list[tuple[str, str, Any]]:
    with catalog.begin() as connection:
        query = sa.select(events.c.kind, events.c.actor, events.c.detail).order_by(events.c.id)
        return list(connection.execute(query).tuples().all())


def test_a_new_password_ends_the_old_one_and_all_sessions(user: FlaskClient, client: FlaskClient) -> None:
    other: Any = client.post("/auth/login", json={"login": "a-user", "password": PASSWORD}).json
    assert client.get("/user", auth=("a-user", PASSWORD)).status_code == 200  # and is remembered
    assert change(user).status_code == 204
    assert user.get("/user").status_code == 401
    assert client.get("/user", headers={"Authorization": f"Bearer {other['token']}"}).status_code == 401
    assert client.get("/user", auth=("a-user", PASSWORD)).status_code == 401
    assert [log_in_status(client, "a-user", each) for each in (PASSWORD, NEW)] == [401, 200]


def test_other_accounts_keep_their_sessions(user: FlaskClient, expert: FlaskClient) -> None:
    assert change(user).status_code == 204
    assert expert.get("/user").status_code == 200


@pytest.mark.parametrize(
    ("password", "new_password", "status"),
    [("wrong password!", NEW, 403), (PASSWORD, "short", 422), (PASSWORD, "\ud800" * 12, 422), ("\ud800", NEW, 422)],
)
def test_a_refused_change_changes_nothing(
    user: FlaskClient, client: FlaskClient, password: str, new_password: str, status: int
) -> None:
    assert change(user, password, new_password).status_code == status
    assert user.get("/user").status_code == 200
    assert log_in_status(client, "a-user", PASSWORD) == 200


def test_guessing_the_present_password_is_limited(user: FlaskClient) -> None:
    statuses = [change(user, f"wrong password {number}").status_code for number in range(11)]
    assert (statuses[0], statuses[-1]) == (403, 429)


def test_of_two_changes_at_once_one_wins(user: FlaskClient, client: FlaskClient) -> None:
    barrier = threading.Barrier(2)
    token = user.environ_base["HTTP_AUTHORIZATION"]

    def go(new_password: str) -> int:
        barrier.wait()
        body = {"password": PASSWORD, "new_password": new_password}
        headers = {"Authorization": token}
        return user.application.test_client().put("/user/password", json=body, headers=headers).status_code

    with ThreadPoolExecutor(2) as threads:
        statuses = list(threads.map(go, (NEW, f"{NEW} too")))
    won = (NEW, f"{NEW} too")[statuses.index(204)]
    assert statuses.count(204) == 1
    assert log_in_status(client, "a-user", won) == 200


def test_an_admin_changes_a_role_and_the_next_request_has_it(
    admin: FlaskClient, user: FlaskClient, catalog: Catalog
) -> None:
    assert user.get("/data/query").status_code == 403
    answer = admin.patch("/users/a-user", json={"role": "expert"})
    assert (answer.status_code, answer.json) == (200, {"login": "a-user", "role": "expert"})
    assert user.get("/data/query").status_code == 200
    assert admin.patch("/users/a-user", json={"role": "expert"}).status_code == 200
    assert admin.patch("/users/a-user", json={"role": "user"}).status_code == 200
    assert user.get("/data/query").status_code == 403
    found = [(kind, detail["before"], detail["after"]) for kind, _, detail in kinds(catalog)]
    assert found == [("account.role_changed", "user", "expert"), ("account.role_changed", "expert", "user")]
    assert "a-user" not in str(kinds(catalog))


def test_an_admin_erases_an_account(
    admin: FlaskClient, user: FlaskClient, catalog: Catalog, post: Any, serve_version: Any, png: Callable[[int], bytes]
) -> None:
    serve_version(1)
    prediction = post(png(1)).json["id"]
    assert user.post(f"/predictions/{prediction}/feedback", json={"verdict": "ok"}).status_code in (200, 201)
    assert admin.delete("/users/a-user").status_code == 204
    assert user.get("/user").status_code == 401
    with catalog.begin() as connection:
        assert find_account(connection, "a-user") is None
        assert connection.execute(sa.select(predictions.c.account_id)).scalars().all() == [None]
        assert connection.execute(sa.select(feedback.c.account_id)).scalars().all() == [None]
        assert len(connection.execute(sa.select(tokens)).all()) == 1  # the admin's
    erased = [(actor, detail["account"]) for kind, actor, detail in kinds(catalog) if kind == "account.erased"]
    ((actor, account),) = erased
    assert actor != account and account.startswith("account:")
    assert "a-user" not in str(kinds(catalog))
    assert admin.delete("/users/a-user").status_code == 404


def test_the_last_admin_can_lose_neither_account_nor_role(admin: FlaskClient, log_in: LogIn) -> None:
    for answer in (admin.delete("/users/an-admin"), admin.patch("/users/an-admin", json={"role": "user"})):
        assert (answer.status_code, (answer.json or {})["type"]) == (409, "urn:mycoflow:problem:last-admin")
    assert admin.patch("/users/an-admin", json={"role": "admin"}).status_code == 200
    log_in("admin", "second")
    assert admin.patch("/users/an-admin", json={"role": "user"}).status_code == 200
    assert admin.delete("/users/second").status_code == 403


def test_two_admins_who_take_each_other_s_role_leave_one(log_in: LogIn, catalog: Catalog) -> None:
    clients = {"one": log_in("admin", "two"), "two": log_in("admin", "one")}
    barrier = threading.Barrier(2)

    def go(login: str) -> int:
        barrier.wait()
        return clients[login].patch(f"/users/{login}", json={"role": "user"}).status_code

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(go, clients)) in ([200, 409], [200, 403])
    with catalog.begin() as connection:
        assert connection.execute(sa.select(accounts.c.role)).scalars().all().count("admin") == 1


@pytest.mark.parametrize("login", ["nobody", "NOBODY", "a%20b", "%00", "ä", "x" * 64])
def test_an_unknown_login_is_not_found(admin: FlaskClient, login: str) -> None:
    assert admin.delete(f"/users/{login}").status_code == 404
    assert admin.patch(f"/users/{login}", json={"role": "user"}).status_code == 404


@pytest.mark.parametrize("body", [{}, {"role": "root"}, {"role": None}, {"role": "user", "login": "x"}, []])
def test_a_role_that_does_not_exist_is_refused(admin: FlaskClient, user: FlaskClient, body: Any) -> None:
    assert admin.patch("/users/a-user", json=body).status_code == 422
    assert user.get("/user").json == {"login": "a-user", "role": "user"}


@pytest.mark.parametrize("role", ["user", "expert"])
def test_only_admins_change_others(log_in: LogIn, add_account: Callable[[str, Role], Account], role: str) -> None:
    add_account("other", "user")
    client = log_in(role)
    assert client.delete("/users/other").status_code == 403
    assert client.patch("/users/other", json={"role": "admin"}).status_code == 403
