"""A failed task of Airflow is an alert, and a failed step of a training is a row of the training's state as well."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.logs.outbox import latest_alerts
from ml.catalog.tables import training_failures
from ml.errors import SnapshotError
from ml.reporting.task_failures import FailedTask, notify_failure
from ml.settings import Settings

STEP = FailedTask("retrain", "run-1", "train", -1, 3, is_training=True, error=SnapshotError("The pool is empty."))


@pytest.fixture
def worker(settings: Settings) -> Settings:
    """The settings of the process in which the task failed. Its MLflow is never used."""
    return settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:1"})


def recorded(catalog: Catalog) -> tuple[list[tuple[str, str, int]], list[str]]:
    """The failures of trainings, and the kinds of the alerts."""
    with catalog.begin() as connection:
        failures = connection.execute(sa.select(training_failures).order_by(training_failures.c.try_number)).all()
        kinds = [alert.kind for alert in latest_alerts(connection, 10)]
    return [(row.request_key, row.step, row.try_number) for row in failures], kinds


def test_each_failed_try_of_a_step_is_recorded_once_with_its_alert(worker: Settings, catalog: Catalog) -> None:
    for failed in (STEP, STEP, replace(STEP, try_number=6)):
        notify_failure(worker, failed)
    assert recorded(catalog) == ([("run-1", "train", 3), ("run-1", "train", 6)], ["retraining_failed"] * 2)


def test_a_failed_task_of_another_dag_is_no_failed_training(worker: Settings, catalog: Catalog) -> None:
    notify_failure(worker, replace(STEP, dag_id="monitor_production", is_training=False))
    assert recorded(catalog) == ([], ["task_failed"])


@pytest.fixture
def full_outbox(catalog: Catalog) -> Iterator[None]:
    """An outbox that takes no alert."""
    with catalog.begin() as connection:
        connection.execute(sa.text("ALTER TABLE logs.alerts ADD CONSTRAINT is_full CHECK (false)"))
    yield


@pytest.mark.usefixtures("full_outbox")
def test_a_failure_without_its_alert_is_not_recorded(worker: Settings, catalog: Catalog) -> None:
    with pytest.raises(sa.exc.IntegrityError, match="is_full"):
        notify_failure(worker, STEP)
    assert recorded(catalog) == ([], [])
