"""The description of the API, and the page that shows it."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate
from werkzeug.serving import make_server

from webapi.access.authentication import required_role
from webapi.access.session_cookie import reads_cookie

PUBLIC = {
    "/status",
    "/dbconnex",
    "/healthz",
    "/readyz",
    "/auth/login",
    "/openapi.json",
    "/docs",
    "/docs/start.js",
    "/docs/<path:path>",
}


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.json is not None
    return dict(answer.json)


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    """The application behind a real port."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(path, method): what for path, item in document["paths"].items() for method, what in item.items()}


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    validate(document)
    assert set(document["components"]["securitySchemes"]) == {"basic", "bearer"}


def test_every_route_says_who_may_call_it_and_few_are_public(app: Flask) -> None:
    rules = list(app.url_map.iter_rules())
    assert [rule.rule for rule in rules if not hasattr(app.view_functions[rule.endpoint], "required_role")] == []
    rules = [rule for rule in rules if not reads_cookie(app, rule.endpoint)]  # pages: tests/webapi/test_access.py
    assert {rule.rule for rule in rules if required_role(app, rule.endpoint) is None} == PUBLIC


def test_every_route_is_in_the_document(app: Flask, document: dict[str, Any]) -> None:
    described = {path.replace("{", "<").replace("}", ">") for path in document["paths"]}
    api = (rule for rule in app.url_map.iter_rules() if not reads_cookie(app, rule.endpoint))
    rules = {rule.rule.replace("<int:", "<") for rule in api}
    assert rules - described == {"/openapi.json", "/docs", "/docs/start.js", "/docs/<path:path>"}


def test_what_follows_from_access_is_described(document: dict[str, Any]) -> None:
    described = operations(document)
    for (path, _), operation in described.items():
        is_public = path in PUBLIC
        assert ("security" in operation) is not is_public
        assert is_public or {"401", "403", "429", "503"} <= set(operation["responses"])
    names = [operation["operationId"] for operation in described.values()]
    assert len(names) == len(set(names))


def test_every_error_is_described_as_a_problem(document: dict[str, Any]) -> None:
    for operation in operations(document).values():
        for status, response in operation["responses"].items():
            assert (set(response.get("content", {})) == {"application/problem+json"}) is (int(status) >= 400)
            assert response["description"]


def test_nothing_on_the_page_comes_from_elsewhere(client: FlaskClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "://" not in page.text
    for path in ("/docs/start.js", "/docs/js/swagger-ui-bundle.js", "/docs/css/swagger-ui.css"):
        assert path in page.text
        with client.get(path) as answer:
            assert answer.status_code == 200
    assert client.get("/docs/../../__init__.py").status_code == 404
    assert client.get("/docs/nothing.js").status_code == 404
    for path in ("/openapi/", "/openapi/swagger", "/docs/swagger", "/redoc"):
        assert client.get(path).status_code == 404


def test_a_browser_shows_the_routes_under_the_page_s_own_policy(address: str, tmp_path: Path) -> None:
    browser = which("chromium") or which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr")
    command = [browser, *options, f"--user-data-dir={tmp_path}", "--virtual-time-budget=15000", "--dump-dom"]
    shown = subprocess.run([*command, f"{address}/docs"], capture_output=True, text=True, timeout=120, check=True)
    assert "/auth/login" in shown.stdout
    assert "Authorize" in shown.stdout
    assert "Content Security Policy" not in shown.stderr
