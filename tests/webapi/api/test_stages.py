"""Which version `model_name` and `stage` mean, with the real MLflow where it is asked."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from ml.catalog.database import Catalog
from ml.catalog.tables import model_versions
from ml.registry.mlflow_registry import MODEL_NAME
from ml.settings import Settings
from webapi import application_state
from webapi.factory import create_app

Ask = Callable[[str], Any]


@pytest.fixture
def settings(settings: Settings, tracking_uri: str) -> Settings:
    return settings.model_copy(update={"mlflow_tracking_uri": tracking_uri})


@pytest.fixture
def ask(admin: FlaskClient) -> Ask:
    return lambda stage: admin.get("/nb_new_img", query_string={"model_name": "mycoflow", "stage": stage})


def known_versions(catalog: Catalog) -> list[int]:
    with catalog.begin() as connection:
        return list(connection.scalars(sa.select(model_versions.c.version)))


@pytest.mark.usefixtures("registry")
def test_another_stage_is_an_alias_and_its_version_is_remembered(ask: Ask, tracking_uri: str, catalog: Catalog) -> None:
    from mlflow import MlflowClient

    mlflow = MlflowClient(tracking_uri, registry_uri=tracking_uri)
    mlflow.set_registered_model_alias(MODEL_NAME, "candidate", "2")
    answer = ask("candidate")
    assert (answer.status_code, answer.json) == (200, 0)
    assert known_versions(catalog) == [2]


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("stage", ["Staging", "None", "latest", "1", "production ", "a/b", "%"])
def test_a_stage_that_no_version_has_is_unknown(ask: Ask, stage: str) -> None:
    answer = ask(stage)
    assert (answer.status_code, answer.json["type"]) == (404, "urn:mycoflow:problem:unknown-version")


def test_production_is_what_answers_here_and_mlflow_is_not_asked(
    ask: Ask, serve_version: Callable[[int], None], catalog: Catalog
) -> None:
    serve_version(5)
    answer = ask("PRODUCTION")
    assert (answer.status_code, answer.json) == (200, 0)
    assert known_versions(catalog) == [5]


def test_another_stage_needs_mlflow(
    settings: Settings, log_in: Callable[..., FlaskClient], free_port: Callable[[], int]
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    cut_off = create_app(settings.model_copy(update={"mlflow_tracking_uri": nowhere}))
    try:
        admin = log_in("admin", application=cut_off)
        answer: Any = admin.get("/nb_new_img", query_string={"model_name": "mycoflow", "stage": "candidate"})
        assert (answer.status_code, answer.json["type"]) == (503, "urn:mycoflow:problem:registry-unavailable")
    finally:
        application_state.current(cut_off).stop()
