"""Choosing the version in production on the pages, and answering an approval that waits in Airflow."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ml.catalog.tables import promotions
from tests.scripted_airflow import WAITING, ScriptedAirflow
from tests.webapi.pages.versions.conftest import REASON, Trained
from tests.webapi.pages.versions.test_version_pages import read, words

SendForm = Callable[..., TestResponse]
OPTIONS = ["Promote the challenger", "Keep the champion"]


def moves(trained: Trained) -> list[tuple[str, int | None, int | None, str]]:
    columns = promotions.c
    query = sa.select(columns.kind, columns.from_version, columns.to_version, columns.actor).order_by(columns.id)
    with trained.workspace.catalog.begin() as connection:
        return [tuple(row) for row in connection.execute(query)]


def waiting_approval(run_id: str, state: str = "awaiting_input") -> dict[str, Any]:
    """A question as Airflow 3.3 lists it."""
    task = {"dag_id": "retrain", "dag_run_id": run_id, "task_id": "approval", "map_index": -1, "state": state}
    return {
        "task_instance": task,
        "subject": "May the challenger go into production?",
        "body": "| | version |",
        "options": OPTIONS,
        "defaults": OPTIONS[1:],
        "created_at": "2026-11-28T02:00:00Z",
        "response_received": False,
    }


def test_a_version_is_promoted_rolled_back_and_released(
    bob: FlaskClient, trained: Trained, send_form: SendForm, app: Flask
) -> None:
    asked = words(read(bob, "/versions/2/promote"))
    assert "Put version 2 into production?" in asked
    assert "Version 1, in production now" in asked
    answer = send_form(bob, "/versions/2/promote")
    assert (answer.status_code, answer.location) == (303, "/versions")
    assert "Version 2 is in production." in words(read(bob, "/versions"))
    assert trained.workspace.registry.champion() == 2
    assert "It is there already." in words(read(bob, "/versions/2/promote"))

    assert "Version 1 goes back into production." in words(read(bob, "/versions/rollback"))
    assert send_form(bob, "/versions/rollback").status_code == 303
    shown = words(read(bob, "/versions"))
    assert "A rollback holds automatic promotion" in shown
    assert trained.workspace.registry.champion() == 1

    assert send_form(bob, "/versions/release").status_code == 303
    assert "A rollback holds" not in words(read(bob, "/versions"))
    assert "Nothing holds it." in words(read(bob, "/versions/release"))
    bobs = f"account:{account_id(trained, 'bob')}"
    assert moves(trained)[1:] == [
        ("promotion", 1, 2, bobs),
        ("rollback", 2, 1, bobs),
        ("release", None, None, bobs),
    ]


def account_id(trained: Trained, login: str) -> int:
    with trained.workspace.catalog.begin() as connection:
        return int(
            connection.execute(sa.text("SELECT id FROM users.accounts WHERE login = :l"), {"l": login}).scalar_one()
        )


def test_a_version_that_does_not_load_stays_out(bob: FlaskClient, trained: Trained, send_form: SendForm) -> None:
    workspace = trained.workspace
    workspace.registry.delete_files(workspace.registry.files_uri(2))
    for copy in (workspace.settings.mycoflow_home / "models").glob("2-*"):
        for file in copy.rglob("*.npz"):
            file.unlink()
    answer = send_form(bob, "/versions/2/promote")
    assert answer.status_code == 409
    assert "This version does not load" in words(answer.text)
    assert workspace.registry.champion() == 1


def test_without_an_earlier_version_nothing_is_rolled_back(
    bob: FlaskClient, trained: Trained, send_form: SendForm
) -> None:
    assert "There is no earlier version to go back to." in words(read(bob, "/versions/rollback"))
    answer = send_form(bob, "/versions/2/promote", action="/versions/rollback")
    assert answer.status_code == 409
    assert moves(trained) == [("promotion", None, 1, "account:1")]


def test_an_approval_is_shown_with_the_verdict_and_answered_for_the_account(
    bob: FlaskClient, trained: Trained, airflow: ScriptedAirflow, send_form: SendForm
) -> None:
    for dag_id in ("retrain", "finetune", "register_model", "tune_hyperparameters"):
        airflow.pages[f"/api/v2/dags/{dag_id}/dagRuns?order_by=-run_after&limit=3"] = {"dag_runs": []}
    done = waiting_approval("manual__1", "success")
    airflow.pages[WAITING] = {"hitl_details": [done, waiting_approval(trained.run_key)]}
    shown = words(page := read(bob, "/versions"))
    assert shown.count("A training waits for your answer") == 1
    assert f'href="/approvals?run={trained.run_key}"' in page

    asked = words(read(bob, f"/approvals?run={trained.run_key}"))
    assert REASON in asked
    assert "Production stays under the floor." in asked
    assert "Version 2 Accuracy: 95.0%" in asked
    path = f"/approvals?run={trained.run_key}"
    assert send_form(bob, path, option="Burn it").status_code == 422
    assert airflow.runs == []
    answer = send_form(bob, path, option=OPTIONS[0])
    assert (answer.status_code, answer.location) == (303, f"/runs/retrain?run={trained.run_key}")
    told = {"chosen_options": OPTIONS[:1], "params_input": {"answered_by": f"account:{account_id(trained, 'bob')}"}}
    at = f"/api/v2/dags/retrain/dagRuns/{quote(trained.run_key)}/taskInstances/approval/-1/hitlDetails"
    assert airflow.runs == [(at, told)]

    airflow.pages[WAITING] = {"hitl_details": [done]}
    assert bob.get(path).status_code == 404
    assert "Nothing waits for an answer here" in words(bob.get(path).text)


def test_only_admins_see_versions(open_session: Callable[..., FlaskClient]) -> None:
    expert = open_session("eve", "expert")
    assert {path: expert.get(path).status_code for path in ("/versions", "/approvals?run=1", "/trainings/retrain")} == {
        "/versions": 403,
        "/approvals?run=1": 403,
        "/trainings/retrain": 403,
    }
