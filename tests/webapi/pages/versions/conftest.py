"""Two model versions in the real MLflow, scored on photos of species that differ in colour; and an Airflow."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from ml.app import Workspace, open_registry, remember_version
from ml.catalog.accounts.tokens import issue_token
from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.database import Catalog
from ml.catalog.models import attempts, verdicts
from ml.catalog.models.verdicts import StoredVerdict
from ml.catalog.tables import snapshots
from ml.evaluation.promotion import promote_by_hand
from ml.evaluation.scoring import score_version
from ml.ingest.folder import ingest_folder
from ml.settings import Settings
from tests.scripted_airflow import ScriptedAirflow, at_airflow, serve
from tests.webapi.pages.coloured_species import COLOURS, between, coloured_photo, write_fitted_bundle
from webapi.access.session_cookie import SESSION_COOKIE

CURVES = {
    "loss": [1.2, 0.7, 0.5, 0.4],
    "val_loss": [1.3, 0.9, 0.8, 0.85],
    "accuracy": [0.4, 0.7, 0.8, 0.9],
    "val_accuracy": [0.35, 0.6, 0.7, 0.7],
    "tail_loss": [0.9, 0.6],
    "tail_val_loss": [1.0, 0.8],
    "learning_rate": [1e-3, 1e-3, 1e-4, 1e-4],
}
REASON = "The challenger is as good as the champion, and its snapshot is newer: <b>95.0%</b>."


@pytest.fixture
def airflow() -> Iterator[ScriptedAirflow]:
    scripted = ScriptedAirflow()
    server = serve(scripted)
    yield scripted
    server.end()


@pytest.fixture
def settings(settings: Settings, mlflow_uri: str, airflow: ScriptedAirflow) -> Settings:
    update = {"mlflow_tracking_uri": mlflow_uri, "alias_poll_seconds": 3600}
    return at_airflow(settings.model_copy(update=update), airflow)


@pytest.fixture
def workspace(settings: Settings, catalog: Catalog) -> Workspace:
    return Workspace(settings, catalog, open_registry(settings))


def write_photos(folder: Path, of_each: int) -> None:
    """Photos of each species, and a few between amanita and cantharellus that people call amanita."""
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(of_each):
            (folder / name / f"{number}.png").write_bytes(coloured_photo(colour, 1000 + number))
    for number in range(4):
        photo = coloured_photo(between("amanita", "cantharellus", 0.75), 2000 + number)
        (folder / "amanita" / f"between-{number}.png").write_bytes(photo)


@dataclass(frozen=True)
class Trained:
    """Version 1 is in production; version 2 came of an attempt that the gate judged."""

    workspace: Workspace
    attempt_id: int
    run_key: str


@pytest.fixture
def trained(workspace: Workspace, write_bundle: Callable[[Path, int], Path], tmp_path: Path) -> Trained:
    catalog, registry = workspace.catalog, workspace.registry
    write_photos(tmp_path / "evaluation", 12)
    assert ingest_folder(catalog, tmp_path / "evaluation", "evaluation").rejects == []
    bundles = [write_bundle(tmp_path / "first", 1), write_fitted_bundle(tmp_path / "fitted")]
    runs = []
    for number, bundle in enumerate(bundles, 1):
        with registry.start_run(attempt_id=number) as run:
            run.log_history(CURVES)
            run.log_model(bundle)
        assert registry.register(run.mlflow_run_id, {"verdict": "promote"}) == number
        remember_version(workspace, number)
        score_version(workspace, number)
        runs.append(run.mlflow_run_id)
    promote_by_hand(workspace, 1, actor="account:1", reason="the first")
    snapshot = {"requested_size": 48, "strategy": "newest", "classes": list(COLOURS), "pool_state": "test"}
    verdict = StoredVerdict(2, 1, 1, "promote", [REASON], ["Production stays under the floor."], 0.95, 0.25)
    with catalog.begin() as connection:
        made = sa.insert(snapshots).values(cutoff=sa.func.now(), **snapshot).returning(snapshots.c.id)
        snapshot_id = connection.execute(made).scalar_one()
        attempt_id = attempts.start_attempt(connection, "manual__2", "more <i>boleti</i>", {}, snapshot_id)
        attempts.update_attempt(connection, attempt_id, model_version=2, mlflow_run_id=runs[1])
        verdicts.save_verdict(connection, attempt_id, verdict)
    return Trained(workspace, attempt_id, "manual__2")


@pytest.fixture
def open_session(
    app: Flask, catalog: Catalog, add_account: Callable[[str, Role], Account]
) -> Callable[[str, Role], FlaskClient]:
    """Returns a function that creates an account and a client that is logged in with it."""

    def new(login: str, role: Role = "admin") -> FlaskClient:
        account, client = add_account(login, role), app.test_client()
        with catalog.begin() as connection:
            client.set_cookie(SESSION_COOKIE, issue_token(connection, account.id, timedelta(hours=1)).token)
        return client

    return new


@pytest.fixture
def bob(open_session: Callable[..., FlaskClient]) -> FlaskClient:
    return open_session("bob")
