"""Alert people to a failed task of a DAG, even if the database is the cause of the failure."""

import hashlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from ml.catalog.logs.outbox import Notice, raise_alert
from ml.catalog.models.training_failures import record_failure
from ml.errors import CatalogError, MycoflowError
from ml.reporting.alert_delivery import alerting_workspace, send_unkept
from ml.reporting.message_links import task_page
from ml.reporting.training_notices import describe_cause, retraining_failed
from ml.settings import Settings

logger = logging.getLogger(__name__)
_LOG = "\nLog: "


@dataclass(frozen=True)
class FailedTask:
    """A task whose last try failed.

    Args:
        map_index: index of a mapped task; -1 for a task that is not mapped.
        is_training: whether the run is a training attempt; its request key is the run's id.
        error: the exception, if there is one; any other value means that the process died.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    is_training: bool
    error: object


def notify_failure(settings: Settings, failed: FailedTask) -> None:
    """Record a training's failure and alert people through the outbox, or directly if the database cannot be written.

    Raises: MycoflowError, neither worked.
    """
    notice = describe_failure(settings, failed)
    try:
        with alerting_workspace(settings) as workspace, workspace.catalog.begin() as connection:
            if failed.is_training:
                record_failure(connection, failed.run_id, failed.task_id, failed.try_number)
            raise_alert(connection, *notice)
    except CatalogError as error:
        logger.warning("The alert on the failure of %s is sent without the outbox: %s", failed.task_id, error)
        if _is_first(settings, notice):
            send_unkept(settings, notice)


def describe_failure(settings: Settings, failed: FailedTask) -> Notice:
    """Return the notice of a failure. Each failed try of a training is one event; of other tasks, each day is one."""
    if failed.is_training:
        notice = retraining_failed(failed.dag_id, failed.run_id, failed.task_id, failed.try_number, failed.error)
    else:
        notice = _task_failed(failed)
    page = task_page(settings, failed.dag_id, failed.run_id, failed.task_id, failed.map_index)
    return notice if page is None else notice._replace(body=f"{notice.body}{_LOG}{page}")


def find_log(body: str, airflow: str | None) -> str | None:
    """Return the address of the log that the body of such a notice names; None unless it leads to Airflow."""
    address = body.rpartition(_LOG)[2]
    return address if airflow is not None and address.startswith(f"{airflow}/") else None


def split_failed_task(event_key: str) -> tuple[str, str]:
    """Return DAG and task that the event key of such a notice names."""
    dag_id, _, task = event_key.removeprefix("task-failed:").partition(":")[0].partition(".")
    return dag_id, task


def _task_failed(failed: FailedTask) -> Notice:
    """Return the notice of a failed task. A repeated failure has the same key for a day, so it is sent once a day."""
    copy = f"[{failed.map_index}]" if failed.map_index >= 0 else ""
    name, kind = f"{failed.dag_id}.{failed.task_id}{copy}", type(failed.error).__name__
    return Notice(
        "task_failed",
        f"task-failed:{name}:{kind}:{datetime.now(UTC):%Y-%m-%d}",
        f"The task {failed.task_id} of {failed.dag_id} failed",
        f"{describe_cause(failed.error)}\nRun {failed.run_id}. Its log in Airflow says more. The same failure is "
        "reported once a day.",
    )


def _is_first(settings: Settings, notice: Notice) -> bool:
    """Return whether this machine has not sent this notice yet. A file in its home marks each sent one."""
    name = hashlib.sha256(notice.event_key.encode()).hexdigest()[:32]
    marker = settings.mycoflow_home / "told" / name
    try:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError as error:
        raise MycoflowError(
            f"Expected a writable folder at {marker.parent}, got: {error.strerror}. Correct its permissions."
        ) from error
    return True
