"""The DAGs under a real scheduler: a failed task cleared and run again, and the asset that starts `retrain`.

The stack is that of `make up`; it is stopped with a training under way, and nothing of it is left.
"""

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from rich.console import Console

from ml.catalog.database import Catalog, open_catalog
from ml.catalog.items.item_records import Split
from ml.catalog.tables import attempts, model_versions, promotions, snapshots
from ml.errors import MycoflowError
from ml.ingest.digits import DigitFolders, write_digits
from ml.reporting.airflow_api import AirflowClient, DagRun
from stack.demo.demo_folder import demo_settings, running_stack
from stack.demo.demo_report import Stopwatch
from stack.environment import find_addresses
from stack.follow import FollowedRun, follow_run, open_own_airflow, wait_for
from stack.readiness import wait_until_healthy
from stack.secret_files import airflow_secrets
from tests.e2e.airflow_pages import AirflowPages
from tests.e2e.digit_arrivals import ingest_digits

START_SECONDS = 180
REACTION_SECONDS = 180
READING_SECONDS = 3


@dataclass
class Stack:
    """A running stack, its catalog, and a way to follow and to repeat its runs."""

    airflow: AirflowClient
    pages: AirflowPages
    catalog: Catalog
    digits: DigitFolders
    folder: Path

    def ingest(self, split: Split, start: int, count: int) -> None:
        ingest_digits(self.catalog, self.digits, self.folder / f"{split}-{start}", split, start, count)

    def follow(self, run: DagRun) -> FollowedRun:
        return follow_run(self.airflow, run, Console(file=io.StringIO()), self.folder)

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
        airflow, pages = open_own_airflow(settings, addresses), AirflowPages(addresses.airflow, password)
        with open_catalog(settings) as catalog:
            wait_for("the DAGs", lambda: airflow.has_dag("retrain") or None, START_SECONDS)
            yield Stack(airflow, pages, catalog, digits, tmp_path)
    assert [each for each in processes_on(home) if "postgres" not in each] == []
    said = (home / "stack.log").read_text()
    for words in ("Mycoflow is up", addresses.airflow, addresses.prometheus or "", "Stopped. `make up` starts again"):
        assert words in said


@pytest.mark.timeout(900)
def test_a_cleared_task_gives_the_same_outcome_and_the_asset_starts_the_next_retraining(stack: Stack) -> None:
    stack.ingest("pool", 0, 25)
    run = stack.airflow.trigger("retrain", {"reason": "the first model"})
    with pytest.raises(MycoflowError, match="failed in: train"):  # there is no evaluation set
        stack.follow(run)
    assert stack.counts() == {"snapshots": 1, "attempts": 1, "model_versions": 0}

    stack.ingest("evaluation", 0, 4)
    stack.pages.clear(run.dag_run_id, "train")
    assert stack.follow(run).state == "success"
    once = {"snapshots": 1, "attempts": 1, "model_versions": 1}
    assert stack.counts() == once
    stack.pages.clear(run.dag_run_id, "snapshot")
    assert stack.follow(run).state == "success"
    assert stack.counts() == once

    stack.ingest("pool", 25, 5)
    stack.follow(stack.airflow.trigger("monitor_production", {}))
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


def answer_for(airflow: AirflowClient, actor: str, dag_run_id: str, option: str) -> None:
    """Answer a question as the service does, for one of its accounts."""
    (waiting,) = airflow.waiting_approvals()
    assert waiting.run_id == dag_run_id
    airflow.answer(waiting, option, actor)
    assert airflow.waiting_approvals() == []


# Quick: tests/ml/test_cycle.py promotes what a person approved, tests/dags/test_dag_runs.py skips the question.
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("chosen", [{"snapshot_size": 250, "promotion": "approve"}])
def test_a_promotion_waits_for_a_person_and_does_what_the_person_says(stack: Stack) -> None:
    stack.ingest("evaluation", 0, 4)
    stack.ingest("pool", 0, 25)
    of_account = partial(answer_for, stack.airflow, "account:7")
    for option, answer, actors in (
        ("Keep the champion", stack.pages.answer, []),
        ("Promote the challenger", of_account, ["account:7"]),
    ):
        run = stack.airflow.trigger("retrain", {"reason": "the first model"})
        question = wait_for("the question", partial(stack.pages.question, run.dag_run_id), START_SECONDS)
        assert "| challenger | version" in question["body"]
        with stack.catalog.begin() as connection:
            assert connection.execute(sa.select(promotions.c.actor)).scalars().all() == []
        # Airflow 3.3.2 takes an answer in the very second of the question for a failure, and asks again.
        time.sleep(READING_SECONDS)
        answer(run.dag_run_id, option)
        assert stack.follow(run).state == "success"
        with stack.catalog.begin() as connection:
            assert connection.execute(sa.select(promotions.c.actor)).scalars().all() == actors
