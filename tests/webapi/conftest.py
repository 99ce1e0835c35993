"""The application on a real database, with a real, very small model."""

import io
import secrets
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
import werkzeug.test
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart, stream_encode_multipart

from ml.catalog.accounts.tokens import issue_token
from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.database import Catalog
from ml.catalog.tables import accounts
from ml.registry.mlflow_registry import Registry
from ml.serving.loaded_model import LoadedModel
from ml.settings import Settings
from ml.tasks.classification.classification_task import TASK
from tests.application import application_as_web
from webapi import application_state
from webapi.telemetry import database_metrics

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def uploads_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Werkzeug's client writes an upload above 500 KB to a file that it never closes."""
    in_memory = partial(stream_encode_multipart, use_tempfile=False)
    monkeypatch.setattr(werkzeug.test, "stream_encode_multipart", in_memory)


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The application on a migrated database, without a model, threads or ports, and with the rights of role web."""
    with application_as_web(settings) as app:
        yield app


@pytest.fixture
def scrape(app: Flask) -> Callable[[], dict[str, float]]:
    """What Prometheus would read, over HTTP: each line's name and labels, and its value."""
    port = application_state.current(app).metrics.serve("127.0.0.1", 0)

    def read() -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    return read


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Puts the clock forward by which the database's figures grow old."""
    passed = [0.0]
    monkeypatch.setattr(database_metrics, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + sum(passed)))
    return passed.append


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Nobody in particular: no credentials."""
    return app.test_client()


@pytest.fixture(scope="session")
def password_hash() -> str:
    """The hash of PASSWORD, computed once."""
    return PasswordHasher().hash(PASSWORD)


@pytest.fixture
def add_account(catalog: Catalog, password_hash: str) -> Callable[[str, Role], Account]:
    """Creates accounts; their password is PASSWORD."""

    def add(login: str, role: Role) -> Account:
        with catalog.begin() as connection:
            row = sa.insert(accounts).values(login=login, role=role, password_hash=password_hash)
            return Account(connection.execute(row.returning(accounts.c.id)).scalar_one(), login, role)

    return add


@pytest.fixture
def log_in(app: Flask, catalog: Catalog, add_account: Callable[[str, Role], Account]) -> Callable[..., FlaskClient]:
    """Makes clients that carry the bearer token of a new account of a role."""

    def new_client(role: Role, login: str | None = None, application: Flask = app) -> FlaskClient:
        account = add_account(login or f"{role}-{secrets.token_hex(4)}", role)
        with catalog.begin() as connection:
            token = issue_token(connection, account.id, timedelta(hours=1)).token
        client = application.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        return client

    return new_client


@pytest.fixture
def user(log_in: Callable[..., FlaskClient]) -> FlaskClient:
    return log_in("user", "a-user")


@pytest.fixture
def expert(log_in: Callable[..., FlaskClient]) -> FlaskClient:
    return log_in("expert", "an-expert")


@pytest.fixture
def admin(log_in: Callable[..., FlaskClient]) -> FlaskClient:
    return log_in("admin", "an-admin")


@pytest.fixture
def serve_version(app: Flask, write_bundle: Callable[[Path, int], Path], tmp_path: Path) -> Callable[[int], None]:
    """Puts a version into service: its number is also its seed."""

    def serve(version: int) -> None:
        models = application_state.current(app).models
        models.serve(LoadedModel.load(write_bundle(tmp_path / f"{version}-run", version), TASK))

    return serve


@pytest.fixture(scope="module")
def tracking_uri(copied_database: Callable[..., str], mlflow_template: str) -> str:
    return copied_database(mlflow_template)


@pytest.fixture(scope="module")
def registry(
    tracking_uri: str, write_bundle: Callable[[Path, int], Path], tmp_path_factory: pytest.TempPathFactory
) -> Registry:
    """MLflow's database with three versions of the model, the first of them in production."""
    folder = tmp_path_factory.mktemp("mlflow")
    registry = Registry(tracking_uri, (folder / "artifacts").as_uri())
    for seed in (1, 2, 3):
        with registry.start_run(attempt_id=seed) as run:
            run.log_model(write_bundle(folder / str(seed), seed))
        assert registry.register(run.mlflow_run_id, {}) == seed
    registry.set_champion(1)
    return registry


@pytest.fixture
def post(user: FlaskClient) -> Callable[..., TestResponse]:
    """Posts an image to /predictions, as a user."""

    def send(content: bytes, path: str = "/predictions", **fields: str) -> TestResponse:
        boundary, body = encode_multipart({"file": FileStorage(io.BytesIO(content), "photo.png"), **fields})
        return user.post(path, data=body, content_type=f"multipart/form-data; boundary={boundary}")

    return send
