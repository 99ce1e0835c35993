from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from ml.settings import Settings
from webapi import application_state
from webapi.factory import create_app


@pytest.fixture
def app_without_database(settings: Settings, free_port: Callable[[], int]) -> Flask:
    url = SecretStr(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    return create_app(settings.model_copy(update={"database_url": url}))


def test_status_is_true(client: FlaskClient) -> None:
    answer = client.get("/status")
    assert (answer.status_code, answer.json) == (200, True)


def test_dbconnex_is_true_while_the_database_answers(client: FlaskClient) -> None:
    assert client.get("/dbconnex").json is True


def test_without_a_database_the_service_answers_and_says_so(app_without_database: Flask) -> None:
    client = app_without_database.test_client()
    assert client.get("/status").json is True
    answer = client.get("/dbconnex")
    assert (answer.status_code, answer.json) == (200, False)


def test_the_process_is_alive_before_it_is_ready(client: FlaskClient, serve_version: Callable[[int], None]) -> None:
    assert client.get("/healthz").json == {"status": "alive"}
    before = client.get("/readyz")
    assert (before.status_code, before.headers["Retry-After"]) == (503, "5")
    serve_version(3)
    assert client.get("/readyz").json == {"status": "ready", "model_version": 3, "production_version": None}


def test_it_is_not_ready_without_a_database(
    app: Flask, app_without_database: Flask, serve_version: Callable[[int], None]
) -> None:
    serve_version(1)
    model = application_state.current(app).models.current
    assert model is not None
    application_state.current(app_without_database).models.serve(model)
    answer: Any = app_without_database.test_client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json["type"].endswith(":database-unavailable")
