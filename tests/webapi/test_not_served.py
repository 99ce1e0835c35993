"""A version in production that does not load: seen in every place where somebody looks, and told."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from ml import cycle
from ml.app import Workspace, open_registry
from ml.catalog.database import Catalog
from ml.catalog.logs.outbox import Alert, latest_alerts
from ml.catalog.tables import served_models
from ml.registry.mlflow_registry import Registry
from ml.reporting.figures_over_time.troubles import read_state
from ml.reporting.inventory import describe_state, list_models
from ml.reporting.report.page import make_report
from ml.settings import Settings
from tests.application import application_as_web
from webapi import application_state


@pytest.fixture
def settings(settings: Settings, mlflow_uri: str) -> Settings:
    return settings.model_copy(update={"mlflow_tracking_uri": mlflow_uri})


@pytest.fixture
def workspace(settings: Settings, catalog: Catalog) -> Workspace:
    return Workspace(settings, catalog, open_registry(settings))


@pytest.fixture
def registry(workspace: Workspace, write_bundle: Callable[[Path, int], Path], tmp_path: Path) -> Registry:
    """Version 1 is in production; the files of version 2 are damaged."""
    for seed in (1, 2):
        with workspace.registry.start_run(attempt_id=seed) as run:
            run.log_model(write_bundle(tmp_path / f"logged-{seed}", seed))
        assert workspace.registry.register(run.mlflow_run_id, {}) == seed
    logged = (workspace.settings.mycoflow_home / "mlflow").rglob("model.onnx")
    max(logged, key=lambda path: path.stat().st_mtime_ns).write_bytes(b"damaged")
    workspace.registry.set_champion(1)
    return workspace.registry


@pytest.fixture
def strict(settings: Settings) -> Iterator[Flask]:
    """A replica that is ready only while it serves what is in production."""
    home = settings.mycoflow_home / "strict"
    with application_as_web(settings.model_copy(update={"readiness": "production", "mycoflow_home": home})) as app:
        yield app


def follow(*apps: Flask) -> None:
    for app in apps:
        application_state.current(app).models.poll()


def look(workspace: Workspace) -> list[Alert]:
    """What send_alerts does every ten minutes. Gives the alerts on what is not served, newest first."""
    cycle.raise_due_alerts(workspace)
    with workspace.catalog.begin() as connection:
        return [alert for alert in latest_alerts(connection, 10) if alert.kind == "not_served"]


def report(workspace: Workspace) -> str:
    return make_report(workspace.catalog, workspace.settings)


def test_a_version_that_does_not_load_is_seen_everywhere_until_it_is_rolled_back(
    app: Flask, strict: Flask, admin: FlaskClient, workspace: Workspace, registry: Registry
) -> None:
    # Both replicas have MLflow's files from the same place; each keeps its own.
    follow(app, strict)
    assert look(workspace) == []
    assert describe_state(workspace)["service"] == "Served: version 1 by 2 processes."
    assert [(model.is_champion, model.is_served) for model in list_models(workspace)] == [(False, False), (True, True)]
    assert "Not served" not in report(workspace)

    registry.set_champion(2)
    follow(app, strict)
    (alert,) = look(workspace)
    assert alert.title == "Version 2 is in production and not served"
    assert "Served: version 1 by 2 processes. Version 2 does not load: " in alert.body
    assert "mycoflow rollback" in alert.body
    assert look(workspace) == [alert]

    listed: Any = admin.get("/models").json
    assert [(each["alias"], each["served"], each["load_error"] is None) for each in listed] == [
        ("production", False, False),
        (None, True, True),
    ]
    state = describe_state(workspace)
    assert state["in production"].startswith("version 2")
    assert state["service"].startswith("Served: version 1 by 2 processes. Version 2 does not load: ")
    page = report(workspace)
    for words in ("Not served", "Look at the model", "Version 2 is in production", "Served: version 1 by 2 processes."):
        assert words in page

    trouble = read_state(workspace.catalog, workspace.settings).troubles[0]  # first on the dashboard
    assert (trouble.kind, trouble.version) == ("not_served", 2)
    assert trouble.detail

    ready: Any = admin.get("/readyz")
    assert (ready.status_code, ready.json) == (200, {"status": "ready", "model_version": 1, "production_version": 2})
    refused: Any = strict.test_client().get("/readyz")
    assert (refused.status_code, refused.json["type"]) == (503, "urn:mycoflow:problem:not-in-production")
    assert "Version 2 is in production" in refused.json["detail"]

    registry.set_champion(1)
    follow(app, strict)
    assert look(workspace) == [alert]
    assert strict.test_client().get("/readyz").status_code == 200
    assert "Not served" not in report(workspace)

    registry.set_champion(2)
    follow(app, strict)
    assert len(look(workspace)) == 2  # it happened again


def test_a_process_that_ends_takes_its_word_with_it(app: Flask, registry: Registry, catalog: Catalog) -> None:
    follow(app)
    assert count_rows(catalog) == 1
    application_state.current(app).stop()
    assert count_rows(catalog) == 0


def count_rows(catalog: Catalog) -> int:
    with catalog.begin() as connection:
        found: int = connection.execute(sa.select(sa.func.count()).select_from(served_models)).scalar_one()
    return found
