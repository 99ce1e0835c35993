"""The pages in a real browser: Chromium, the real service on a real port, its database and a very small model."""

import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from flask.testing import FlaskClient
from playwright import sync_api as playwright_api
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from ml.catalog import database
from ml.catalog.accounts.tokens import issue_token, revoke_tokens
from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.database import Catalog
from ml.catalog.tables import accounts
from ml.serving.picture_decoder.decoder_process import DecoderProcess, shared_decoder
from ml.settings import Settings
from tests.deployments import administer
from webapi import application_state
from webapi.access.session_cookie import SESSION_COOKIE

PASSWORD = "correct horse battery"
UNLIMITED = "1000000 per minute"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

# Forms of plain HTML, where scripts are not needed and hardly matter.
FORMS = pytest.mark.parametrize(
    "scripts", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["with scripts", "without scripts"]
)


@pytest.fixture(scope="module", autouse=True)
def decoder_stays() -> Iterator[None]:
    """Let one process decode for all tests of a module: to start one takes half a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DecoderProcess, "close", lambda _self: None)
        yield
    shared_decoder().close()


@pytest.fixture
def photo_host(png: Callable[[int], bytes], serve_script: Callable[..., int]) -> str:
    """Return host and port of another site. It answers every path with the same photo."""

    def answer(path: str, connection: socket.socket) -> None:
        photo = png(5)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(photo) + photo)

    return f"127.0.0.1:{serve_script(answer)}"


@pytest.fixture
def settings(settings: Settings, photo_host: str) -> Settings:
    update = {"login_rate_limit": UNLIMITED, "login_rate_limit_per_address": UNLIMITED}
    return settings.model_copy(update={**update, "fetch_allowed_hosts": photo_host})


@pytest.fixture
def site(app: Flask, serve_version: Callable[[int], None]) -> Iterator[str]:
    """The address of the running service, with version 1 of a model."""
    serve_version(1)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    application_state.current(app).models.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("NOT CHECKED: no browser; run `apt-get install chromium` (as .ci/run does)")
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def open_browser(chromium: Any, site: str) -> Iterator[Callable[..., Any]]:
    """Opens windows, each of another person: open_browser(locale="fr", java_script_enabled=False, ...)."""
    with ExitStack() as stack:

        def open_one(**options: Any) -> Any:
            context = chromium.new_context(base_url=site, **{"locale": "en-GB", **options})
            stack.callback(context.close)
            context.set_default_timeout(45_000)  # the machine may be busy with other tests
            page = context.new_page()
            page.faults = faults = []  # what the browser complains of: scripts that fail, and what the policy forbids
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
            return page

        yield open_one


@pytest.fixture
def log_in_as(
    open_browser: Callable[..., Any], add_account: Callable[[str, Role], Account], catalog: Catalog, site: str
) -> Callable[..., Any]:
    """Opens the first page of a person whose browser has a session: log_in_as("alice", "user", locale="fr")."""

    def open_logged_in(login: str, role: Role = "user", **options: Any) -> Any:
        account = add_account(login, role)
        with catalog.begin() as connection:
            token = issue_token(connection, account.id, timedelta(hours=1)).token
        page = open_browser(**options)
        page.context.add_cookies([{"name": SESSION_COOKIE, "value": token, "url": site, "httpOnly": True}])
        page.goto("/")
        return page

    return open_logged_in


def log_in_here(page: Any, login: str, password: str = PASSWORD) -> None:
    """Fill in the login form of a page, and send it."""
    page.locator("[name=login]").fill(login)
    page.locator("[name=password]").fill(password)
    page.locator("#login-form button").click()


def ask(page: Any, photo: Path) -> str:
    """Name a photo, and return the path of its answer."""
    page.goto("/")
    page.locator("#file").set_input_files(photo)
    page.locator("#send").click()
    page.wait_for_url("**/answers/*")
    return "/" + page.url.split("/", 3)[3]


def open_address(page: Any, address: str) -> None:
    """Type the address of a photo into the first page."""
    page.locator("summary", has_text="photo from the web").click()
    page.locator("[name=url]").fill(address)


def end_sessions(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        for account_id in connection.scalars(sa.select(accounts.c.id)).all():
            revoke_tokens(connection, account_id)


def find_barriers(page: Any) -> list[str]:
    """What axe finds that is serious or worse; in the dark, where only colours differ, in the contrast of colours."""
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")  # colours change at once
    found = Axe().run(page, options={"runOnly": ["color-contrast"]}).response["violations"]
    page.emulate_media(color_scheme="light")
    found += Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:120]} {node.get('failureSummary', '')[:200]}"
        for each in found
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"]
    ]


@pytest.fixture
def database_down(
    settings: Settings, server_home: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], AbstractContextManager[None]]:
    """Lets the test's database refuse and end all connections: `with database_down(): ...`."""
    monkeypatch.setattr(database, "_FRESH_SECONDS", 0.0)  # an outage lasts longer than connections count as fresh

    @contextmanager
    def refuse() -> Iterator[None]:
        assert settings.database_url is not None
        name = sa.make_url(settings.database_url.get_secret_value()).database
        administer(server_home, f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        administer(server_home, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        yield
        administer(server_home, f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")

    return refuse


@pytest.fixture
def photo_file(png: Callable[[int], bytes], tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(png(1))
    return path


@pytest.fixture
def client_of(
    app: Flask, add_account: Callable[[str, Role], Account], catalog: Catalog
) -> Callable[[str, Role], FlaskClient]:
    """Makes clients with a session, for what needs no browser: client_of("alice", "user")."""

    def log_in(login: str, role: Role) -> FlaskClient:
        account, client = add_account(login, role), app.test_client()
        with catalog.begin() as connection:
            client.set_cookie(SESSION_COOKIE, issue_token(connection, account.id, timedelta(hours=1)).token)
        return client

    return log_in


@pytest.fixture
def send_form() -> Callable[..., TestResponse]:
    """Opens a page and sends its form as a browser does: send_form(client, path, origin, action=None, **fields)."""

    def send(
        client: FlaskClient, path: str, origin: str = "http://localhost", action: str | None = None, **fields: Any
    ) -> TestResponse:
        page = client.get(path, base_url=origin)
        token = re.findall(r'name="csrf_token" value="([^"]+)"', page.text)[0]
        data = {"csrf_token": token, **fields}
        return client.post(action or path, data=data, base_url=origin)

    return send
