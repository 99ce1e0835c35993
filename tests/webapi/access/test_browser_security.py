from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.settings import Settings
from webapi.factory import create_app


@pytest.mark.parametrize("path", ["/status", "/user", "/nowhere", "/docs", "/openapi.json", "/docs/css/swagger-ui.css"])
def test_every_answer_is_hardened(client: FlaskClient, path: str) -> None:
    with client.get(path) as answer:
        headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in headers


def test_a_crash_is_hardened_too(app: Flask, admin: FlaskClient) -> None:
    @app.get("/broken")
    def broken() -> str:
        raise ZeroDivisionError

    answer = admin.get("/broken")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (500, "no-store")


def test_answers_to_somebody_are_not_stored(user: FlaskClient, client: FlaskClient) -> None:
    assert user.get("/user").headers["Cache-Control"] == "no-store"
    assert client.get("/user").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("proxies", "is_told"), [(0, False), (1, True)])
def test_https_is_demanded_from_then_on_when_a_trusted_proxy_says_it_was_used(
    settings: Settings, proxies: int, is_told: bool
) -> None:
    client = create_app(settings.model_copy(update={"trusted_proxies": proxies})).test_client()
    answer = client.get("/status", headers={"X-Forwarded-Proto": "https"})
    assert ("Strict-Transport-Security" in answer.headers) is is_told


def test_the_cross_site_check_sees_the_name_that_was_asked_for(
    settings: Settings, add_account: Callable[..., object]
) -> None:
    add_account("alice", "user")
    client = create_app(settings.model_copy(update={"trusted_proxies": 1})).test_client()
    answer = client.get(
        "/user",
        auth=("alice", "correct horse battery"),
        headers={"Host": "mushrooms.example", "Origin": "https://mushrooms.example", "X-Forwarded-Proto": "https"},
    )
    assert answer.status_code == 200
