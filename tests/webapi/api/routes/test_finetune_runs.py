"""POST /finetune with an Airflow behind it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from ml.catalog.database import Catalog
from ml.catalog.models.backbone_records import StoredBackbone, save_backbone
from ml.catalog.models.model_versions import ModelVersion, save_model_version
from ml.settings import Settings
from tests.scripted_airflow import LOGIN, RUN_ID, ScriptedAirflow, Server, serve

BODY = {"model_name": "mycoflow", "stage": "production", "variables": 3, "epochs": 5}
Serve = Callable[[int], None]


@pytest.fixture
def airflow() -> ScriptedAirflow:
    return ScriptedAirflow()


@pytest.fixture
def airflow_server(airflow: ScriptedAirflow) -> Iterator[Server]:
    server = serve(airflow)
    yield server
    server.end()


@pytest.fixture
def settings(settings: Settings, airflow: ScriptedAirflow, airflow_server: Server) -> Settings:
    """With the Airflow of the test."""
    update = {
        "airflow_url": airflow.url,
        "airflow_public_url": "https://airflow.example.org",
        "airflow_username": LOGIN["username"],
        "airflow_password": SecretStr(LOGIN["password"]),
    }
    return settings.model_copy(update=update)


@pytest.mark.parametrize("kind", ["json", "data"])
def test_finetune_starts_a_run_for_the_version_in_production_and_says_where_to_follow_it(
    admin: FlaskClient, serve_version: Serve, airflow: ScriptedAirflow, kind: str
) -> None:
    serve_version(7)
    answer: Any = admin.post("/finetune", **{kind: BODY})
    assert answer.status_code == 202
    assert answer.json["dag_run_id"] == RUN_ID
    assert answer.json["url"] == answer.headers["Location"]
    assert answer.json["url"].startswith("https://airflow.example.org/dags/finetune/runs/manual__")
    ((path, body),) = airflow.runs
    assert path == "/api/v2/dags/finetune/dagRuns"
    assert body["conf"].pop("requested_by").startswith("account:")
    assert body["conf"] == {"model_version": 7, "layers": 3, "epochs": 5}


def test_a_finetuning_that_does_not_fit_never_reaches_airflow(
    admin: FlaskClient, serve_version: Serve, airflow: ScriptedAirflow, catalog: Catalog
) -> None:
    assert admin.post("/finetune", json=BODY).status_code == 503  # no model yet
    serve_version(1)
    with catalog.begin() as connection:
        save_backbone(connection, StoredBackbone("a recipe", "vgg16", "0" * 64, "0" * 64, "random:0", "fp32", 32, None))
        save_model_version(connection, ModelVersion(1, "run", None, f"{'0' * 64}:1", ["b", "a"], 32, "fp32"))
    refused: Any = admin.post("/finetune", json=BODY | {"variables": 14})
    assert (refused.status_code, refused.json["detail"]) == (422, "variables: expected 1 to 13 for this model, got 14")
    assert admin.post("/finetune", json=BODY | {"model_name": "resnet"}).status_code == 404
    assert (airflow.logins, airflow.runs) == (0, [])


def test_a_refusal_by_airflow_is_a_503_that_says_so(
    admin: FlaskClient, serve_version: Serve, airflow: ScriptedAirflow
) -> None:
    serve_version(1)
    airflow.to_runs = (404, {"detail": "Dag with dag_id: 'finetune' not found"})
    answer: Any = admin.post("/finetune", json=BODY)
    assert (answer.status_code, answer.json["type"]) == (503, "urn:mycoflow:problem:airflow-refused")
    assert "not found" in answer.json["detail"]
    assert int(answer.headers["Retry-After"]) > 0


def test_an_airflow_that_does_not_answer_is_a_503_that_says_so(
    admin: FlaskClient, serve_version: Serve, airflow_server: Server
) -> None:
    serve_version(1)
    airflow_server.end()
    answer: Any = admin.post("/finetune", json=BODY)
    assert (answer.status_code, answer.json["type"]) == (503, "urn:mycoflow:problem:airflow-unavailable")
    assert "MYCOFLOW_AIRFLOW_URL" in answer.json["detail"]
    assert int(answer.headers["Retry-After"]) > 0
