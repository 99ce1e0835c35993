"""The page for admins: what it may do in a browser, and what becomes of it without a database."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.serving import make_server

from ml.catalog.accounts.user_accounts import Account, Role
from ml.settings import Settings
from webapi.factory import create_app

PASSWORD = "correct horse battery"


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    """The application behind a real port; host and port."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_admin_gets_a_page(admin: FlaskClient) -> None:
    answer = admin.get("/health/report")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert answer.text.startswith("<!doctype html>")
    assert "No model is in production" in answer.text


def test_it_may_show_its_own_style_and_plots_and_nothing_else(admin: FlaskClient) -> None:
    headers = admin.get("/health/report").headers
    rules = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
    assert rules == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["Cache-Control"] == "no-store"


def test_others_get_no_page(user: FlaskClient, expert: FlaskClient) -> None:
    assert [who.get("/health/report").status_code for who in (user, expert)] == [403, 403]


def test_a_database_that_does_not_answer_is_a_problem(settings: Settings, free_port: Callable[[], int]) -> None:
    nowhere = SecretStr(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    cut_off = create_app(settings.model_copy(update={"database_url": nowhere}))
    answer: Any = cut_off.test_client().get("/health/report", auth=("an-admin", PASSWORD))
    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    assert answer.json["type"] == "urn:mycoflow:problem:database-unavailable"


def test_a_table_that_is_locked_does_not_keep_an_admin_waiting_for_ever(
    settings: Settings, log_in: Callable[..., FlaskClient], catalog: Any
) -> None:
    hasty = create_app(settings.model_copy(update={"request_seconds": 1.0}))
    admin = log_in("admin", None, hasty)
    with catalog.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE training.items IN ACCESS EXCLUSIVE MODE")
        answer: Any = admin.get("/health/report")
    assert (answer.status_code, answer.json["type"]) == (503, "urn:mycoflow:problem:time-over")


def test_a_browser_shows_it_under_its_policy(
    address: str, add_account: Callable[[str, Role], Account], tmp_path: Path
) -> None:
    browser = which("chromium") or which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    add_account("an-admin", "admin")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr")
    command = [browser, *options, f"--user-data-dir={tmp_path}", "--virtual-time-budget=15000", "--dump-dom"]
    url = f"http://an-admin:{PASSWORD.replace(' ', '%20')}@{address}/health/report"
    shown = subprocess.run([*command, url], capture_output=True, text=True, timeout=120, check=True)
    assert "Is the model good?" in shown.stdout
    assert "Content Security Policy" not in shown.stderr
