"""Starting trainings through Airflow on the pages, and following them."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ml.catalog.database import Catalog
from ml.reporting.version_reports.foreign_models import SCALE_NAMES
from tests.scripted_airflow import RUN_ID, WAITING, ScriptedAirflow
from tests.webapi.pages.versions.conftest import Trained
from tests.webapi.pages.versions.test_promotion_pages import waiting_approval
from tests.webapi.pages.versions.test_version_pages import read, words

SendForm = Callable[..., TestResponse]
RETRAIN = {"selection": "newest", "snapshot_size": "", "seed": "0", "reason": "new species"}
REGISTER = {"mlflow_run_id": " " + "a" * 32 + " ", "image_size": "", "scale": "", "classes": ""}


def run(state: str, run_id: str = RUN_ID) -> dict[str, Any]:
    return {"dag_id": "retrain", "dag_run_id": run_id, "state": state, "queued_at": "2026-11-28T02:00:00Z"}


def task(name: str, state: str | None, seconds: int = 0) -> dict[str, Any]:
    started = None if state in (None, "skipped") else "2026-11-28T02:00:00Z"
    ended = f"2026-11-28T02:00:{seconds:02}Z" if state == "success" else None
    return {"task_id": name, "state": state, "start_date": started, "end_date": ended, "try_number": int(bool(started))}


def bob_is(catalog: Catalog) -> str:
    with catalog.begin() as connection:
        return f"account:{connection.execute(sa.text('SELECT id FROM users.accounts')).scalar_one()}"


def test_a_retraining_starts_with_what_the_form_says(
    bob: FlaskClient, airflow: ScriptedAirflow, send_form: SendForm, catalog: Catalog
) -> None:
    answer = send_form(bob, "/trainings/retrain", **RETRAIN)
    assert (answer.status_code, answer.location.partition("?")[0]) == (303, "/runs/retrain")
    since = {**RETRAIN, "selection": "since", "since": "2026-11-01", "snapshot_size": "200", "base_backbone": "y"}
    assert send_form(bob, "/trainings/retrain", **since).status_code == 303
    plain = {"selection": "newest", "snapshot_size": None, "seed": 0, "base_backbone": False}
    plain["reason"] = f"new species ({bob_is(catalog)})"
    changed = {"selection": "since:2026-11-01", "snapshot_size": 200, "base_backbone": True}
    assert [(path, body["conf"]) for path, body in airflow.runs] == [
        ("/api/v2/dags/retrain/dagRuns", plain),
        ("/api/v2/dags/retrain/dagRuns", plain | changed),
    ]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/trainings/retrain", RETRAIN | {"snapshot_size": "1"}),
        ("/trainings/retrain", RETRAIN | {"snapshot_size": "many"}),
        ("/trainings/retrain", RETRAIN | {"selection": "since"}),
        ("/trainings/retrain", RETRAIN | {"selection": "oldest"}),
        ("/trainings/retrain", RETRAIN | {"seed": "-1"}),
        ("/trainings/retrain", RETRAIN | {"reason": " "}),
        ("/trainings/register", REGISTER | {"mlflow_run_id": "../../etc"}),
        ("/trainings/register", REGISTER | {"mlflow_run_id": ""}),
        ("/trainings/register", REGISTER | {"image_size": "5000"}),
        ("/trainings/register", REGISTER | {"scale": "other"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_form_that_means_nothing_starts_nothing_and_keeps_what_was_typed(
    bob: FlaskClient, airflow: ScriptedAirflow, send_form: SendForm, path: str, fields: dict[str, str]
) -> None:
    answer = send_form(bob, path, **fields)
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text or "Not a valid choice" in answer.text
    assert airflow.runs == []
    if path == "/trainings/retrain" and fields["reason"].strip():
        assert 'value="new species"' in answer.text


def test_a_run_is_registered_with_what_the_form_says(
    bob: FlaskClient, airflow: ScriptedAirflow, send_form: SendForm
) -> None:
    typed = REGISTER | {"image_size": "224", "scale": SCALE_NAMES[1], "classes": "amanita\r\n\r\n boletus \r\n"}
    assert send_form(bob, "/trainings/register", **typed).status_code == 303
    ((path, body),) = airflow.runs
    assert path == "/api/v2/dags/register_model/dagRuns"
    assert body["conf"] == {
        "mlflow_run_id": "a" * 32, "image_size": 224, "scale": SCALE_NAMES[1], "classes": ["amanita", "boletus"],
    }  # fmt: skip


def test_a_fine_tuning_starts_from_the_chosen_version(
    bob: FlaskClient, trained: Trained, airflow: ScriptedAirflow, send_form: SendForm
) -> None:
    assert '<option selected value="1">1</option>' in read(bob, "/trainings/finetune")
    assert '<option selected value="2">2</option>' in read(bob, "/trainings/finetune?version=2")
    fields = {"model_version": "2", "layers": "3", "epochs": "5", "learning_rate": "0.0001"}
    for wrong in ({"model_version": "9"}, {"layers": "0"}, {"epochs": "101"}, {"learning_rate": "0"}):
        assert send_form(bob, "/trainings/finetune", **(fields | wrong)).status_code == 422
    assert airflow.runs == []
    assert send_form(bob, "/trainings/finetune", **fields).status_code == 303
    conf = airflow.runs[0][1]["conf"]
    assert (conf["model_version"], conf["layers"], conf["epochs"], conf["learning_rate"]) == (2, 3, 5, 1e-4)


def test_a_run_is_followed_to_its_verdict(bob: FlaskClient, trained: Trained, airflow: ScriptedAirflow) -> None:
    at, page = f"/api/v2/dags/retrain/dagRuns/{trained.run_key}", f"/runs/retrain?run={trained.run_key}"
    airflow.pages[at] = run("running", trained.run_key)
    tasks = [task("snapshot", "success", 3), task("train", "running"), task("register", None)]
    airflow.pages[f"{at}/taskInstances"] = {"task_instances": tasks}
    html = read(bob, page)
    assert "follow-run" in html
    assert '<progress value="1" max="3"' in html
    assert "snapshot done 3" in words(html)
    assert "The gate says: promote it" in words(html)

    airflow.pages[f"{at}/taskInstances"] = {"task_instances": [*tasks[:1], task("approval", "awaiting_input")]}
    airflow.pages[WAITING] = {"hitl_details": [waiting_approval(trained.run_key)]}
    assert "It waits for your answer" in words(read(bob, page))

    airflow.pages[at] = run("failed", trained.run_key)
    html = read(bob, page)
    assert "data-finished" in html
    assert "follow-run" not in html
    assert "A step failed." in words(html)


@pytest.mark.parametrize("path", ["/runs/retrain?run=unknown", "/runs/retrain", "/runs/retrain?run=../../x"])
def test_a_run_that_is_none_is_a_page_that_says_so(bob: FlaskClient, path: str) -> None:
    answer = bob.get(path)
    assert answer.status_code == 404
    assert "There is no such run" in words(answer.text)
    assert bob.get("/runs/other?run=1").status_code == 404


def test_without_airflow_the_form_says_so_and_keeps_what_was_typed(
    bob: FlaskClient, airflow: ScriptedAirflow, send_form: SendForm
) -> None:
    airflow.to_runs = (403, {"detail": "Forbidden"})
    answer = send_form(bob, "/trainings/retrain", **RETRAIN)
    assert answer.status_code == 503
    assert "Airflow refuses this" in words(answer.text)
    assert 'value="new species"' in answer.text
