"""The DAGs under a real scheduler: a failed task cleared and run again, and the asset that starts `retrain`.

The stack is that of `make up`; it is stopped with a training under way, and nothing of it is left.
"""

import io
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from rich.console import Console

from ml.catalog.database import Catalog, open_catalog
from ml.catalog.items.item_records import Split
from ml.catalog.tables import attempts, model_versions, promotions, snapshots
from ml.errors import MycoflowError
from ml.ingest.digits import DigitFolders, write_digits
from ml.ingest.folder import ingest_folder
from stack.airflow_api import AirflowClient
from stack.demo.demo_folder import demo_settings, running_stack
from stack.demo.demo_report import Stopwatch
from stack.environment import find_addresses
from stack.follow import FollowedRun, follow_run, wait_for
from stack.readiness import wait_until_healthy
from stack.secret_files import ADMIN, airflow_secrets

START_SECONDS = 180
REACTION_SECONDS = 180
READING_SECONDS = 3


@dataclass
class Stack:
    """A running stack, its catalog, and a way to follow and to repeat its runs."""

    airflow_url: str
    password: str
    airflow: AirflowClient
    catalog: Catalog
    digits: DigitFolders
    folder: Path

    def ingest(self, split: Split, start: int, count: int) -> None:
        source = self.digits.evaluation if split == "evaluation" else self.digits.later
        folder = self.folder / f"{split}-{start}"
        for label in sorted(source.iterdir()):
            (folder / label.name).mkdir(parents=True)
            for file in sorted(label.iterdir())[start : start + count]:
                shutil.copy(file, folder / label.name)
        assert ingest_folder(self.catalog, folder, split).rejects == []

    def follow(self, dag_id: str, dag_run_id: str) -> FollowedRun:
        return follow_run(self.airflow, dag_id, dag_run_id, Console(file=io.StringIO()), self.folder)

    def clear(self, dag_run_id: str, task_id: str) -> None:
        """What the button "Clear" of Airflow's page does: this task and those after it."""
        body = {"dry_run": False, "dag_run_id": dag_run_id, "task_ids": [task_id], "include_downstream": True}
        body |= {"only_failed": False, "reset_dag_runs": True}
        with self._logged_in() as client:
            client.post("/api/v2/dags/retrain/clearTaskInstances", json=body).raise_for_status()

    def question(self, dag_run_id: str) -> dict[str, Any] | None:
        """What Airflow's page asks under required actions, if it is asking by now."""
        with self._logged_in() as client:
            answer = client.get(f"/api/v2/dags/retrain/dagRuns/{dag_run_id}/hitlDetails").raise_for_status()
        return next(iter(answer.json()["hitl_details"]), None)

    def answer(self, dag_run_id: str, option: str) -> None:
        """What a click on one of its buttons does."""
        path = f"/api/v2/dags/retrain/dagRuns/{dag_run_id}/taskInstances/approval/-1/hitlDetails"
        with self._logged_in() as client:
            client.patch(path, json={"chosen_options": [option], "params_input": {}}).raise_for_status()

    @contextmanager
    def _logged_in(self) -> Iterator[httpx.Client]:
        login = {"username": ADMIN, "password": self.password}
        with httpx.Client(base_url=self.airflow_url, trust_env=False) as client:
            token = client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            yield client

    def counts(self) -> dict[str, int]:
        with self.catalog.begin() as connection:
            return {
                table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
                for table in (snapshots, attempts, model_versions)
            }


@pytest.fixture
def chosen() -> dict[str, object]:
    """Settings of the stack that are not the demo's."""
    return {"snapshot_size": 250, "new_images_threshold": 50}


@pytest.fixture
def stack(
    home: Path, tmp_path: Path, processes_on: Callable[[Path], list[str]], chosen: dict[str, object]
) -> Iterator[Stack]:
    settings = demo_settings(home).model_copy(update=chosen)
    addresses = find_addresses(settings)
    with running_stack(settings, Stopwatch()) as check:
        wait_until_healthy(settings, addresses, check, START_SECONDS)
        password = airflow_secrets(home / "airflow").admin_password
        digits = write_digits(tmp_path / "digits")
        with AirflowClient(addresses.airflow, password) as airflow, open_catalog(settings) as catalog:
            wait_for("the DAGs", lambda: airflow.has_dag("retrain") or None, START_SECONDS)
            yield Stack(addresses.airflow, password, airflow, catalog, digits, tmp_path)
    assert [each for each in processes_on(home) if "postgres" not in each] == []
    said = (home / "stack.log").read_text()
    for words in ("Mycoflow is up", addresses.airflow, addresses.prometheus or "", "Stopped. `make up` starts again"):
        assert words in said


@pytest.mark.timeout(900)
def test_a_cleared_task_gives_the_same_outcome_and_the_asset_starts_the_next_retraining(stack: Stack) -> None:
    stack.ingest("pool", 0, 25)
    dag_run_id = stack.airflow.trigger("retrain", {"reason": "the first model"})
    with pytest.raises(MycoflowError, match="failed in: train"):  # there is no evaluation set
        stack.follow("retrain", dag_run_id)
    assert stack.counts() == {"snapshots": 1, "attempts": 1, "model_versions": 0}

    stack.ingest("evaluation", 0, 4)
    stack.clear(dag_run_id, "train")
    assert stack.follow("retrain", dag_run_id).state == "success"
    once = {"snapshots": 1, "attempts": 1, "model_versions": 1}
    assert stack.counts() == once
    stack.clear(dag_run_id, "snapshot")
    assert stack.follow("retrain", dag_run_id).state == "success"
    assert stack.counts() == once

    stack.ingest("pool", 25, 5)
    stack.follow("monitor_production", stack.airflow.trigger("monitor_production", {}))
    started = wait_for(
        "the asset to start retrain",
        lambda: next(iter(stack.airflow.asset_triggered_runs("retrain")), None),
        REACTION_SECONDS,
    )
    wait_for("its snapshot", lambda: stack.counts()["attempts"] == 2 or None, REACTION_SECONDS)
    assert stack.airflow.asset_triggered_runs("retrain") == [started]
    with stack.catalog.begin() as connection:
        reasons = connection.execute(sa.select(attempts.c.reason).order_by(attempts.c.id)).scalars().all()
    assert reasons == ["the first model", "50 new images reach the threshold of 50."]


# Quick: tests/ml/test_cycle.py promotes what a person approved, tests/dags/test_dag_runs.py skips the question.
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("chosen", [{"snapshot_size": 250, "promotion": "approve"}])
def test_a_promotion_waits_for_a_person_and_does_what_the_person_says(stack: Stack) -> None:
    stack.ingest("evaluation", 0, 4)
    stack.ingest("pool", 0, 25)
    for option, actors in (("Keep the champion", []), ("Promote the challenger", [f"airflow:{ADMIN}"])):
        dag_run_id = stack.airflow.trigger("retrain", {"reason": "the first model"})
        question = wait_for("the question", partial(stack.question, dag_run_id), START_SECONDS)
        assert "| challenger | version" in question["body"]
        with stack.catalog.begin() as connection:
            assert connection.execute(sa.select(promotions.c.actor)).scalars().all() == []
        # Airflow 3.3.2 takes an answer in the very second of the question for a failure, and asks again.
        time.sleep(READING_SECONDS)
        stack.answer(dag_run_id, option)
        assert stack.follow("retrain", dag_run_id).state == "success"
        with stack.catalog.begin() as connection:
            assert connection.execute(sa.select(promotions.c.actor)).scalars().all() == actors
