"""The plugin: the page "Model health" for users who are logged in, and links from tasks to MLflow runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ml.catalog.database import Catalog
from ml.catalog.models.evaluations import Evaluation, Shortfall, save_evaluation
from ml.catalog.models.journal import complete_move, write_intent
from ml.catalog.models.model_versions import ModelVersion, save_model_version
from ml.catalog.tables import evaluation_sets, monitorings
from ml.settings import Settings

ROOT = Path(__file__).parents[2]
InAirflow = Callable[..., dict[str, Any]]

LIST_PLUGINS = """
import json, sys
from airflow import plugins_manager

described = {
    "plugins": [plugin.name for plugin in plugins_manager._get_plugins()[0]],
    "errors": plugins_manager.get_import_errors(),
    "heavy": [name for name in ("fastapi", "sqlalchemy.orm", "ml", "mlflow", "jinja2") if name in sys.modules],
}
json.dump(described, open(sys.argv[1], "w"))
"""

IMPORT_PLUGIN = """
import json, sys
import airflow.plugins_manager
before = set(sys.modules)
sys.path.insert(0, sys.argv[3])
import mycoflow_plugin
json.dump({"imported": sorted(set(sys.modules) - before)}, open(sys.argv[1], "w"))
"""

ASK = """
import json, os, sys
from fastapi.testclient import TestClient
from airflow.api_fastapi.app import create_app

PASSWORDS = os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]
answers = {}


def keep(name, answer):
    answers[name] = {"status": answer.status_code, "text": answer.text, "headers": dict(answer.headers)}


with TestClient(create_app(), base_url="http://airflow.test") as client:
    keep("stranger", client.get("/mycoflow/health"))
    keep("forger", client.get("/mycoflow/health", headers={"Authorization": "Bearer forged"}))
    login = {"username": "viewer", "password": json.load(open(PASSWORDS))["viewer"]}
    token = client.post("/auth/token", json=login).json()["access_token"]
    known = {"Authorization": f"Bearer {token}"}
    keep("viewer", client.get("/mycoflow/health", headers=known))
    keep("cookie", client.get("/mycoflow/health", cookies={"_token": token}))
    keep("plugins", client.get("/api/v2/plugins", headers=known))
    os.environ["DATABASE_URL"] = sys.argv[3]
    keep("no model", client.get("/mycoflow/health", headers=known))
    os.environ["DATABASE_URL"] = os.environ["DATABASE_URL"].rsplit("/", 1)[0] + "/gone"
    keep("no database", client.get("/mycoflow/health", headers=known))
json.dump(answers, open(sys.argv[1], "w"))
"""


@pytest.fixture
def plugin_environment(settings: Settings, tmp_path: Path) -> dict[str, str]:
    """The environment of Airflow with our plugins and one user, on the catalog of the test."""
    passwords = tmp_path / "passwords.json"
    passwords.write_text(json.dumps({"viewer": "a password of the tests"}))
    assert isinstance(settings.database_url, SecretStr)
    return {
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "viewer:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of the tests " * 4,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "MYCOFLOW_HOME": str(tmp_path / "home"),
    }


def test_the_folder_holds_one_plugin_that_loads(in_airflow: InAirflow, plugin_environment: dict[str, str]) -> None:
    loaded = in_airflow(LIST_PLUGINS, environment=plugin_environment)
    assert loaded["errors"] == {}
    assert "mycoflow" in loaded["plugins"]


def test_loading_the_plugin_imports_nothing_that_tasks_do_not_need(in_airflow: InAirflow) -> None:
    assert in_airflow(IMPORT_PLUGIN, str(ROOT / "plugins"))["imported"] == ["mycoflow_plugin"]


@pytest.fixture
def empty_catalog(catalog_template: str, copied_database: Callable[..., str]) -> str:
    """The URL of a catalog without a model."""
    return copied_database(catalog_template)


@pytest.fixture
def nights(catalog: Catalog) -> None:
    """Two nights of version 2, the second one below the floor."""
    per_class = {"<b>0</b>": {"image_count": 40, "precision": 0.6, "recall": 0.65, "f1": 0.62}}
    with catalog.begin() as connection:
        set_version = connection.execute(
            sa.insert(evaluation_sets).values(content_sha256="0" * 64).returning(evaluation_sets.c.version)
        ).scalar_one()
        save_model_version(connection, ModelVersion(2, "run", None, "backbone", ["<b>0</b>"], 32, "fp32"))
        complete_move(connection, write_intent(connection, "promotion", None, 2, "cli:ada", "the first one"))
        save_evaluation(
            connection,
            Evaluation(
                2,
                set_version,
                "anchor",
                True,
                40,
                0.65,
                0.65,
                0.6,
                0.65,
                0.62,
                per_class,
                [[26]],
                [Shortfall(None, 0.65, 0.7)],
            ),
        )
        for day, accuracy, reasons in ((1, 0.8125, []), (2, 0.65, ["Accuracy <b>0.650</b> is below the floor."])):
            connection.execute(
                sa.insert(monitorings).values(
                    model_version=2,
                    evaluation_set_version=set_version,
                    main_figure=accuracy,
                    new_images_human=day,
                    new_images_harvested=3,
                    is_retraining_requested=bool(reasons),
                    reasons=reasons,
                    monitored_at=sa.text(f"timestamptz '2026-05-0{day} 00:01+00'"),
                )
            )


@pytest.mark.usefixtures("nights")
def test_a_user_who_is_logged_in_sees_the_models_health_or_how_to_train_a_first_model(
    in_airflow: InAirflow, plugin_environment: dict[str, str], empty_catalog: str
) -> None:
    answers = in_airflow(ASK, empty_catalog, environment=plugin_environment)
    assert answers["stranger"]["status"] == 401
    assert answers["forger"]["status"] in (401, 403)
    assert "version 2" not in answers["stranger"]["text"] + answers["forger"]["text"]

    page = answers["viewer"]["text"]
    assert (answers["viewer"]["status"], answers["cookie"]["status"]) == (200, 200), page
    for figure in (
        "Version 2 is in production",
        "65.0%",
        "81.2%",
        "The floor is 70.0%",
        "2026-05-02 00:01",
        "data:image/svg",
    ):
        assert figure in page
    assert "&lt;b&gt;0.650&lt;/b&gt;" in page
    assert "<b>0.650" not in page
    assert answers["viewer"]["headers"]["cache-control"] == "no-store"

    outage = answers["no database"]
    assert outage["status"] == 503
    assert "DatabaseUnavailableError" in outage["text"]
    assert "The log of Airflow" in outage["text"]
    for words in ("PostgreSQL does not answer", "/gone"):  # for operators of Airflow, not for users of the page
        assert words in answers["output"]
        assert words not in outage["text"]
    assert "Traceback" not in outage["text"]

    (listed,) = [each for each in json.loads(answers["plugins"]["text"])["plugins"] if each["name"] == "mycoflow"]
    assert [view["url_route"] for view in listed["external_views"]] == ["model-health"]

    first = answers["no model"]
    assert first["status"] == 200, first["text"]
    assert "or the DAG <b>retrain</b>, trains one" in first["text"]


LIST_LINKS = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization

linked = {}
for dag in DagBag(sys.argv[2]).dags.values():
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))  # the form that the api-server reads
    linked[dag.dag_id] = [task.task_id for task in stored.tasks if "MLflow run" in task.extra_links]
json.dump(linked, open(sys.argv[1], "w"))
"""


def test_only_tasks_of_a_training_link_to_its_run(in_airflow: InAirflow) -> None:
    linked = in_airflow(LIST_LINKS)
    steps = {"train", "register", "evaluate", "gate", "shadow", "ask", "promote"}
    for dag_id in ("retrain", "finetune", "tune_hyperparameters"):
        assert set(linked[dag_id]) == steps, dag_id
    others = ("monitor_production", "ingest_images", "send_alerts", "register_model")
    assert [dag_id for dag_id in others if linked[dag_id]] == []
