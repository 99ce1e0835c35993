"""Who may call what: every route, as everybody."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.catalog.accounts.tokens import issue_token
from ml.catalog.accounts.user_accounts import ROLES, Account, Role
from ml.catalog.database import Catalog
from ml.settings import Settings
from webapi.access.session_cookie import SESSION_COOKIE, reads_cookie
from webapi.api.parameter_names import path_of

LEAST_ROLES: dict[str, Role | None] = {
    "GET /status": None,
    "GET /dbconnex": None,
    "GET /healthz": None,
    "GET /readyz": None,
    "POST /auth/login": None,
    "POST /auth/logout": "user",
    "GET /user": "user",
    "GET /user/data": "user",
    "DELETE /user": "user",
    "PUT /user/password": "user",
    "PATCH /users/{login}": "admin",
    "DELETE /users/{login}": "admin",
    "GET /predictions": "user",
    "POST /predictions": "user",
    "POST /prediction-batches": "user",
    "GET /prediction-batches": "user",
    "GET /prediction-batches/{prediction_batch_id}": "user",
    "DELETE /prediction-batches/{prediction_batch_id}": "user",
    "GET /prediction-batches/{prediction_batch_id}/photos": "user",
    "GET /prediction-batches/{prediction_batch_id}/photos.csv": "user",
    "POST /prediction-batches/{prediction_batch_id}/cancel": "user",
    "POST /predictions/{prediction_id}/feedback": "user",
    "GET /predictions/{prediction_id}/activation-map": "user",
    "POST /logs/write": "user",
    "GET /accuracy": "admin",
    "GET /past_pred_acc": "admin",
    "GET /nb_new_img": "admin",
    "GET /health/report": "admin",
    "POST /finetune": "admin",
    "GET /data/query": "expert",
    "GET /images/{sha256}": "user",
    "DELETE /images/{sha256}": "user",
    "GET /images/{sha256}/similar": "user",
    "GET /known-photos/{sha256}": "user",
    "GET /reviews": "expert",
    "GET /reviews/batches": "expert",
    "GET /reviews/batches/{batch_id}/rejects": "expert",
    "GET /reviews/queues/{queue}": "expert",
    "POST /reviews/decisions": "expert",
    "POST /reviews/undo": "expert",
    "POST /data/update": "admin",
    "GET /models": "admin",
    "GET /shadows/{version}": "admin",
    "POST /model/update": "admin",
    "GET /maintenance": "admin",
    "PUT /maintenance": "admin",
}
PAGES: dict[str, Role | None] = {
    "GET /static/{digest}/{name}": None,
    "GET /login": None,
    "POST /login": None,
    "POST /logout": None,
    "GET /language": None,
    "GET /": "user",
    "POST /": "user",
    "GET /answers/{prediction_id}": "user",
    "POST /answers/{prediction_id}": "user",
    "GET /answers/{prediction_id}/map": "user",
    "GET /classes": "user",
    "GET /known/{sha256}/thumbnail": "user",
    "GET /many": "user",
    "POST /many": "user",
    "GET /many/{prediction_batch_id}": "user",
    "GET /many/{prediction_batch_id}/progress": "user",
    "GET /many/{prediction_batch_id}/photos.csv": "user",
    "POST /many/{prediction_batch_id}": "user",
    "GET /many/{prediction_batch_id}/delete": "user",
    "POST /many/{prediction_batch_id}/delete": "user",
    "GET /photos": "user",
    "GET /photos/{sha256}/delete": "user",
    "POST /photos/{sha256}/delete": "user",
    "GET /account": "user",
    "GET /account/password": "user",
    "POST /account/password": "user",
    "GET /account/data": "user",
    "GET /account/erase": "user",
    "POST /account/erase": "user",
    "GET /photos/{sha256}/photo": "user",
    "GET /photos/{sha256}/thumbnail": "user",
    "GET /review": "expert",
    "GET /review/batches/{batch_id}": "expert",
    "GET /review/{queue}": "expert",
    "POST /review/{queue}": "expert",
    "POST /review/undo": "expert",
    "GET /review/similar/{sha256}": "expert",
    "GET /review/classes": "expert",
    "GET /versions": "admin",
    "GET /versions/{version}": "admin",
    "GET /versions/{version}/confused": "admin",
    "GET /versions/{version}/shadow": "admin",
    "GET /versions/compare": "admin",
    "GET /versions/{version}/promote": "admin",
    "POST /versions/{version}/promote": "admin",
    "GET /versions/rollback": "admin",
    "POST /versions/rollback": "admin",
    "GET /versions/release": "admin",
    "POST /versions/release": "admin",
    "GET /approvals": "admin",
    "POST /approvals": "admin",
    "GET /trainings/retrain": "admin",
    "POST /trainings/retrain": "admin",
    "GET /trainings/finetune": "admin",
    "POST /trainings/finetune": "admin",
    "GET /trainings/register": "admin",
    "POST /trainings/register": "admin",
    "GET /runs/{dag_id}": "admin",
    "GET /dashboard": "expert",
    "GET /dashboard/figures": "expert",
}
PROTECTED = [(route, role) for route, role in LEAST_ROLES.items() if role is not None]


@pytest.fixture
def settings(settings: Settings, mlflow_uri: str) -> Settings:
    return settings.model_copy(update={"mlflow_tracking_uri": mlflow_uri})


def call(client: FlaskClient, route: str, **arguments: object) -> tuple[int, list[str]]:
    """The status and the challenges of an answer to a request without parameters."""
    method, path = route.split()
    with client.open(
        path.format(
            prediction_id="1",
            prediction_batch_id="1",
            sha256="0" * 64,
            login="nobody",
            batch_id="1",
            version="1",
            dag_id="retrain",
            queue="waiting",
            digest="0",
            name="mycoflow.css",
        ),
        method=method,
        **arguments,
    ) as answer:
        return answer.status_code, answer.headers.getlist("WWW-Authenticate")


def test_every_route_is_in_the_table(client: FlaskClient) -> None:
    document = client.get("/openapi.json").json
    assert document is not None
    described = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    assert described == set(LEAST_ROLES)


def test_every_page_is_in_the_table(app: Flask) -> None:
    pages = [rule for rule in app.url_map.iter_rules() if reads_cookie(app, rule.endpoint)]
    found = {f"{method} {path_of(rule.rule)}" for rule in pages for method in rule.methods - {"HEAD", "OPTIONS"}}
    assert found == set(PAGES)
    described = {path_of(rule.rule) for rule in app.url_map.iter_rules()} - {path_of(rule.rule) for rule in pages}
    documented = {route.split()[1] for route in LEAST_ROLES}
    assert {path for path in described if not path.startswith(("/docs", "/openapi.json"))} == documented


@pytest.mark.parametrize("route", [route for route, role in PAGES.items() if role is None])
def test_a_public_page_asks_nobody_who_they_are(client: FlaskClient, route: str) -> None:
    status, challenges = call(client, route)
    assert status in {200, 302, 303, 400}  # 400: a form without its token
    assert challenges == []


def test_without_a_session_the_other_pages_ask_to_log_in(client: FlaskClient) -> None:
    for credentials in ({}, {"headers": {"Authorization": "Bearer nonsense"}}):
        for route, role in PAGES.items():
            if role is not None:
                status, challenges = call(client, route, **credentials)
                assert (route, status, challenges) == (route, 303 if route.startswith("GET") else 401, [])


@pytest.mark.parametrize("role", ROLES)
def test_a_page_is_for_its_role_and_those_above_it(
    app: Flask, catalog: Catalog, add_account: Callable[[str, Role], Account], role: Role
) -> None:
    account = add_account(f"a-{role}", role)
    with catalog.begin() as connection:
        token = issue_token(connection, account.id, timedelta(hours=1)).token
    for route, least in PAGES.items():
        client = app.test_client()
        client.set_cookie(SESSION_COOKIE, token)
        status, _ = call(client, route)
        is_allowed = least is None or ROLES.index(role) >= ROLES.index(least)
        # A form without its token is refused before it is read.
        assert (route, status == 403, status == 401) == (route, not is_allowed, False)


@pytest.mark.parametrize("route", [route for route, role in LEAST_ROLES.items() if role is None])
def test_a_public_route_asks_nobody_who_they_are(client: FlaskClient, route: str) -> None:
    status, challenges = call(client, route)
    assert status not in {401, 403}
    assert challenges == []


def test_without_credentials_the_others_say_which_ones_they_take(client: FlaskClient) -> None:
    for credentials in ({}, {"headers": {"Authorization": "Bearer nonsense"}}):
        for route, _ in PROTECTED:
            status, challenges = call(client, route, **credentials)
            assert (route, status) == (route, 401)
            assert challenges == ['Basic realm="mycoflow", charset="UTF-8"', 'Bearer realm="mycoflow"']


@pytest.mark.parametrize("role", ROLES)
def test_a_route_is_for_its_role_and_those_above_it(log_in: Callable[..., FlaskClient], role: Role) -> None:
    for route, least in PROTECTED:
        status, _ = call(log_in(role), route)  # an account of its own: some routes end it
        is_allowed = ROLES.index(role) >= ROLES.index(least)
        assert (route, status == 403, status == 401) == (route, not is_allowed, False)
